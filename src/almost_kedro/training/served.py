"""A trained model as others use it: with a chat template, labels and the numbers that suit it.

It lies beside the model that training saved, and shares the files that are the same. Run by hand on
a model that was trained before there was such a folder:
`python -m almost_kedro.training.served JOB.json`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.models.chat_template import TEMPLATE, write_chat_template
from almost_kedro.models.checkpoints import link_file
from almost_kedro.models.files import ADAPTER_FOLDER, CONFIG, INDEX, TOKENIZER_CONFIG
from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.rules import Rules
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.work_folders import METRICS
from almost_kedro.training.job import MODEL, SERVED, TrainingJob
from almost_kedro.training.policy_files import replace_json, write_json

# Where a base model's own template may be.
OTHER_TEMPLATE = "chat_template.json"
# Questions and answers of several turns; some tokenizers read the text after bos in a way of its
# own, and some join a word with what stands before it.
SAMPLES = (
    (("Why?", "Well: so."),),
    (("What is 2 + 12345?\n\n- a\n- b", "It's 12347!"), ("你好。 Füße", "1. Ja\n2. Nein")),
    (("Hi", "Hello"), ("¿Qué?", "…"), ("def f(x):\n    return x", "```\nok\n```")),
)


def make_served_folder(job: TrainingJob, bfloat16: bool) -> None:
    """Make the folder from the job's trained model; it appears whole or not at all.

    A policy that was trained by bfloat16 computation is stored as bfloat16: its weights have no
    other values. A reward model stays float32, as margins are small beside the resolution of
    bfloat16, and a program that isn't told otherwise computes with what is stored.
    """
    model, part = job.out / MODEL, job.out / f"{SERVED}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for file in sorted(model.iterdir()):
        if file.is_file() and file.name not in (TEMPLATE, OTHER_TEMPLATE):
            link_file(file, part / file.name)
    if (model / ADAPTER_FOLDER).is_dir():
        (part / ADAPTER_FOLDER).mkdir()
        for file in (model / ADAPTER_FOLDER).iterdir():
            link_file(file, part / ADAPTER_FOLDER / file.name)
    is_policy = job.program != "reward"
    template = find_template(job, model)
    if template is None:
        print(
            f"{job.name}: no chat template gives the token ids of training, so servers can't ask "
            "it by messages; they can continue its texts",
            flush=True,
        )
    else:
        (part / TEMPLATE).write_text(template, encoding="utf-8")
    replace_json(part / TOKENIZER_CONFIG, {"chat_template": None})
    if not is_policy:
        labels = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}
        # What reads it, applies no sigmoid.
        replace_json(part / CONFIG, {**labels, "problem_type": "regression"})
    elif bfloat16:
        store_as_bfloat16(part)
    shutil.rmtree(job.out / SERVED, ignore_errors=True)
    part.rename(job.out / SERVED)


def find_template(job: TrainingJob, folder: Path) -> str | None:
    """Return a template that gives the token ids of training; None if none does.

    After bos, some tokenizers need a space to read a text as they read it alone.
    """
    assert job.base.folder
    pad = None if job.program == "reward" else job.base.pad_token
    model = job.base.model_copy(update={"folder": folder, "pad_token": pad})
    encoder = TextEncoder(model, job.separator, sys.maxsize)
    if model.template:
        own = encoder.tokenizer.get_chat_template()
        return own if gives_ids(own, encoder, job.program == "reward") else None
    begins = ["bos_token", "bos_token + ' '"] if encoder.encoder.bos else ["", "' '"]
    after = "" if job.separator else " "
    for template in (write_chat_template(begin, after) for begin in begins):
        if gives_ids(template, encoder, job.program == "reward"):
            return template
    return None


def gives_ids(template: str, encoder: TextEncoder, answers: bool) -> bool:
    """Tell whether a template gives the ids of training for some dialogues.

    With `answers` their last answers count, too: a reward model reads them. A policy writes them.
    """
    rules: Rules = "corrected" if encoder.separator else "original"
    for turns in SAMPLES:
        messages = [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        *earlier, (question, answer) = turns
        text = build_dialogue(earlier, question, rules)
        found = apply(encoder, template, messages[:-1], add_generation_prompt=True)
        if found != encoder.encode_dialogue(text):
            return False
        if answers and apply(encoder, template, messages) != encoder.encode(text, answer).ids:
            return False
    return True


def apply(
    encoder: TextEncoder, template: str, messages: list[dict[str, str]], **how: bool
) -> list[int]:
    """Return the token ids of messages by a template."""
    ids: list[int] = encoder.tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=True, return_dict=False, **how
    )
    return ids


def store_as_bfloat16(folder: Path) -> None:
    """Store float32 weights as bfloat16, file by file, unless a value would change."""
    files = sorted(folder.glob("*.safetensors"))
    if not all(is_exact(file) for file in files):
        return
    for file in files:
        weights = {name: each.to(torch.bfloat16) for name, each in load_file(file).items()}
        part = file.with_suffix(".part")
        save_file(weights, part, metadata={"format": "pt"})
        part.replace(file)
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        index["metadata"] = {**index.get("metadata", {}), "total_size": count_bytes(files)}
        write_json(folder / INDEX, index)
    replace_json(folder / CONFIG, {"dtype": "bfloat16"})


def is_exact(file: Path) -> bool:
    """Tell whether all numbers of a file of weights are values of bfloat16."""
    weights = load_file(file).values()
    return all(torch.equal(each, each.to(torch.bfloat16).to(each.dtype)) for each in weights)


def count_bytes(files: list[Path]) -> int:
    """Return the bytes of all weights."""
    return sum(each.nbytes for file in files for each in load_file(file).values())


def run_job(job: TrainingJob) -> None:
    """Make the folder of a model that was trained before."""
    metrics = json.loads((job.out / METRICS).read_text(encoding="utf-8"))
    make_served_folder(job, metrics["bfloat16"])


def main(*job_files: str) -> int:
    """Carry out job files; return the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(TrainingJob.model_validate_json(text)), *job_files)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
