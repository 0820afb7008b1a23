"""How far a reward model's margins are apart between number formats, once trained in bfloat16.

    python benchmarks/number_formats.py [--pairs FILE] [--steps 20] [--rate 3e-5] [--unrounded]
                                        [--lora RANK [--in-4bit]]

The default model is trained on comparisons of a run (by default the newest `reward_pairs` in
data/), 4 a step, and read on the next 20. Margins are read by transformers from the checkpoint as
it is and in bfloat16, and by our scorer in both; what is printed is the root mean square of their
difference from transformers' float32, as a share of the standard deviation of those, their own
standard deviation as a multiple of it, and how both correlate. `--unrounded`
saves the float32 weights that were trained, of which the loss has seen rounded copies: what one
would get without our way to save. `--lora` trains adapters of a rank instead of the weights; what
is read is the merged model, and a rate of 3e-4 suits them; `--in-4bit` trains them above weights in
4 bits, beside which they are read, too. Where the processor does not compute in bfloat16, a step
takes minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from almost_kedro.contract import ModelFolder
from almost_kedro.feedback.reward_rows import build_reward_rows
from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training import lora, reward, trainer
from almost_kedro.training.job import TrainingJob
from almost_kedro.training.score import RewardScorer

PROJECT = Path(__file__).parents[1]
MODEL = PROJECT / "data/01_raw/models/smollm2-135m"
BATCH, READ = 4, 20
FORMATS = (torch.float32, torch.bfloat16)
SIDES = ("chosen", "rejected")


def main() -> None:
    """Train, read and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--pairs", type=Path, help="a file of comparisons")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=3e-5, help="learning rate")
    parser.add_argument("--unrounded", action="store_true")
    parser.add_argument("--lora", type=int, help="rank of adapters")
    parser.add_argument("--in-4bit", action="store_true", help="train adapters above 4 bits")
    options = parser.parse_args()
    adapters = options.lora and {"rank": options.lora, "alpha": 2 * options.lora}
    if options.in_4bit:
        adapters["load_in_4bit"] = True
    found = sorted(PROJECT.glob("data/05_model_input/reward_pairs.jsonl/*/*.jsonl"))
    if not options.pairs and not found:
        parser.error("no reward_pairs in data/; run `make run` first, or give --pairs")
    wanted = BATCH * options.steps
    comparisons: Any = list(read_rows(options.pairs or found[-1]))[: wanted + READ]
    rows = build_reward_rows(comparisons, "corrected")
    if len(rows) < wanted + READ:
        parser.error(f"{len(rows)} comparisons, {wanted + READ} are needed; take fewer steps")
    if options.unrounded:
        trainer.as_computed = lambda *_: nullcontext()  # type: ignore[assignment]
        lora.round_by_chance = lambda weight, _: weight
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.jsonl"
        write_rows(file, rows[:wanted])
        job = make_job(options.model, file, Path(scratch) / "work", options.rate, adapters)
        reward.run(job)
        model = ModelFolder(name="trained", folder=job.out / "model", fingerprint="")
        compare(model, rows[wanted:], job if options.lora else None)


def make_job(model: Path, rows: Path, out: Path, rate: float, adapters: Any) -> TrainingJob:
    """Describe a training in bfloat16, whatever the processor is."""
    values: dict[str, Any] = {"model": model.name, "learning_rate": rate, "batch_size": BATCH}
    values |= {"epochs": 1, "lora": adapters}
    return TrainingJob(
        program="reward",
        name="reward",
        base=ModelFolder(name=model.name, folder=model, fingerprint="benchmark"),
        rows=rows,
        rows_sha256="",
        options=RewardModelOptions.model_validate({**values, "save_every": 10**6}),
        separator=" ",
        seed=0,
        launch=LaunchOptions(dtype="bfloat16"),
        accelerate=PROJECT / "conf/accelerate/cpu.yaml",
        out=out,
    )


def compare(model: ModelFolder, rows: Sequence[Any], job: TrainingJob | None) -> None:
    """Read margins in each way, and print how far they are apart.

    If adapters were trained by `job`, they are read beside its base, unmerged, too.
    """
    encoder = TextEncoder(model, " ", 512)
    texts = [[text.ids for text in encoder.encode_rows(rows, side)] for side in SIDES]
    margins = {f"transformers, {dtype}": read_plainly(model, texts, dtype) for dtype in FORMATS}
    for dtype in FORMATS:
        scorer = RewardScorer(model, dtype, torch.device("cpu"))
        chosen, rejected = (torch.tensor(scorer.score(side)) for side in texts)
        margins[f"our scorer, {dtype}"] = chosen - rejected
    if job:
        margins["adapters beside their base"] = read_adapters(model, texts, job, "float32")
    if job and job.options.lora and job.options.lora.load_in_4bit:
        found = read_adapters(model, texts, job, **lora.choose_weights(job))
        margins["... as trained, in 4 bits"] = found
    exact = margins[f"transformers, {torch.float32}"]
    print(
        f"{len(rows)} margins with a standard deviation of {exact.std():.3f}; apart from float32:"
    )
    for name, found in margins.items():
        share = (found - exact).pow(2).mean().sqrt() / exact.std()
        correlation = torch.corrcoef(torch.stack([found, exact]))[0, 1]
        spread = found.std() / exact.std()
        print(f"  {name:<30} {share:6.1%}   spread x {spread:.2f}   correlation {correlation:.3f}")


@torch.inference_mode()
def read_plainly(
    model: ModelFolder, texts: Sequence[Sequence[list[int]]], dtype: torch.dtype
) -> torch.Tensor:
    """Return margins, `(pairs,)`, as anyone would compute them: text by text."""
    network = AutoModelForSequenceClassification.from_pretrained(model.folder, dtype=dtype)
    return read_margins(network, texts)


@torch.inference_mode()
def read_adapters(
    model: ModelFolder,
    texts: Sequence[Sequence[list[int]]],
    job: TrainingJob,
    dtype: str,
    **more: Any,
) -> torch.Tensor:
    """Return margins, `(pairs,)`, of adapters, with their base's weights in other numbers."""
    from peft import PeftModel

    assert model.folder
    network = AutoModelForSequenceClassification.from_pretrained(
        job.base.folder, num_labels=1, dtype=dtype, **more
    )
    adapted = PeftModel.from_pretrained(network, str(model.folder / "adapter"))
    lora.train_in_float32(adapted)
    head = lora.find_head(lora.find_network(adapted)).float()
    reward.reward_in_float32(head)
    return read_margins(adapted, texts)


def read_margins(network: Any, texts: Sequence[Sequence[list[int]]]) -> torch.Tensor:
    """Return margins, `(pairs,)`, text by text."""
    network.eval()
    chosen, rejected = (
        torch.cat([network(torch.tensor([ids])).logits[0].float() for ids in side])
        for side in texts
    )
    return chosen - rejected


if __name__ == "__main__":
    main()
