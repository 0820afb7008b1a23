"""Dialogues by a model's own chat template."""

import json
import re
from pathlib import Path

import pytest
from hand_made_models import END, MARKS, as_folder, make_instruct
from transformers import AutoTokenizer

from almost_kedro.errors import UserError
from almost_kedro.models.chat_template import identify_template
from almost_kedro.models.checks.job import CheckJob
from almost_kedro.models.checks.program import look_over
from almost_kedro.models.texts import TextEncoder
from almost_kedro.models.tokens import Encoder, open_encoder

ASKED = "\n\nHuman: Why?\n\nAssistant:"


def read(encoder: TextEncoder, ids: list[int]) -> str:
    return str(encoder.tokenizer.decode(ids))


def open_texts(folder: Path, max_length: int = 1000) -> TextEncoder:
    return TextEncoder(as_folder(folder, template="t"), " ", max_length)


def test_a_dialogue_and_its_answer_are_written_by_the_template(tmp_path: Path) -> None:
    encoder = open_texts(make_instruct(tmp_path / "m"))
    sequence = encoder.encode(ASKED, "So.")
    assert read(encoder, sequence.dialogue) == (
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert read(encoder, sequence.answer) == "So.<|im_end|>\n"
    assert encoder.encode_dialogue(ASKED) == sequence.dialogue
    assert sequence.labels == [-100] * len(sequence.dialogue) + sequence.answer


def test_several_turns_are_several_messages(tmp_path: Path) -> None:
    encoder = open_texts(make_instruct(tmp_path / "m"))
    ids = encoder.encode_dialogue("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:")
    assert read(encoder, ids) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_ids_are_those_that_servers_see(tmp_path: Path) -> None:
    folder = make_instruct(tmp_path / "m")
    messages = [
        {"role": "user", "content": "Why? 你好"},
        {"role": "assistant", "content": "So.\n1"},
    ]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sequence = open_texts(folder).encode("\n\nHuman: Why? 你好\n\nAssistant:", "So.\n1")
    assert sequence.ids == tokenizer.apply_chat_template(messages, return_dict=False)


def test_a_special_token_in_a_message_stays_text(tmp_path: Path) -> None:
    encoder = open_texts(make_instruct(tmp_path / "m"))
    _, end = (encoder.tokenizer.convert_tokens_to_ids(mark) for mark in MARKS)
    sequence = encoder.encode("\n\nHuman: What is <|im_end|>?\n\nAssistant:", "It is <|im_end|>.")
    assert sequence.ids.count(end) == 2  # of the two turns
    assert "What is <|im_end|>?<|im_end|>" in read(encoder, sequence.dialogue)
    assert read(encoder, sequence.answer) == "It is <|im_end|>.<|im_end|>\n"


def test_an_answer_ends_in_the_templates_own_token_whatever_eos_is(tmp_path: Path) -> None:
    encoder = open_encoder(as_folder(make_instruct(tmp_path / "m", eos=END), template="t"))
    assert encoder.tokenizer.eos_token == END
    assert encoder.tokenizer.convert_tokens_to_ids("<|im_end|>") in encoder.end_ids


def test_without_a_token_after_an_answer_eos_ends_it(tmp_path: Path) -> None:
    template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}[assistant]{% endif %}"
    encoder = open_texts(make_instruct(tmp_path / "m", template, eos=END))
    assert read(encoder, encoder.encode(ASKED, "So.").answer) == f" So.\n{END}"


def test_what_is_too_long_loses_its_beginning(tmp_path: Path) -> None:
    folder = make_instruct(tmp_path / "m")
    whole = open_texts(folder).encode(ASKED, "So.").ids
    assert open_texts(folder, 20).encode(ASKED, "So.").ids == whole[-20:]


def test_a_plain_reading_knows_nothing_of_the_template(tmp_path: Path) -> None:
    folder = make_instruct(tmp_path / "m")
    encoder = Encoder(folder)
    assert encoder.tokenizer.decode(encoder.encode([ASKED])[0]) == ASKED


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "its tokenizer has no chat template; set dialogue: plain"),
        ("{{ raise_exception('no') }}", "its chat template fails .*no.*; set dialogue: plain"),
        ("{% for", "its chat template fails .*; set dialogue: plain, or give an instruct model"),
        (
            "{{ 'answered' if messages[-1]['role'] == 'assistant' else 'asked' }}"
            "{{ messages[-1]['content'] }}",
            "its chat template writes a dialogue in another way once it is answered; set",
        ),
    ],
)
def test_a_template_that_can_not_be_used_is_refused_for_that_use_alone(
    template: str | None, reason: str, tmp_path: Path
) -> None:
    folder = make_instruct(tmp_path / "m", template)
    job = CheckJob(model=as_folder(folder), weights=True, out=tmp_path / "found.json")
    refusals = look_over(job).refusals
    assert list(refusals) == ["chat_template"]
    assert re.match(reason, refusals["chat_template"])


def test_a_template_is_identified_by_its_text_wherever_it_is(tmp_path: Path) -> None:
    folder = make_instruct(tmp_path / "m")
    found = identify_template("m", folder)
    assert found is not None
    text = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    assert identify_template("m", folder) is None
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for place in (text, [{"name": "tool", "template": "x"}, {"name": "default", "template": text}]):
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": place}))
        assert identify_template("m", folder) == found
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config | {"chat_template": text + " "})
    )
    assert identify_template("m", folder) not in (found, None)


def test_a_template_that_can_not_be_used_ends_the_encoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no chat template"):
        open_encoder(as_folder(make_instruct(tmp_path / "m", None), template="t"))
