"""Our own benchmark sets keep what they promise, and a source is described."""

from collections import Counter
from pathlib import Path
from statistics import mean

import pytest
from made_rows import make_question

from almost_kedro.contract import digest
from almost_kedro.evaluation.benchmark_files import read_choices, read_open, read_pairs
from almost_kedro.evaluation.benchmarks import describe_source
from almost_kedro.rows.evaluation import PairItem


def test_a_source_has_the_hash_of_its_file_or_else_of_its_items() -> None:
    items = [make_question()]
    assert describe_source("vicuna", "file", "a.jsonl", items, b"abc") == {
        "name": "vicuna",
        "kind": "file",
        "location": "a.jsonl",
        "n": 1,
        # The example of FIPS 180-2.
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    hub = describe_source("vicuna", "hub", "some/dataset", items, None)
    assert hub["sha256"] == digest(items)


@pytest.fixture(scope="module")
def own_pairs(project: Path) -> list[PairItem]:
    return read_pairs(project / "assets/benchmarks/hhh.json")


def test_our_pairs_are_at_least_twelve_of_each_category(own_pairs: list[PairItem]) -> None:
    counts = Counter(item["category"] for item in own_pairs)
    assert set(counts) == {"helpful", "harmless", "honest", "other"}
    assert min(counts.values()) >= 12
    assert len({item["item_id"] for item in own_pairs}) == len(own_pairs)
    assert sum(item["dialogue"].count("\n\nHuman:") > 1 for item in own_pairs) >= 5


@pytest.mark.parametrize("category", ["helpful", "harmless", "honest", "other"])
def test_the_longer_answer_is_the_chosen_one_in_half_of_our_pairs(
    own_pairs: list[PairItem], category: str
) -> None:
    differences = [
        len(item["chosen"]) - len(item["rejected"])
        for item in own_pairs
        if item["category"] == category
    ]
    longer = [each for each in differences if each > 0]
    shorter = [-each for each in differences if each < 0]
    assert len(longer) == len(shorter) == len(differences) / 2
    # How much longer doesn't tell, either.
    assert mean(longer) / mean(shorter) == pytest.approx(1, abs=0.3)


def test_our_questions_of_mc1_do_not_show_the_right_choice_by_its_length(project: Path) -> None:
    items = read_choices(project / "assets/benchmarks/truthfulqa_mc1.json")
    lengths = [[len(choice) for choice in item["choices"]] for item in items]
    assert len(items) >= 40
    assert {len(each) for each in lengths} <= {3, 4, 5}
    # Chance is a quarter; of choices of one length, each has its share.
    for extreme in (max, min):
        share = mean((each[0] == extreme(each)) / each.count(extreme(each)) for each in lengths)
        assert 0.15 < share < 0.35


def test_our_open_questions_are_five_of_each_category(project: Path) -> None:
    items = read_open(project / "assets/benchmarks/open_questions.jsonl")
    assert Counter(item["category"] for item in items) == dict.fromkeys(
        (
            "generic",
            "knowledge",
            "roleplay",
            "common-sense",
            "fermi",
            "counterfactual",
            "coding",
            "math",
            "writing",
        ),
        5,
    )
