"""TRL trains on exports as they are: one real step of each trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import DatasetDict
from exports import load_export
from kedro.io import DataCatalog
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from almost_kedro.commands.export.command import export_rows

TEMPLATE = (
    "{% for m in messages %}{{ '\n\nHuman: ' if m.role == 'user' else '\n\nAssistant: ' }}"
    "{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)


@pytest.fixture
def tokenizer(tiny_models: dict[str, Path]) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(tiny_models["tiny-small"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def take_a_step(trainer: Any) -> None:
    """Train one step; the weights have to move."""
    before = [each.detach().clone() for each in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 1
    after = list(trainer.model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def set_up(config: Any, folder: Path) -> Any:
    return config(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        warmup_steps=0,
        max_length=128,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


def test_trl_trains_a_reward_model_on_it(
    preferences: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_models["tiny-small"], num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    trainer = RewardTrainer(
        model,
        set_up(RewardConfig, tmp_path),
        train_dataset=preferences["train"],
        eval_dataset=preferences["test"],
        processing_class=tokenizer,
    )
    take_a_step(trainer)


def test_trl_trains_a_policy_on_it(
    preferences: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_models["tiny-small"]),
        args=set_up(DPOConfig, tmp_path),
        train_dataset=preferences["train"],
        eval_dataset=preferences["test"],
        processing_class=tokenizer,
    )
    take_a_step(trainer)


@pytest.mark.parametrize("form", ["prompt-completion", "messages"])
def test_trl_fine_tunes_on_demonstrations(
    form: Any,
    catalog: DataCatalog,
    tokenizer: PreTrainedTokenizerBase,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    export_rows(catalog, "sft_demonstrations", form, tmp_path / "new")
    rows = load_export(tmp_path / "new")
    assert {name: len(split) for name, split in rows.items()} == {"train": 4}
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_models["tiny-small"]),
        args=set_up(SFTConfig, tmp_path / "trained"),
        train_dataset=rows["train"],
        processing_class=tokenizer,
    )
    take_a_step(trainer)
