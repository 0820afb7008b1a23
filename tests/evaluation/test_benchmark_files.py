"""Files in the official formats: what they become, and what is refused, with its line or item."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from almost_kedro.errors import UserError
from almost_kedro.evaluation.benchmark_files import read_choices, read_open, read_pairs

ASKED = "\n\nHuman: Why?\n\nAssistant:"
PAIR = {"chosen": f"{ASKED} So.", "rejected": f"{ASKED} No.", "type": "honest"}
CHOICE = {"question": "Is it?", "mc1_targets": {"It is.": 1, "It isn't.": 0}}
OPEN = {"question_id": 7, "text": "Why is it so?", "category": "generic"}
HEADER = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source"
LINE = "Adversarial,Health,Is it?,It is,It is; Yes,It isn't; No; ,https://example.com"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | list[Any]], Path]:
    """Write a file: text as it is, rows as a JSON list."""

    def write_file(name: str, content: str | list[Any]) -> Path:
        text = content if isinstance(content, str) else json.dumps(content)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def explain(read: Callable[[Any], object], path: Path) -> str:
    """The error, in which the folder is left out."""
    with pytest.raises(UserError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{path.parent}/", "")


def test_a_pair_is_a_dialogue_up_to_its_last_cue_and_two_answers(
    write: Callable[..., Path],
) -> None:
    dialogue = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman:  Why? \n\nAssistant:"
    row = {"chosen": f"{dialogue}  So:\n\nso. \n", "rejected": f"{dialogue}No.", "type": "other"}
    assert read_pairs(write("pairs.json", [PAIR, row])) == [
        {
            "item_id": "hhh-0001",
            "category": "honest",
            "dialogue": ASKED,
            "chosen": "So.",
            "rejected": "No.",
        },
        {
            "item_id": "hhh-0002",
            "category": "other",
            "dialogue": dialogue,
            "chosen": "So:\n\nso.",
            "rejected": "No.",
        },
    ]


def test_a_dialogue_may_come_again_with_other_answers(write: Callable[..., Path]) -> None:
    other = {**PAIR, "rejected": f"{ASKED} Maybe."}
    assert len(read_pairs(write("pairs.json", [PAIR, other]))) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["So.", "No."], "found ['So.', 'No.']"),
        ({**PAIR, "chosen": ASKED}, "chosen has no last answer"),
        ({"chosen": PAIR["chosen"]}, "rejected is missing; found chosen"),
        ({**PAIR, "chosen": 5}, "chosen is not a text; found 5"),
        ({**PAIR, "rejected": " \n"}, "rejected is empty"),
        ({**PAIR, "chosen": "Why? So."}, r'chosen has no "\n\nAssistant:"'),
        ({**PAIR, "rejected": f"{ASKED} \n"}, "rejected has no last answer"),
        ({**PAIR, "rejected": f"{ASKED}  So. "}, "chosen and rejected are the same answer"),
        ({**PAIR, "type": "helpfull"}, "its category is 'helpfull'"),
        (
            {**PAIR, "rejected": "\n\nHuman: Why not?\n\nAssistant: No."},
            "chosen and rejected have different dialogues, from character 13 on: "
            r"'?\n\nAssistant:' and ' not?\n\nAssistant:'",
        ),
        (
            {**PAIR, "chosen": f"{ASKED} Ah.{ASKED} So."},
            "chosen and rejected have different dialogues, from character 26 on: "
            r"' Ah.\n\nHuman: Why?\n\nA' and ''",
        ),
        (
            {**PAIR, "chosen": "Why?\n\nAssistant: So.", "rejected": "Why?\n\nAssistant: No."},
            r"the dialogue starts with 'Why?\n\nAssistant:'",
        ),
        (
            {
                "chosen": "\n\nHuman: \n\nAssistant: So.",
                "rejected": "\n\nHuman: \n\nAssistant: No.",
                "type": "other",
            },
            "the last question is empty",
        ),
    ],
)
def test_a_wrong_pair_is_named_by_its_position(
    write: Callable[..., Path], row: Any, said: str
) -> None:
    assert explain(read_pairs, write("pairs.json", [PAIR, row])) == (
        rf'pairs.json, item 2: {said}; each item needs chosen and rejected, texts "\n\nHuman: '
        r'...\n\nAssistant: ..." that differ in the last answer alone, and type: helpful, '
        "harmless, honest or other"
    )


def test_a_pair_that_is_there_twice_is_refused(write: Callable[..., Path]) -> None:
    path = write("pairs.json", [PAIR, {**PAIR, "rejected": f"{ASKED} Oh."}, PAIR])
    assert explain(read_pairs, path) == (
        "pairs.json, item 3: the same dialogue and chosen and rejected as in pairs.json, item 1; "
        "keep one"
    )


@pytest.mark.parametrize("read", [read_pairs, read_choices])
def test_a_file_that_is_no_list_of_items_is_refused(
    write: Callable[..., Path], read: Callable[[Path], object]
) -> None:
    assert explain(read, write("a.json", "[\n{},\n")).startswith(
        "a.json: not JSON (Expecting value: line 3 column 1 (char 6)); each item needs "
    )
    assert explain(read, write("b.json", '{"data": []}')).startswith(
        "b.json: found a JSON dict, not a list; each item needs "
    )
    assert explain(read, write("c.json", [])) == "c.json: no items; give a benchmark that has some"


@pytest.mark.parametrize("read", [read_pairs, read_choices, read_open])
def test_a_file_that_is_missing_or_of_another_encoding_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "items.json"
    assert explain(read, path).startswith("items.json: there is no such file; ")
    path.write_bytes('["\xe9"]'.encode("latin-1"))
    assert explain(read, path).startswith("items.json: not UTF-8 ('utf-8' codec can't decode ")


def test_questions_are_read_from_mc_task_json_with_and_without_category(
    write: Callable[..., Path],
) -> None:
    row = {
        "question": " Was it? ",
        "category": "History",
        "mc1_targets": {"No.": 0, " Yes. ": 1, "Perhaps.": 0},
        "mc2_targets": {"Yes.": 1},
    }
    assert read_choices(write("mc_task.json", [CHOICE, row])) == [
        {
            "item_id": "mc1-0001",
            "category": "",
            "question": "Is it?",
            "choices": ["It is.", "It isn't."],
        },
        {
            "item_id": "mc1-0002",
            "category": "History",
            "question": "Was it?",
            "choices": ["Yes.", "No.", "Perhaps."],
        },
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": " "}, "question is empty"),
        ({"category": None}, "category is not a text; found None"),
        ({"mc1_targets": ["It is."]}, "mc1_targets is ['It is.']"),
        ({"mc1_targets": {"It is.": 0, "No.": 0}}, "0 of 2 choices are labelled 1"),
        ({"mc1_targets": {"A.": 1, "B.": 1, "C.": 0}}, "2 of 3 choices are labelled 1"),
        ({"mc1_targets": {}}, "0 of 0 choices are labelled 1"),
        ({"mc1_targets": {"It is.": 1}}, "there is no wrong choice"),
        ({"mc1_targets": {"It is.": 1, "": 0}}, "a choice is ''"),
        ({"mc1_targets": {"It is.": 1, " It is.": 0}}, "the choice 'It is.' is there twice"),
        ({"mc1_targets": {"It is.": 1, "No.": "0"}}, "a label is '0'"),
    ],
)
def test_a_wrong_question_of_mc_task_json_is_named_by_its_position(
    write: Callable[..., Path], change: dict[str, Any], said: str
) -> None:
    path = write("mc_task.json", [{**CHOICE, "question": "First?"}, {**CHOICE, **change}])
    assert explain(read_choices, path) == (
        f"mc_task.json, item 2: {said}; each item needs question, a text, and mc1_targets: "
        '{"choice": 1, "other choice": 0, ...} with one 1'
    )


def test_a_question_that_is_there_twice_is_refused(write: Callable[..., Path]) -> None:
    again = {**CHOICE, "mc1_targets": {"Yes.": 1, "No.": 0}}
    assert explain(read_choices, write("mc.json", [CHOICE, again])) == (
        "mc.json, item 2: the same question as in mc.json, item 1; keep one"
    )


def test_choices_of_the_csv_are_the_best_answer_and_each_incorrect_one(
    write: Callable[..., Path],
) -> None:
    # As in the authors' own files: a quoted comma, a full stop that is there already, an empty
    # piece at the end and an answer that is there twice.
    lines = [
        "\ufeff" + HEADER,
        LINE,
        'Adversarial,Law,"So, was it?",Not in the U.S.,-,Yes; No.;Yes ,-',
    ]
    assert read_choices(write("TruthfulQA.csv", "\r\n".join(lines))) == [
        {
            "item_id": "mc1-0001",
            "category": "Health",
            "question": "Is it?",
            "choices": ["It is.", "It isn't.", "No."],
        },
        {
            "item_id": "mc1-0002",
            "category": "Law",
            "question": "So, was it?",
            "choices": ["Not in the U.S.", "Yes.", "No."],
        },
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("A,Law,,It is,It is,No,-", "Question is empty"),
        ("A,Law,Was it?,It was", "Incorrect Answers is empty"),
        ("A,Law,Was it?,It was,It was, ; ,-", "there is no wrong choice"),
        ("A,Law,Was it?,No,No,Yes; No.,-", "the choice 'No.' is there twice"),
        ("A,Law,Well, was it?,Yes,Yes,No,-", "1 fields too many"),
        ('A,Law,Was it?,Yes,Yes,"No,-\n\n', "unexpected end of data"),
    ],
)
def test_a_wrong_line_of_the_csv_is_named(write: Callable[..., Path], line: str, said: str) -> None:
    path = write("TruthfulQA.csv", "\n".join([HEADER, LINE, line]))
    assert explain(read_choices, path) == (
        f"TruthfulQA.csv, line 3: {said}; TruthfulQA.csv has the columns Category, Question, Best "
        'Answer and Incorrect Answers, of which the last has one or more, with ";" in between'
    )


def test_another_csv_or_suffix_is_refused(write: Callable[..., Path]) -> None:
    path = write("quiz.csv", "Topic,Question\nLaw,Is it?\n")
    assert explain(read_choices, path).startswith(
        "quiz.csv, line 2: Category is missing; found Topic, Question"
    )
    assert explain(read_choices, write("mc_task.txt", [CHOICE])) == (
        "mc_task.txt: found the suffix '.txt'; give a .csv or a .json file"
    )


def test_open_questions_are_read_line_by_line(write: Callable[..., Path]) -> None:
    second = {"question_id": "b", "text": "One\u2028two?", "category": "math", "turns": 1}
    lines = [json.dumps(OPEN), "", json.dumps(second, ensure_ascii=False), ""]
    assert read_open(write("question.jsonl", "\n".join(lines))) == [
        {"item_id": "open-0001", "category": "generic", "question": "Why is it so?"},
        {"item_id": "open-0002", "category": "math", "question": "One\u2028two?"},
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Why?", "not JSON (Expecting value: line 1 column 1 (char 0))"),
        ('["Why?"]', "found ['Why?']"),
        ('{"question_id": 8, "category": "math"}', "text is missing; found question_id, category"),
        ('{"question_id": 8, "text": " ", "category": "math"}', "text is empty"),
        ('{"question_id": 8, "text": "Why?"}', "category is missing; found question_id, text"),
        ('{"text": "Why?", "category": "math"}', "question_id is None"),
    ],
)
def test_a_wrong_line_of_open_questions_is_named(
    write: Callable[..., Path], line: str, said: str
) -> None:
    path = write("question.jsonl", f"{json.dumps(OPEN)}\n\n{line}\n")
    assert explain(read_open, path) == (
        f'question.jsonl, line 3: {said}; each line needs {{"question_id": a number, '
        '"text": "the question", "category": "its category"}'
    )


@pytest.mark.parametrize(
    ("change", "field"), [({"question_id": 8}, "question"), ({"text": "Why?"}, "question_id")]
)
def test_open_questions_and_their_ids_are_there_once(
    write: Callable[..., Path], change: dict[str, Any], field: str
) -> None:
    path = write("q.jsonl", f"{json.dumps(OPEN)}\n{json.dumps({**OPEN, **change})}\n")
    assert explain(read_open, path) == (
        f"q.jsonl, line 2: the same {field} as in q.jsonl, line 1; keep one"
    )
