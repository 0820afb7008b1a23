"""Padding is training's own: policies keep their base's tokenizer, rewards are padded by no text.

The tokenizers have a token for each byte, and "!" is the first of them, as in GPT-2, Llama 3, Qwen.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_made_models import END, as_folder, edit, make_folder, make_tokenizer
from training_jobs import Run, make_rows, write_job
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from almost_kedro.contract import Request, Sampling
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.models.checkpoints import (
    Checkpoint,
    as_model,
    check_same_tokenizer,
    make_manifest,
)
from almost_kedro.models.tokens import Encoder, is_text, read_plainly

# Special tokens, other changes, and the id that a reward model pads with: bytes are 0 to 255, or
# one more where a token is before them, and the eos token follows.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "no pad token": ({}, {}, 257),
    "pad is eos": ({"pad_token": END}, {}, 257),
    "pad is unk": ({"first": ("<unk>",), "unk_token": "<unk>", "pad_token": "<unk>"}, {}, 0),
    "pad is id 0": ({"first": ("<pad>",), "pad_token": "<pad>"}, {}, 0),
    "pad is an added token": ({"extra": (END, "[PAD]"), "pad_token": "[PAD]"}, {}, 257),
    "rows to spare": ({}, {"vocab_size": 264}, 257),
    "a reserved token": ({"extra": (END, "<|reserved_special_token_0|>")}, {}, 257),
    "a token named pad is text": ({"extra": (END, "<|pad|>")}, {}, 257),
}
FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def shout(n: int, seed: int) -> list[dict[str, Any]]:
    """Rows whose answers are exclamation marks."""
    return [
        {**row, "answer": "!!! Yes!", "chosen": "!!! Yes!", "rejected": "No!"}
        for row in make_rows(n, seed)
    ]


def run(program: str, out: Path, base: Path, **options: Any) -> Run:
    """Train in this process."""
    rows = shout(32 if program == "sft" else 8, seed=0)
    written = write_job(program, out, base, rows, save_every=100, **options)
    import_module(f"almost_kedro.training.{program}").run(written.job)
    return written


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    named, changes, _ = CASES[request.param]
    folder = tmp_path_factory.mktemp("base") / "model"
    return request.param, make_folder(folder, make_tokenizer(**named), **changes)


def test_a_fine_tuned_policy_keeps_its_bases_tokenizer_and_ids(
    case: tuple[str, Path], tmp_path: Path
) -> None:
    _, base = case
    policy = run("sft", tmp_path, base).model
    for file in FILES:
        assert (policy / file).read_bytes() == (base / file).read_bytes(), file
    own, kept = (AutoConfig.from_pretrained(folder) for folder in (base, policy))
    for name in ("pad_token_id", "eos_token_id", "bos_token_id", "vocab_size"):
        assert getattr(kept, name) == getattr(own, name), name


def test_a_reward_model_gives_a_text_in_a_batch_the_reward_that_it_has_alone(
    case: tuple[str, Path], tmp_path: Path
) -> None:
    name, base = case
    folder = run("reward", tmp_path, base).model
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pad = tokenizer.pad_token_id
    assert pad == model.config.pad_token_id == CASES[name][2]
    assert pad != tokenizer.eos_token_id
    assert not is_text(tokenizer, pad)
    assert model.get_input_embeddings().num_embeddings > pad
    texts = [f"Human: a{END}", f"Human: what is it?\n\nAssistant: well! yes! no!{END}"]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    assert all(each[-1] == tokenizer.eos_token_id for each in ids)
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0]
        alone = torch.stack([model(torch.tensor([each])).logits[0, 0] for each in ids])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert abs(alone[0] - alone[1]) > 1e-3


@pytest.mark.parametrize("pad", [None, END])
def test_exclamation_marks_survive_fine_tuning_and_reinforcement_learning(
    pad: str | None, tmp_path: Path
) -> None:
    base = make_folder(tmp_path / "base", make_tokenizer(pad_token=pad))
    sft = run("sft", tmp_path / "sft", base, epochs=4, learning_rate=1e-2)
    reward = run("reward", tmp_path / "reward", base)
    judged = describe(reward, "reward_model")
    check_same_tokenizer(judged, sft.model, "train them from one model")
    rl = run(
        "rl",
        tmp_path / "rl",
        sft.model,
        reward_model=reward.model,
        steps=1,
        batch_size=8,
        learning_rate=1e-6,
    )
    for folder in (base, sft.model, rl.model):
        encoder = Encoder(folder)
        assert encoder.end_ids == [256]
        [ids] = encoder.encode(["Wow! No!"])
        assert encoder.tokenizer.decode(ids, skip_special_tokens=True) == "Wow! No!"
    written = [row["completion"] for row in rl.read("rollouts.jsonl")]
    assert sum("!" in text for text in written) >= len(written) / 2
    engine = EmbeddedEngine(rl.model, dtype="float32", device="cpu")
    asked = [Request(row["dialogue"]) for row in shout(4, seed=9)]
    answers = list(engine.generate(asked, Sampling(1.0, 0.5, 12)))
    assert all("!" in completion.text for _, completion in answers)


def test_a_pad_token_named_in_models_yml_ends_texts_and_pads_rewards(tmp_path: Path) -> None:
    base = make_folder(tmp_path / "base", make_tokenizer(extra=(END, "<|spare|>")))
    named = as_folder(base, pad_token="<|spare|>")
    assert Encoder(base).end_ids == [256]
    assert Encoder(base, pad_token=named.pad_token).end_ids == [256, 257]
    written = write_job("reward", tmp_path / "job", base, shout(8, 0), changes={"base": named})
    import_module("almost_kedro.training.reward").run(written.job)
    tokenizer = AutoTokenizer.from_pretrained(written.model)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|spare|>", 257)
    assert (
        written.job.identity()
        != write_job(
            "reward", tmp_path / "other", base, shout(8, 0), changes={"base": as_folder(base)}
        ).job.identity()
    )
    assert as_model(describe(written, "policy"), None).pad_token == "<|spare|>"
    assert as_model(describe(written, "reward_model"), None).pad_token is None


def test_a_policy_learns_to_end_in_its_tokenizers_eos_whatever_its_base_named(
    tmp_path: Path,
) -> None:
    base = make_folder(tmp_path / "base")
    edit(base, "generation_config.json", eos_token_id=[9], repetition_penalty=1.1)
    policy = run("sft", tmp_path / "sft", base).model
    saved = json.loads((policy / "generation_config.json").read_text())
    assert saved["eos_token_id"] == [256, 9]
    assert saved["repetition_penalty"] == 1.1
    assert "pad_token_id" not in saved


def test_a_token_that_a_text_may_hold_ends_none(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(pad_token="!")
    assert is_text(tokenizer, 0)
    assert not is_text(tokenizer, 256)
    assert read_plainly(tokenizer, ["!"]) == [[0]]
    encoder = Encoder(make_folder(tmp_path / "model", tokenizer))
    assert (encoder.pad, encoder.end_ids) == (None, [256])


def describe(trained: Run, kind: Any) -> Checkpoint:
    manifest = make_manifest(
        trained.model,
        trained.model,
        kind=kind,
        name=kind,
        base=trained.job.base,
        data={},
        options={},
        metrics={},
        packages={},
    )
    return Checkpoint(trained.model, manifest)
