"""The loss of mismatched pairs: by hand, and the same however a step is spread."""

import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from training_jobs import Run, add_mismatched, compare, compute_margins, make_rows, train, write_job
from transformers import AutoModelForSequenceClassification, set_seed
from trl.trainer.reward_trainer import DataCollatorForPreference

from almost_kedro.errors import UserError
from almost_kedro.models.texts import TextEncoder
from almost_kedro.training import rank
from almost_kedro.training.mismatched import (
    PairCollator,
    check_mismatched,
    compute_mismatched_loss,
)

WEIGHT = 0.5
# As in test_fsdp.py: Adam makes as much of the rounding of a tiny gradient as of a large one.
LOSSES, WEIGHTS = 1e-5, 3e-4


def test_the_formula_on_numbers_small_enough_for_paper() -> None:
    """Margins 0 and log 3 of one row, log 3 twice of another: weights 1 and 0.5."""
    margins = torch.tensor([[0.0, math.log(3)], [math.log(3), math.log(3)]])
    loss = compute_mismatched_loss(margins, torch.tensor([1.0, 0.5]))
    first, second = (math.log(2) + math.log(4 / 3)) / 2, math.log(4 / 3)
    assert float(loss) == pytest.approx((first + 0.5 * second) / 2)


def test_texts_are_padded_as_trl_does_and_the_mismatched_ones_come_last() -> None:
    examples: list[dict[str, Any]] = [
        {"chosen_ids": [5, 6, 7], "rejected_ids": [5, 8], "mismatched_ids": []},
        {"chosen_ids": [5, 9], "rejected_ids": [5], "mismatched_ids": []},
    ]
    ours, theirs = PairCollator(3)(examples), DataCollatorForPreference(pad_token_id=3)(examples)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for number, example in enumerate(examples):
        example["mismatched_ids"] = [[10 + number], [20 + number, 1]]
        example["mismatched_weight"] = WEIGHT
    more = PairCollator(3)(examples)
    assert more["input_ids"].tolist() == [
        *[[5, 6, 7], [5, 9, 3], [5, 8, 3], [5, 3, 3]],
        *[[10, 3, 3], [20, 1, 3], [11, 3, 3], [21, 1, 3]],
    ]
    assert more["attention_mask"].sum(1).tolist() == [3, 2, 2, 1, 1, 2, 1, 2]
    assert more["mismatched_weight"].tolist() == [WEIGHT, WEIGHT]


def test_rows_with_unlike_numbers_of_mismatched_answers_are_refused() -> None:
    rows = add_mismatched(make_rows(3, seed=0))
    check_mismatched(rows)
    rows[2]["mismatched"].pop()
    with pytest.raises(
        UserError, match=r"row 'row0-2' has 1 mismatched answers, and .* 'row0-0' 2"
    ):
        check_mismatched(rows)


def test_the_first_loss_is_the_mean_over_comparisons_plus_the_weighted_mean_over_the_others(
    tiny: Path, tmp_path: Path
) -> None:
    rows = add_mismatched(make_rows(4, seed=0))
    run = write_job("reward", tmp_path, tiny, rows, batch_size=4)
    assert rank.main(str(run.job_file)) == 0
    set_seed(run.job.seed)  # draws the head
    network = AutoModelForSequenceClassification.from_pretrained(
        tiny, num_labels=1, dtype=torch.float32
    )
    encoder = TextEncoder(run.job.base, " ", 1024)
    margins = compute_margins(network, encoder, rows).tolist()
    others = [
        margin
        for k in range(2)
        for margin in compute_margins(
            network, encoder, [{**row, "rejected": row["mismatched"][k]} for row in rows]
        ).tolist()
    ]
    means = [
        sum(math.log1p(math.exp(-margin)) for margin in each) / len(each)
        for each in (margins, others)
    ]
    assert run.losses[0] == pytest.approx(means[0] + WEIGHT * means[1], abs=1e-4)
    [point] = run.read("curve.jsonl")
    right = sum(margin > 0 for margin in others) / len(others)
    assert point["mismatched_accuracy"] == pytest.approx(right)
    texts = [
        encoder.encode(row["dialogue"], text).ids
        for row in rows
        for text in (row["chosen"], row["rejected"], *row["mismatched"])
    ]
    assert run.metrics["tokens"] == sum(map(len, texts))


# Rows a rank and batch, batches a step, ranks: always a step of four rows.
SPREADS = {"one rank": (4, 1, 1), "accumulated": (1, 4, 1), "two ranks": (2, 1, 2)}


@pytest.fixture(scope="module")
def spread(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("spread")
    rows = add_mismatched(make_rows(24, seed=4))

    def run(name: str) -> Run:
        size, batches, ranks = SPREADS[name]
        options = {"batch_size": size, "accumulation": batches, "ranks": ranks}
        return train("reward", root / name.replace(" ", "_"), tiny, rows, **options)

    with ThreadPoolExecutor() as pool:
        return dict(zip(SPREADS, pool.map(run, SPREADS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("other", ["accumulated", "two ranks"])
def test_a_step_is_the_same_however_it_is_spread(other: str, spread: dict[str, Run]) -> None:
    one, two = spread["one rank"], spread[other]
    assert len(one.losses) == len(two.losses) == 6
    assert max(abs(a - b) for a, b in zip(one.losses, two.losses, strict=True)) < LOSSES
    assert compare(one.load(), two.load()) < WEIGHTS
    assert one.metrics["tokens"] == two.metrics["tokens"]
    curves = [
        [point["mismatched_accuracy"] for point in each.read("curve.jsonl")] for each in (one, two)
    ]
    assert curves[0] == pytest.approx(curves[1])


def make_topics(n: int, seed: int) -> list[dict[str, Any]]:
    """Questions of one letter, and answers that repeat it; the longer of two is chosen."""
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        letter, other = draw.sample("ab", 2)
        long, short = draw.randrange(3, 5), draw.randrange(1, 3)
        rows.append(
            {
                "id": f"row{number}",
                "dialogue": f"\n\nHuman: {letter}?\n\nAssistant:",
                "chosen": " ".join([letter] * long),
                "rejected": " ".join([letter] * short),
                "mismatched": [" ".join([other] * long)],
                "mismatched_weight": 2.0,
            }
        )
    return rows


def share_right(run: Run, rows: list[dict[str, Any]]) -> float:
    network = AutoModelForSequenceClassification.from_pretrained(run.model, dtype=torch.float32)
    margins = compute_margins(network, TextEncoder(run.job.base, " ", 1024), rows)
    return float((margins > 0).float().mean())


@pytest.mark.slow
def test_with_mismatched_pairs_a_model_learns_what_answers_the_prompt_and_without_it_does_not(
    tiny: Path, tmp_path: Path
) -> None:
    rows, tests = make_topics(64, seed=0), make_topics(40, seed=1)
    off_topic = [{**row, "rejected": row["mismatched"][0]} for row in tests]
    plain = [{k: v for k, v in row.items() if not k.startswith("mismatched")} for row in rows]
    options = {"epochs": 20, "batch_size": 16, "learning_rate": 1e-3, "save_every": 1000}
    found = []
    for name, given in (("with", rows), ("without", plain)):
        run = write_job("reward", tmp_path / name, tiny, given, **options)
        assert rank.main(str(run.job_file)) == 0
        assert share_right(run, tests) > 0.9  # the comparisons are learned either way
        found.append(share_right(run, off_topic))
    assert found[0] > 0.9
    assert found[1] < 0.7
