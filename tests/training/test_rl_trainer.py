"""TRL's trainers as we make them: no dropout, and answers drawn and read as everywhere else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import save
from training_jobs import make_rows, write_job
from transformers import (
    AutoConfig,
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from almost_kedro.contract import FinishReason
from almost_kedro.training.rl import make_trainer

VOCABULARY = 259
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "eos_token_id": 2,
}
# Dropout as layers, as numbers of modules, and as read from the configuration at every call.
DROPPING: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, eos_token_id=2)
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, intermediate_size=64, attention_dropout=0.3)
    ),
    "bloom": lambda: BloomForCausalLM(BloomConfig(**SIZES, hidden_dropout=0.2)),
    "falcon": lambda: FalconForCausalLM(FalconConfig(**SIZES, hidden_dropout=0.2)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32, dropout=0.2, layerdrop=0.5)
    ),
}
# What a model's own generation config may ask for; all of it would change what is drawn.
ODD: dict[str, Any] = {
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "top_k": 1,
    "min_p": 0.9,
    "typical_p": 0.1,
    "epsilon_cutoff": 0.1,
    "do_sample": True,
    "suppress_tokens": list(range(100, 200)),
    "begin_suppress_tokens": list(range(50, 100)),
    "bad_words_ids": [[121], [122]],
    "forced_eos_token_id": 2,
    "min_new_tokens": 8,
    "sequence_bias": [[[70], 9.0]],
    "stop_strings": ["e"],
}


def make(
    out: Path, base: Path, judge: Path, *, ranks: int = 1, changes: Any = None, **options: Any
) -> Any:
    """A trainer; of two ranks it is the first one, alone, which writes by plain `generate`."""
    rows = make_rows(8, seed=2)
    run = write_job(
        "rl", out, base, rows, reward_model=judge, ranks=ranks, changes=changes, **options
    )
    return make_trainer(run.job, rows)


def write_rollouts(trainer: Any) -> list[list[int]]:
    """Answers as TRL lets them be written."""
    trainer.model.train()
    prompts, _, extra = trainer._tokenize_prompts([row["dialogue"] for row in make_rows(8, 2)])
    torch.manual_seed(0)
    more = (4,) if "GRPO" in type(trainer).__name__ else ()
    with torch.no_grad():
        found = trainer._generate_single_turn(prompts, None, extra, *more)
    ids: list[list[int]] = found[0] if more else found
    return ids


@pytest.mark.parametrize(
    ("family", "algorithm"), [*((family, "rloo") for family in DROPPING), ("gpt2", "grpo")]
)
def test_a_policy_with_dropout_begins_as_itself(
    family: str, algorithm: str, tiny_models: dict[str, Path], reward_model: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    base = save(DROPPING[family](), tmp_path / "base", tiny_models)
    trainer = make(tmp_path / "rl", base, reward_model, algorithm=algorithm)
    inputs = [{"prompt": r["dialogue"], "prompt_id": r["id"]} for r in make_rows(8, 2)]
    trainer.model.train()
    batch = trainer._generate_and_score_completions(inputs)
    assert [row["kl"] for row in trainer.rollouts] == pytest.approx([0] * 8, abs=1e-4)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]
    new, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)
    with torch.no_grad():
        old, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)
    ratios = torch.exp(((new - old) * batch["completion_mask"]).sum(1))
    assert ratios.tolist() == pytest.approx([1] * 8, abs=1e-4)
    # What is saved says what the base said.
    trainer.model.save_pretrained(tmp_path / "saved")
    names = [name for name in AutoConfig.from_pretrained(base).to_dict() if "drop" in name]
    saved, own = (AutoConfig.from_pretrained(f).to_dict() for f in (tmp_path / "saved", base))
    assert names
    assert [saved[name] for name in names] == [own[name] for name in names]


@pytest.mark.parametrize("ranks", [1, 2], ids=["engine", "generate"])
@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_a_models_own_generation_config_changes_neither_rollouts_nor_watch(
    algorithm: str, ranks: int, tiny: Path, reward_model: Path, tmp_path: Path
) -> None:
    written = {}
    for name, config in {"plain": {}, "odd": ODD}.items():
        base = tmp_path / name
        shutil.copytree(tiny, base)
        ids = {"eos_token_id": 2, "pad_token_id": 0}
        (base / "generation_config.json").write_text(json.dumps({**ids, **config}))
        trainer = make(
            tmp_path / f"rl-{name}", base, reward_model, ranks=ranks, algorithm=algorithm
        )
        assert ("generate" in vars(trainer.model)) == (ranks == 1)
        dialogues = [row["dialogue"] for row in make_rows(4, seed=3)]
        written[name] = write_rollouts(trainer), trainer.answer(dialogues, 5, names=dialogues)
        # Of the model, which checkpoints are saved with, nothing is gone.
        for option, value in config.items():
            assert getattr(trainer.model.generation_config, option) == value
    assert written["odd"] == written["plain"]


@pytest.mark.parametrize(
    ("rules", "text", "rewarded", "reason"),
    [
        # 12 tokens, a byte each, at most.
        ("corrected", " Yes. Or so", "Yes. Or so", "eos"),
        ("corrected", " Yes. Or so.", "Yes. Or so.", "length"),
        ("corrected", " Yes. Or so it", "Yes.", "length"),
        ("corrected", " Or so it may", "", "length"),
        ("corrected", " No.Human: a", "No.", "stop"),
        ("original", " Yes. Or so it", "Yes. Or so", "length"),
        ("original", " No.Human: a", "No.", "length"),
    ],
)
def test_an_answer_is_read_as_in_self_play_and_in_the_policies_test(
    rules: str,
    text: str,
    rewarded: str,
    reason: FinishReason,
    tiny: Path,
    reward_model: Path,
    tmp_path: Path,
) -> None:
    trainer = make(tmp_path, tiny, reward_model, changes={"rules": rules})
    [ids] = trainer.encoder.encoder.encode([text])
    written = trainer.reader.cut([*ids, 2][:12])
    found, completion = trainer.reader.read(written)
    assert (found, completion.finish_reason) == (rewarded, reason)
    # What comes after a stop string is no part of the answer: it is not learned from.
    assert (
        len(written) == completion.n_tokens == (10 if reason == "stop" else min(12, len(ids) + 1))
    )
    row = {"prompts": ["\n\nHuman: a?\n\nAssistant:"], "completions": [text], "prompt_id": ["p"]}
    [reward] = trainer.reward(**row, completion_ids=[written])
    [same] = trainer.rewarder.reward(row["prompts"], [rewarded])
    assert reward == same
    assert trainer._new[0]["completion"] == rewarded
