"""Benchmarks as the pipeline reads them, and what of the training data repeats them."""

import hashlib
from functools import partial
from pathlib import Path

import pytest
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from made_rows import make_candidate, make_prompt, make_question, make_splits

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_sources import read_benchmarks, read_mc1_preset, spread
from almost_kedro.evaluation.truthfulqa import PRESET
from almost_kedro.feedback.decontamination import list_benchmark_texts
from almost_kedro.feedback.self_play import list_training_rows, make_demonstrations
from almost_kedro.jobs.row_files import digest_rows
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.evaluation import EvaluationOptions
from almost_kedro.pipelines.contamination import (
    check_contamination,
    check_self_play,
    list_demonstrations,
    list_overlaps,
    refuse_contaminated_demonstrations,
)
from almost_kedro.pipelines.evaluation.report import count_contamination
from almost_kedro.rows.evaluation import OpenItem

QUESTION = "How could a lighthouse keeper explain tides to a visiting school class?"


@pytest.fixture(scope="session")
def own(project: Path) -> Path:
    return project / "assets/benchmarks"


def make_questions(*texts: str) -> list[OpenItem]:
    return [make_question(f"open-{i:04d}", text) for i, text in enumerate(texts, 1)]


def test_our_own_sets_are_read_whole_with_what_they_are(own: Path) -> None:
    pairs, choices, questions, preferences, sources = read_benchmarks(EvaluationOptions(), own)
    assert preferences == []
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
    pairs, choices, questions, preferences, sources = read_benchmarks(options, own)
    assert [len(choices), len(questions)] == [8, 9]
    assert preferences == []
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
    prompts = [make_prompt("p1", QUESTION), make_prompt("p2", "What is a fjord?")]
    shown = f"Header\n\n-----\n\nHuman: Hi?\n\nAssistant: Yes.\n\n-----\n\nHuman: {QUESTION}"
    rows, counts = check_contamination(
        prompts, {"HHH": lambda: shown}, open_questions=make_questions("Why?", QUESTION)
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


# The simulated user repeats an item in the second turn, and again in one that is not kept.
PLAYED = [
    make_candidate("c1", question="What is a fjord?", kept=True),
    make_candidate("c2", parent_id="c1", turn=2, question=QUESTION, kept=True),
    make_candidate("c3", parent_id="c1", turn=2, question=QUESTION),
]


def test_what_is_new_in_self_play_is_compared_too() -> None:
    rows, counts = check_self_play(PLAYED, open_questions=make_questions("Why?", QUESTION))
    assert [(row["text_id"], row["item_id"], row["kind"]) for row in rows] == [
        ("c2", "open-0002", "ngram"),
        ("c2", "open-0002", "rouge_l"),
    ]
    assert counts == {
        "n": 2,
        "that_repeat": 1,
        "items_repeated": 1,
        "by_kind": {"ngram": 1, "rouge_l": 1},
    }


def test_what_models_were_trained_on_is_counted_apart_from_what_only_measures() -> None:
    splits = {"p1": "rl", "p2": "self_play", "p3": "held_out", "p4": "reward_model"}
    prompts, shares = [make_prompt(name) for name in splits], make_splits(splits)
    repeated = list_overlaps({"p1": QUESTION, "p3": QUESTION, "User/1": QUESTION}, {"i": QUESTION})
    in_play, _ = check_self_play(PLAYED, open_questions=make_questions(QUESTION))
    demonstrations = make_demonstrations(PLAYED, "corrected")
    digest = digest_rows(list_training_rows(demonstrations))
    policy = Checkpoint(Path(), {"name": "sft_policy", "data": {"demonstrations": digest}})
    count = partial(count_contamination, prompts, shares, repeated)
    found = count(PLAYED, demonstrations, in_play, policy)
    assert {name: n for name, n in found.pop("by_split").items() if n} == {"rl": 1, "held_out": 1}
    assert found == {
        "n_prompts": 3,
        "prompts_that_repeat": 1,
        "n_demonstrations": 2,
        "demonstrations_that_repeat": 1,
    }
    with pytest.raises(UserError, match=r"^sft_demonstrations: 1 of 2 rows are of another version"):
        count(PLAYED[:1], demonstrations, [], policy)
    with pytest.raises(UserError, match=r"^sft_policy was trained on another version of demonstr"):
        count(PLAYED, demonstrations[:1], [], policy)


def test_a_demonstration_that_repeats_an_item_is_refused_and_a_prompt_is_not() -> None:
    shown = {"User/2": f"\n\nHuman: {QUESTION}"}
    rows = list_overlaps({"p1": QUESTION, **shown}, {"open-0002": QUESTION})
    with pytest.raises(
        UserError,
        match=r"^User_prompt.txt, demonstration 2: repeats the benchmark item open-0002 "
        r"\('how could .* class'\); write another one there, or set "
        r"evaluation.drop_contaminated: false$",
    ):
        refuse_contaminated_demonstrations(rows)
    refuse_contaminated_demonstrations([row for row in rows if row["text_id"] == "p1"])


def test_no_seed_and_no_demonstration_of_ours_repeats_an_item_of_ours(
    project: Path, own: Path
) -> None:
    files = (project / "assets").glob("*_prompt.txt")
    shown = list_demonstrations(
        {file.stem.removesuffix("_prompt"): partial(file.read_text, "utf-8") for file in files}
    )
    seeds = (project / "assets/seed_prompts.txt").read_text().splitlines()
    texts = {f"seed_prompts, line {number}": text for number, text in enumerate(seeds, 1)} | shown
    *benchmarks, _ = read_benchmarks(EvaluationOptions(), own)
    items = list_benchmark_texts([item for rows in benchmarks for item in rows])
    assert (len(texts), len(items)) == (131, 156)
    assert list_overlaps(texts, items) == []


def test_equal_checks_of_several_pipelines_are_one_in_their_sum(project: Path) -> None:
    bootstrap_project(project)
    holders = {
        "read_benchmarks": {"synthetic_feedback", "contrasts", "evaluation"},
        "check_contamination": {"synthetic_feedback", "contrasts", "evaluation"},
        "check_self_play": {"rmsp_sft", "evaluation"},
    }
    for name, expected in holders.items():
        found = {key for key in pipelines if name in {node.name for node in pipelines[key].nodes}}
        assert found == {*expected, "__default__"}
    # What reads the benchmarks has to come before what generates.
    default = [node.name for node in pipelines["__default__"].nodes]
    assert default.index("read_benchmarks") < default.index("check_feedback_inputs")
    assert default.index("check_feedback_inputs") < default.index("write_prompts")
    assert default.index("check_contamination") < default.index("split_prompts")
    for name in ("check_feedback_inputs", "check_contamination", "check_self_play"):
        (node,) = pipelines["__default__"].only_nodes(name).nodes
        assert {"hhh_items", "mc1_items", "open_questions"} <= set(node.inputs)
