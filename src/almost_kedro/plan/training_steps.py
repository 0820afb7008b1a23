"""Measures steps of training as the training programs compute them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from almost_kedro.generation.embedded import choose_dtype
from almost_kedro.generation.memory import whole_memory
from almost_kedro.plan.calibration_job import CalibrationJob
from almost_kedro.plan.memory import BFLOAT16, TRAINED
from almost_kedro.plan.probes import draw, fit_rows, peak_mb, time_best
from almost_kedro.plan.shape import count_parameters
from almost_kedro.training.devices import training_device
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.lm_head import score_labels
from almost_kedro.training.precision import choose_attention, use_bfloat16_copies

# Seconds that a batch may take at the pace of two rows.
LONGEST = 5.0
# What is said of a training that has no room.
NOTHING = {
    "reward_tokens": 0.0,
    "policy_tokens": 0.0,
    "update_seconds": 0.0,
    "training_rows": 1,
    "text_tokens": 1,
    "copies": False,
    "training_peak_mb": 0.0,
    "training_start_mb": 0.0,
}


def measure_training(job: CalibrationJob, device: torch.device) -> dict[str, Any]:
    """Measure a step of a reward model, then one of a policy, as the programs compute them.

    Nothing is measured of a model whose training has no room here.
    """
    assert job.model.folder
    files = job.model.folder.glob("*.safetensors")
    needed = sum(map(count_parameters, files)) * (TRAINED + BFLOAT16)
    if needed > whole_memory(device):
        return dict(NOTHING)
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
    start_mb = peak_mb(device)

    def step(ids: torch.Tensor) -> None:
        chosen, rejected = model(input_ids=ids).logits[:, 0].float().chunk(2)
        torch.autograd.backward(-torch.nn.functional.logsigmoid(chosen - rejected).mean())

    n, tokens = train(step, model, job, device)
    optimiser = torch.optim.AdamW(model.parameters())
    optimiser.step()
    update = time_best(optimiser.step, device, repeats=1)
    # With the moments beside it, as in every step but the first.
    step(draw(model, n, job.text_tokens, device))
    return {
        "reward_tokens": tokens,
        "update_seconds": update,
        "training_rows": n,
        "text_tokens": job.text_tokens,
        "copies": job.launch.config == "cpu"
        and choose_dtype(job.launch.dtype, training_device(training)) == torch.bfloat16,
        "training_peak_mb": peak_mb(device),
        "training_start_mb": start_mb,
    }


def measure_policy(training: TrainingJob, job: CalibrationJob, device: torch.device) -> float:
    """Return how many tokens a second a policy is trained on; half of them are labelled."""
    model = load(AutoModelForCausalLM, training, job, device)

    def step(ids: torch.Tensor) -> None:
        half = ids.shape[1] // 2
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=half + 1).logits[:, :-1]
        flat = logits.reshape(-1, logits.shape[-1])
        log_probs, _, _ = score_labels(flat, ids[:, -half:].ravel(), 1.0)
        torch.autograd.backward(-log_probs.mean())

    return train(step, model, job, device)[1]


def load(
    kind: Any, training: TrainingJob, job: CalibrationJob, device: torch.device, **more: Any
) -> Any:
    """Load a model as its training program does."""
    attention = choose_attention(training, [job.text_tokens])
    model = kind.from_pretrained(job.model.folder, dtype=torch.float32, **attention, **more)
    model.to(device).train()
    use_bfloat16_copies(model, training)
    return model


def train(
    step: Callable[[torch.Tensor], None], model: Any, job: CalibrationJob, device: torch.device
) -> tuple[int, float]:
    """Return with how many rows a step was measured, and how many tokens it trains on a second."""
    ids = draw(model, 2, job.text_tokens, device)
    step(ids)
    seconds = time_best(lambda: step(ids), device, repeats=1)
    # As many as a real batch has, if they don't take too long: two rows alone look slow.
    n = 2 * max(1, fit_rows(seconds / 2, 2 * job.reward_model.batch_size, LONGEST) // 2)
    ids = draw(model, n, job.text_tokens, device)
    # The first of two takes new memory from the system.
    return n, n * job.text_tokens / time_best(lambda: step(ids), device)
