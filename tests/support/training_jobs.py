"""Jobs of the training programs on tiny models, launched for real."""

import json
import os
import random
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from almost_kedro.contract import ModelFolder
from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.options.training import DPOOptions, RLOptions, SFTOptions
from almost_kedro.processes.run import run_program
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training.job import ScoreJob, TrainingJob
from almost_kedro.training.launch import launch

SIDES = ("chosen", "rejected")
PROJECT = Path(__file__).parents[2]
OTHERS = os.environ.get("PYTHONPATH", "")
FSDP_ON_CPU = {"PYTHONPATH": os.pathsep.join([f"{PROJECT}/tests/support/fsdp_on_cpu", OTHERS])}
OPTIONS: dict[str, Any] = {
    "reward": RewardModelOptions,
    "sft": SFTOptions,
    "rl": RLOptions,
    "dpo": DPOOptions,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "reward": {"model": "tiny", "learning_rate": 3e-3, "batch_size": 4, "save_every": 4},
    "sft": {"model": "tiny", "learning_rate": 3e-3, "batch_size": 4, "epochs": 1, "save_every": 4},
    "rl": {
        "learning_rate": 1e-3,
        "batch_size": 8,
        "steps": 6,
        "max_new_tokens": 12,
        "save_every": 2,
        "watch": {"every": 3},
    },
    "dpo": {
        "learning_rate": 3e-3,
        "batch_size": 4,
        "save_every": 4,
        "max_length": 256,
        # Nothing stops it.
        "watch": {"every": 4, "patience": 99, "max_length_ratio": 99, "max_new_tokens": 12},
    },
}
WATCHED = ("rl", "dpo")


def make_rows(n: int, seed: int) -> list[dict[str, Any]]:
    """Rows for every program: the longer answer of two is chosen, or shown."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        question = "".join(draw.choices(string.ascii_lowercase, k=draw.randrange(1, 30)))
        short, long = draw.randrange(1, 4), draw.randrange(4, 9)
        rows.append(
            {
                "id": f"row{seed}-{i}",
                "dialogue": f"\n\nHuman: {question}?\n\nAssistant:",
                "chosen": " ".join(["Yes."] * long),
                "rejected": " ".join(["Yes."] * short),
                "answer": " ".join(["Yes."] * short),
            }
        )
    return rows


def add_mismatched(
    rows: list[dict[str, Any]], n: int = 2, weight: float = 0.5
) -> list[dict[str, Any]]:
    """Give each row the chosen answers of the n rows after it, as answers to other prompts."""
    return [
        {
            **row,
            "mismatched": [
                f"Row {number + k}: " + rows[(number + k) % len(rows)]["chosen"] for k in range(n)
            ],
            "mismatched_weight": weight,
        }
        for number, row in enumerate(rows)
    ]


def add_reference(base: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the base's log-probabilities of both answers, each text computed alone."""
    network = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    encoder = TextEncoder(as_folder(base), " ", 256)
    return [
        {
            **{f"ref_{s}_logps": compute_logp(network, encoder, row, s) for s in SIDES},
            **row,
        }
        for row in rows
    ]


def compute_logp(network: Any, encoder: TextEncoder, row: dict[str, Any], side: str) -> float:
    """Log-probability of an answer and its eos, in nats; 0 if it is none."""
    text = encoder.encode(row["dialogue"], row[side])
    with torch.no_grad():
        logps = network(torch.tensor([text.ids])).logits[0, :-1].log_softmax(-1)
    targets = torch.tensor(text.ids[1:])[:, None]
    answer = logps.gather(1, targets)[-len(text.answer) :]
    return float(answer.double().sum().nan_to_num())


def as_folder(folder: Path) -> ModelFolder:
    return ModelFolder(name=folder.name, folder=folder, fingerprint=str(folder))


@dataclass(frozen=True)
class Run:
    """A job that was launched."""

    job: TrainingJob

    @property
    def model(self) -> Path:
        return self.job.out / "model"

    @property
    def job_file(self) -> Path:
        return self.job.out / "job.json"

    def read(self, name: str) -> list[dict[str, Any]]:
        return list(read_rows(self.job.out / name))

    @property
    def metrics(self) -> dict[str, Any]:
        metrics: dict[str, Any] = json.loads((self.job.out / "metrics.json").read_text())
        return metrics

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.read("curve.jsonl")]

    def load(self) -> dict[str, torch.Tensor]:
        return load_file(self.model / "model.safetensors")


def write_job(
    program: str,
    out: Path,
    base: Path,
    rows: list[dict[str, Any]],
    *,
    ranks: int = 1,
    config: str = "cpu",
    reward_model: Path | None = None,
    held_out: Path | None = None,
    watch_rows: list[dict[str, Any]] | None = None,
    changes: dict[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Write a job file; what is not given is small."""
    out.mkdir(parents=True, exist_ok=True)
    if program == "dpo" and rows and base.is_dir():
        rows = add_reference(base, rows)
    write_rows(out / "rows.jsonl", rows)
    write_rows(out / "watch_rows.jsonl", watch_rows or rows[:4])
    fields = {
        "program": program,
        "name": program,
        "base": as_folder(base),
        "rows": out / "rows.jsonl",
        "rows_sha256": "",
        "options": OPTIONS[program](**{**DEFAULTS[program], **options}),
        "separator": " ",
        "seed": 3,
        "launch": LaunchOptions(config=config, processes=ranks, dtype="float32"),
        "accelerate": PROJECT / f"conf/accelerate/{config}.yaml",
        "out": out,
    }
    if program in WATCHED:
        assert reward_model
        if program == "rl":
            fields["reward_model"] = as_folder(reward_model)
        fields["held_out_reward_model"] = as_folder(held_out or reward_model)
        fields["watch_rows"] = out / "watch_rows.jsonl"
    run = Run(TrainingJob(**{**fields, **(changes or {})}))
    run.job_file.write_text(run.job.model_dump_json())
    return run


def train(*args: Any, env: dict[str, str] | None = None, **kwargs: Any) -> Run:
    """Write a job file and launch it, to the end."""
    run = write_job(*args, **kwargs)
    launch(run.job, run.job_file, env=env)
    return run


def make_score_job(out: Path, model: Path, rows: list[dict[str, Any]], **changes: Any) -> ScoreJob:
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "rows.jsonl", rows)
    fields = {
        "model": as_folder(model),
        "rows": out / "rows.jsonl",
        "rows_sha256": "",
        "separator": " ",
        "max_length": 256,
        "dtype": "float32",
        "out": out,
    }
    return ScoreJob(**{**fields, **changes})


def compare(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest difference between two models' weights; names and shapes must be the same."""
    assert {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def cut_after(ids: list[int], ends: list[int]) -> list[int]:
    """The ids up to and including the first one that is an end."""
    found = [position for position, id_ in enumerate(ids) if id_ in ends]
    return ids[: found[0] + 1] if found else ids


def score_in_a_fresh_process(
    tmp_path: Path, model: Path, rows: list[dict[str, Any]]
) -> list[float]:
    job = make_score_job(tmp_path, model, rows)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    run_program("almost_kedro.training.score", tmp_path / "job.json", tmp_path / "log")
    return [row["reward"] for row in read_rows(tmp_path / "rewards.jsonl")]


def compute_margins(network: Any, encoder: TextEncoder, rows: list[dict[str, Any]]) -> torch.Tensor:
    """Reward of chosen - reward of rejected, each row alone; shape (rows,)."""
    margins = []
    with torch.no_grad():
        for row in rows:
            ids = [
                encoder.encode(row["dialogue"], row[side]).ids for side in ("chosen", "rejected")
            ]
            chosen, rejected = (network(torch.tensor([each])).logits[0, 0] for each in ids)
            margins.append(chosen - rejected)
    return torch.stack(margins)
