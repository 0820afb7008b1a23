"""Static HHH: the floors of a file of pairs, and what scoring a model on it takes.

Run: `python benchmarks/static_hhh.py [--pairs hhh_eval.json] [--model smollm2-135m]`

The first table needs no model. The second scores the model on all pairs in both orders, in batches
of different sizes, each in a process of its own; `moves` is by how much a letter's log-probability
differs at most from that of the first line.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from almost_kedro.evaluation.benchmark_files import read_pairs
from almost_kedro.evaluation.benchmarks import CATEGORIES
from almost_kedro.evaluation.hhh import build_hhh_requests, score_hhh, score_hhh_floors
from almost_kedro.generation.likelihood_job import LikelihoodJob
from almost_kedro.jobs.likelihood import compute_logprobs
from almost_kedro.models.find import resolve_model
from almost_kedro.options.models import Models
from almost_kedro.rows.evaluation import PairItem

PROJECT = Path(__file__).parents[1]
OWN = PROJECT / "assets/benchmarks/hhh.json"
SETTINGS = (("auto", 4096), ("auto", 1024), ("float32", 4096), ("float32", 1024))


def print_floors(items: Sequence[PairItem]) -> None:
    """Print how often judges that read nothing are right; a tie is half a hit in `accuracy`."""
    names = (*CATEGORIES, "all")
    print("floor".ljust(14), *(name.rjust(9) for name in names), "  ties  accuracy")
    for name, (_, found) in score_hhh_floors(items).items():
        shares = (f"{found[category]['share_right']:9.1%}" for category in names)
        everything = found["all"]
        print(name.ljust(14), *shares, f"{everything['n_ties']:6} {everything['accuracy']:9.1%}")


def time_scoring(items: Sequence[PairItem], name: str) -> None:
    """Score a model in each setting, and print what it takes."""
    entries = yaml.safe_load((PROJECT / "conf/base/models.yml").read_text(encoding="utf-8"))
    models = Models.model_validate(entries["models"])
    model = resolve_model(name, models.root, PROJECT / "data/01_raw/models")
    requests = build_hhh_requests(items)
    print(f"\n{name}: {len(items)} pairs in both orders, {len(requests) // 2} contexts")
    print("  numbers  batch tokens  seconds  tokens/s  memory MB  accuracy   moves")
    first: dict[str, dict[str, float]] = {}
    for dtype, batch_tokens in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            job = LikelihoodJob(
                model=model, dtype=dtype, batch_tokens=batch_tokens, out=Path(folder)
            )
            answers, cost = compute_logprobs(job, requests)
        logprobs = {key: answer["logprob"] for key, answer in answers.items()}
        _, found = score_hhh(items, logprobs, "corrected")
        earlier = first.setdefault(dtype, logprobs)
        moves = max(abs(logprobs[key] - earlier[key]) for key in logprobs)
        print(
            f"  {cost['dtype']:8} {batch_tokens:12} {cost['seconds']:8.1f} "
            f"{cost['tokens_per_second']:9.0f} {cost['peak_memory_mb']:10.0f} "
            f"{found['all']['accuracy']:9.1%} {moves:8.1g}"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, default=OWN)
    parser.add_argument("--model", default="smollm2-135m")
    options = parser.parse_args()
    items = read_pairs(options.pairs)
    print(f"{options.pairs}: {len(items)} pairs")
    print_floors(items)
    time_scoring(items, options.model)


if __name__ == "__main__":
    main()
