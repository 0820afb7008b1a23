r"""The dialogues that models are trained on, as the chat template that other programs read.

A dialogue is "\n\nHuman: QUESTION\n\nAssistant: ANSWER", again and again, without a system message.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from almost_kedro.models.files import TOKENIZER_CONFIG, read_json

# The file that a checkpoint has it in.
TEMPLATE = "chat_template.jinja"
REFUSAL = (
    "This model was trained on texts of a user and an assistant who take turns, the user first; "
    "it knows no system message and no tools."
)


def write_chat_template(begin: str, after_assistant: str) -> str:
    """Write a template for `apply_chat_template`; eos ends a text whose last turn is an answer.

    It refuses other roles than user and assistant, and turns in another order. Only texts are
    taken, and white space around them is dropped, as in training.

    Args:
        begin: Before the first turn, as an expression of Jinja: the bos token, or nothing.
        after_assistant: After the last "Assistant:", where the model is to answer.
    """
    user, assistant = (rf"'\n\n{name}: ' + message['content'] | trim" for name in _NAMES)
    return "".join(
        [
            f"{{{{- {begin} -}}}}" if begin else "",
            "{%- for message in messages -%}",
            "{%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant')",
            " or message['content'] is not string -%}",
            f"{{{{- raise_exception('{REFUSAL}') -}}}}",
            "{%- endif -%}",
            f"{{{{- {user} if message['role'] == 'user' else {assistant} -}}}}",
            "{%- endfor -%}",
            "{%- if add_generation_prompt -%}",
            rf"{{{{- '\n\nAssistant:{after_assistant}' -}}}}",
            "{%- elif messages[-1]['role'] == 'assistant' -%}",
            "{{- eos_token -}}",
            "{%- endif -%}",
        ]
    )


_NAMES = ("Human", "Assistant")


def identify_template(name: str, folder: Path) -> str | None:
    """Return the first digits of a model's template's SHA-256; None if it has none.

    transformers takes a file of its own before the tokenizer's configuration, and of several
    templates the one named default.
    """
    text: Any = None
    if (folder / TEMPLATE).is_file():
        text = (folder / TEMPLATE).read_text(encoding="utf-8")
    elif (folder / TOKENIZER_CONFIG).is_file():
        text = read_json(name, folder / TOKENIZER_CONFIG).get("chat_template")
        if isinstance(text, list):
            named = {each.get("name"): each.get("template") for each in text}
            text = named.get("default")
    return hashlib.sha256(text.encode()).hexdigest()[:12] if isinstance(text, str) else None
