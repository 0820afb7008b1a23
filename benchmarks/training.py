"""Real tokens a second of training: ours beside TRL's trainers, on the same rows.

    python benchmarks/training.py [--pairs FILE] [--rows 128] [--runs 3]

Rows are comparisons of a run (by default the newest `reward_pairs` in data/): pairs for the reward
model, chosen answers for SFT. "TRL" is its trainer with gradient checkpointing off, its default
batch of 8 and random order; "TRL, defaults" has gradient checkpointing on. All start from the
default model, compute in bfloat16 where the processor does, and run alone, in a process each;
the runs alternate, and the median counts. Loading is not counted, nor is padding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.reward_rows import build_reward_rows
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.options.training import SFTOptions
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.launch import launch

PROJECT = Path(__file__).parents[1]
MODEL = PROJECT / "data/01_raw/models/smollm2-135m"
VARIANTS = ("ours", "TRL", "TRL, defaults")
MARK = "@result "


def main() -> None:
    """Compare, or be the child that trains with TRL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, help="a file of comparisons")
    parser.add_argument("--rows", type=int, default=128, help="how many of them")
    parser.add_argument("--runs", type=int, default=3, help="runs of each variant")
    parser.add_argument("--batch-size", type=int, default=8, help="ours")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train_with_trl(*options.child)
        return
    found = sorted(PROJECT.glob("data/05_model_input/reward_pairs.jsonl/*/*.jsonl"))
    if not options.pairs and not found:
        parser.error("no reward_pairs in data/; run `make run` first, or give --pairs")
    comparisons: Any = list(read_rows(options.pairs or found[-1]))[: options.rows]
    rows = [{**row, "answer": row["chosen"]} for row in build_reward_rows(comparisons, "corrected")]
    print(f"{len(rows)} rows, batches of {options.batch_size} (ours) and 8 (TRL)", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.jsonl"
        write_rows(file, rows)
        for program in ("reward", "sft"):
            compare(program, file, Path(scratch), options.runs, options.batch_size)


def compare(program: Any, rows: Path, scratch: Path, runs: int, batch_size: int) -> None:
    """Run each variant in turn and print medians and ratios."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    for number in range(runs):
        for name in VARIANTS:
            if name == "ours":
                out = scratch / f"{program}{number}"
                found[name].append(train_ours(program, rows, out, batch_size))
            else:
                found[name].append(run_child(program, name, rows))
            print(f"  {program}, {name}: {found[name][-1][0]:.0f} tokens/s", flush=True)
    speed = {name: statistics.median(each[0] for each in found[name]) for name in VARIANTS}
    print(f"{program:<8}{'tokens/s':>10}{'ours is':>10}{'peak MB':>10}")
    for name in VARIANTS:
        memory = max(each[1] for each in found[name])
        ratio = speed["ours"] / speed[name]
        print(f"{name:<14}{speed[name]:>6.0f}{ratio:>9.2f}x{memory:>10.0f}", flush=True)


def train_ours(program: Any, rows: Path, out: Path, batch_size: int) -> tuple[float, float]:
    """Train as the pipelines do; returns real tokens a second and peak megabytes."""
    values = {"model": "smollm2-135m", "learning_rate": 1e-5, "batch_size": batch_size}
    values |= {"epochs": 1, "save_every": 10**6}
    kind = RewardModelOptions if program == "reward" else SFTOptions
    out.mkdir()
    job = TrainingJob(
        program=program,
        name=program,
        base=ModelFolder(name="smollm2-135m", folder=MODEL, fingerprint="benchmark"),
        rows=rows,
        rows_sha256="",
        options=kind.model_validate(values),
        separator=" ",
        seed=0,
        launch=LaunchOptions.model_validate({}),
        accelerate=PROJECT / "conf/accelerate/cpu.yaml",
        out=out,
    )
    job_file = out / "job.json"
    job_file.write_text(job.model_dump_json())
    launch(job, job_file)
    metrics = json.loads((out / "metrics.json").read_text())
    return metrics["tokens_per_second"], metrics["peak_memory_mb"]


def run_child(program: str, variant: str, rows: Path) -> tuple[float, float]:
    """Train with TRL in a process of its own."""
    command = [sys.executable, __file__, "--child", program, variant, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            speed, memory = json.loads(line.removeprefix(MARK))
            return speed, memory
    raise SystemExit(done.stdout + done.stderr)


def train_with_trl(program: str, variant: str, file: str) -> None:
    """Train with TRL's trainer and print real tokens a second and peak megabytes."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    from almost_kedro.generation.number_format import choose_dtype
    from almost_kedro.processes.memory import peak_memory

    rows = list(read_rows(Path(file)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arguments: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "use_cpu": device.type == "cpu",
        "bf16": choose_dtype("auto", device) == torch.bfloat16,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1,
    }
    if variant == "TRL":
        arguments["gradient_checkpointing"] = False
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    if program == "reward":
        columns = [
            {key: row["dialogue"] + " " + row[key] for key in ("chosen", "rejected")}
            for row in rows
        ]
        trainer: Any = RewardTrainer(
            model=str(MODEL),
            args=RewardConfig(**arguments),
            train_dataset=Dataset.from_list(columns),
            processing_class=tokenizer,
        )
    else:
        columns = [{"prompt": row["dialogue"], "completion": " " + row["answer"]} for row in rows]
        trainer = SFTTrainer(
            model=str(MODEL),
            args=SFTConfig(**arguments),
            train_dataset=Dataset.from_list(columns),
            processing_class=tokenizer,
        )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    tokens = max(entry.get("num_tokens", 0) for entry in trainer.state.log_history)
    print(MARK + json.dumps([tokens / seconds, peak_memory() / 2**20]), flush=True)


if __name__ == "__main__":
    main()
