"""Measures steps of training as the training programs compute them."""

from __future__ import annotations

import gc
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from almost_kedro.commands.plan.calibration import CalibrationJob
from almost_kedro.commands.plan.machine import solve_training
from almost_kedro.commands.plan.memory import BFLOAT16, TRAINED, activation_bytes
from almost_kedro.commands.plan.probes import Rows, draw_rows, peak_mb, time_best, time_rows
from almost_kedro.generation.memory import whole_memory
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.training.devices import training_device
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lm_head import score_labels
from almost_kedro.training.precision import choose_attention, use_bfloat16_copies

# Seconds that a batch may take at the pace of two rows.
LONGEST = 5.0


def measure_training(job: CalibrationJob, device: torch.device) -> dict[str, Any]:
    """Measure a step of a reward model, then one of a policy.

    Nothing is measured of a model whose training has no room here.
    """
    if job.shape.parameters * (TRAINED + BFLOAT16) > whole_memory(device):
        return {"activation_bytes": activation_bytes(job.shape)}
    training = TrainingJob(
        program="reward",
        name="calibration",
        base=job.model,
        rows=job.out,
        rows_sha256="",
        options=job.reward_model.model_copy(update={"gradient_checkpointing": False}),
        separator="",
        seed=0,
        launch=job.launch,
        accelerate=job.out,
        out=job.out,
    )
    found = measure_reward_model(training, job, device)
    gc.collect()
    return {**found, "policy_tokens": measure_policy(training, job, device)}


def measure_reward_model(
    training: TrainingJob, job: CalibrationJob, device: torch.device
) -> dict[str, Any]:
    """Measure a step of a reward model: both passes, then the optimiser; and its memory."""
    model = load(AutoModelForSequenceClassification, training, job, device, num_labels=1)
    model.config.pad_token_id = 0
    start_mb = peak_mb()

    def step(rows: Rows) -> None:
        ids = torch.tensor(rows, device=device)  # (rows, tokens)
        chosen, rejected = model(input_ids=ids).logits[:, 0].float().chunk(2)
        torch.autograd.backward(-torch.nn.functional.logsigmoid(chosen - rejected).mean())

    most = 2 * job.reward_model.batch_size
    n, tokens = time_rows(step, model, job.text_tokens, most, LONGEST)
    optimiser = torch.optim.AdamW(model.parameters())
    optimiser.step()
    update = time_best(optimiser.step, repeats=1)
    # With the moments beside it, as in every step but the first.
    step(draw_rows(model, n, job.text_tokens))
    number = choose_dtype(job.launch.dtype, training_device(training))
    copies = job.launch.config == "cpu" and number == torch.bfloat16
    base_mb, activation = solve_training(
        job.shape, n * job.text_tokens, copies, start_mb, peak_mb()
    )
    return {
        "reward_tokens": tokens,
        "update_seconds": update,
        "training_base_mb": base_mb,
        "activation_bytes": activation,
    }


def measure_policy(training: TrainingJob, job: CalibrationJob, device: torch.device) -> float:
    """Return how many tokens a second a policy is trained on; half of them are labelled."""
    model = load(AutoModelForCausalLM, training, job, device)

    def step(rows: Rows) -> None:
        ids = torch.tensor(rows, device=device)
        half = ids.shape[1] // 2
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=half + 1).logits[:, :-1]
        flat = logits.reshape(-1, logits.shape[-1])
        log_probs, _, _ = score_labels(flat, ids[:, -half:].ravel(), 1.0)
        torch.autograd.backward(-log_probs.mean())

    most = 2 * job.reward_model.batch_size
    return time_rows(step, model, job.text_tokens, most, LONGEST)[1]


def load(
    kind: Any, training: TrainingJob, job: CalibrationJob, device: torch.device, **more: Any
) -> Any:
    """Load a model as its training program does."""
    attention = choose_attention(training, [job.text_tokens])
    model = kind.from_pretrained(job.model.folder, dtype=torch.float32, **attention, **more)
    model.to(device).train()
    use_bfloat16_copies(model, training)
    return model
