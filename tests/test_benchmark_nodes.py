"""Benchmarks as the pipeline reads them, and what of the training data repeats them."""

import hashlib
from pathlib import Path

import pytest

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmarks import OpenItem
from almost_kedro.evaluation.truthfulqa import PRESET
from almost_kedro.evaluation_options import EvaluationOptions
from almost_kedro.pipelines.evaluation.benchmarks import (
    check_contamination,
    read_benchmarks,
    read_mc1_preset,
    spread,
)
from almost_kedro.rows import Prompt


@pytest.fixture(scope="session")
def own(project: Path) -> Path:
    return project / "assets/benchmarks"


def make_questions(*texts: str) -> list[OpenItem]:
    return [
        OpenItem(item_id=f"open-{i:04d}", category="any", question=text)
        for i, text in enumerate(texts, 1)
    ]


def test_our_own_sets_are_read_whole_with_what_they_are(own: Path) -> None:
    pairs, choices, questions, sources = read_benchmarks(EvaluationOptions(), own)
    for name, rows, file in (
        ("hhh", pairs, "hhh.json"),
        ("truthfulqa", choices, "truthfulqa_mc1.json"),
        ("questions", questions, "open_questions.jsonl"),
    ):
        assert sources[name] == {
            "name": name,
            "kind": "own",
            "location": f"benchmarks/{file}",
            "n": len(rows),
            "sha256": hashlib.sha256((own / file).read_bytes()).hexdigest(),
        }


def test_a_file_of_the_users_is_named_as_given(own: Path) -> None:
    path = str(own / "hhh.json")
    *_, sources = read_benchmarks(EvaluationOptions(hhh=path), own)
    assert (sources["hhh"]["kind"], sources["hhh"]["location"]) == ("file", path)


def test_limits_leave_every_category_and_the_sources_count(own: Path) -> None:
    options = EvaluationOptions(limit=8, question_limit=9)
    pairs, choices, questions, sources = read_benchmarks(options, own)
    assert [len(choices), len(questions)] == [8, 9]
    categories = [item["category"] for item in pairs]
    assert {categories.count(name) for name in categories} == {2}
    assert sources["hhh"]["n"] > 8


def test_items_are_spread_evenly_and_keep_their_order() -> None:
    items = make_questions(*"abcdef")
    assert [item["question"] for item in spread(items, 3)] == ["a", "c", "e"]
    assert spread(items, 4)[0]["question"] == "a"
    assert spread(items, None) == spread(items, 99) == items


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"/none\.json: there is no such file"):
        read_benchmarks(EvaluationOptions(hhh="/none.json"), Path())


def test_pairs_before_a_question_are_ours_none_or_a_files(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("Q: Why?\nA: So.\n")
    assert read_mc1_preset(EvaluationOptions()) == {
        "location": "own",
        "sha256": hashlib.sha256(PRESET.encode()).hexdigest(),
        "text": PRESET,
    }
    assert read_mc1_preset(EvaluationOptions(mc1_preset="none"))["text"] == ""
    assert read_mc1_preset(EvaluationOptions(mc1_preset=str(file))) == {
        "location": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "text": "Q: Why?\nA: So.\n",
    }


def test_a_file_of_pairs_that_has_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    with pytest.raises(UserError, match=r"pairs\.txt: there is no such file"):
        read_mc1_preset(EvaluationOptions(mc1_preset=str(file)))
    file.write_text(" \n")
    with pytest.raises(
        UserError, match=r"pairs\.txt: the file is empty; to show no pairs, give none"
    ):
        read_mc1_preset(EvaluationOptions(mc1_preset=str(file)))


def test_prompts_and_demonstrations_that_repeat_an_item_are_listed() -> None:
    question = "How could a lighthouse keeper explain tides to a visiting school class?"
    prompts = [
        Prompt(prompt_id=name, text=text, shot_ids=[], request_id="r")
        for name, text in (("p1", question), ("p2", "What is a fjord?"))
    ]
    shown = f"Header\n\n-----\n\nHuman: Hi?\n\nAssistant: Yes.\n\n-----\n\nHuman: {question}"
    rows, counts = check_contamination(
        prompts, {"HHH": lambda: shown}, [], [], make_questions("Why?", question)
    )
    assert {(row["text_id"], row["item_id"], row["kind"]) for row in rows} == {
        (text_id, "open-0002", kind) for text_id in ("p1", "HHH/2") for kind in ("ngram", "rouge_l")
    }
    assert len({row["overlap_id"] for row in rows}) == 4
    assert counts == {
        "n_prompts": 2,
        "n_demonstrations": 2,
        "n_items": 2,
        "prompts_that_repeat": 1,
        "demonstrations_that_repeat": 1,
        "items_repeated": 1,
        "by_kind": {"ngram": 2, "rouge_l": 2},
    }
