"""The folder that others use: its chat template gives the token ids of training."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hand_made_models import END, make_folder, make_instruct, make_tokenizer
from jinja2.exceptions import TemplateError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from training_jobs import Run, as_folder, make_rows, score_in_a_fresh_process, write_job
from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from almost_kedro.feedback.dialogues import write_dialogue
from almost_kedro.jobs.train import Trained, make_checkpoint
from almost_kedro.models.texts import TextEncoder
from almost_kedro.rows.dialogues import Message
from almost_kedro.training.job import SERVED
from almost_kedro.training.served import make_served_folder, store_as_bfloat16

PIECES = [
    "What is 2 + 12345?", "Well, it's so!", "\n\n- a\n- b", "你好。", "Füße & naïve", "…", "🙂",
    " two  spaces ", "def f(x):\n    return [x]", '"quoted"', "Human", "a", "\ttab", "1.",
]  # fmt: skip


def draw_messages(n: int) -> list[list[Message]]:
    """Dialogues of one to three turns that end with an answer, of pieces that join oddly."""
    draw = random.Random(5)
    dialogues = []
    for _ in range(n):
        texts = [
            "".join(draw.choices(PIECES, k=draw.randrange(1, 6))).strip()
            for _ in range(2 * draw.randrange(1, 4))
        ]
        dialogues.append(
            [
                Message(role="assistant" if i % 2 else "user", content=text)
                for i, text in enumerate(texts)
            ]
        )
    return dialogues


def make_sentencepiece(normalized: bool) -> PreTrainedTokenizerFast:
    """A tokenizer in the style of SentencePiece, which reads "H" at a start as " H".

    As the first Llamas have it, each part between special tokens gets the space, and as newer ones
    have it, only the very first.
    """
    letters = sorted({*"".join(PIECES), *"Human: Asitn", "▁"} - {" "})
    words = ["▁" + letter for letter in "HAWadst"]
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: id_ for id_, token in enumerate([*special, *letters, *words])}
    bpe = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[("▁", word[1:]) for word in words],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    if normalized:
        bpe.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bpe.add_special_tokens(["<unk>", "<s>", "</s>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


TOKENIZERS: dict[str, tuple[Callable[[], PreTrainedTokenizerFast], bool]] = {
    "bytes": (make_tokenizer, False),
    "bytes after bos": (lambda: make_tokenizer(first=("<bos>",), bos_token="<bos>"), True),
    "SentencePiece, a space in each part": (lambda: make_sentencepiece(True), True),
    "SentencePiece, a space at the start": (lambda: make_sentencepiece(False), True),
    "SentencePiece without bos": (lambda: make_sentencepiece(False), False),
}


def serve(
    base: Path,
    out: Path,
    program: str,
    bos: bool | None,
    template: str | None = None,
    **changes: Any,
) -> Path:
    """Make the folder from a base as if training had changed nothing."""
    model = as_folder(base).model_copy(update={"bos": bos, "template": template})
    changes = {"base": model, **changes}
    run = write_job(program, out, base, [], reward_model=base, changes=changes)
    run.model.symlink_to(base)
    make_served_folder(run.job, bfloat16=False)
    return out / SERVED


def compare_ids(
    folder: Path,
    base: Path,
    bos: bool | None,
    separator: str = " ",
    template: str | None = None,
) -> None:
    """Compare the ids of 200 dialogues: to be answered, and answered."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    reading = {"bos": bos, "template": template}
    encoder = TextEncoder(as_folder(base).model_copy(update=reading), separator, 10**6)
    rules = "corrected" if separator else "original"
    for messages in draw_messages(200):
        dialogue = write_dialogue(messages[:-1], rules)  # type: ignore[arg-type]
        asked = tokenizer.apply_chat_template(
            messages[:-1], add_generation_prompt=True, return_dict=False
        )
        assert asked == encoder.encode_dialogue(dialogue)
        if separator:
            answered = tokenizer.apply_chat_template(messages, return_dict=False)
            assert answered == encoder.encode(dialogue, messages[-1]["content"]).ids


@pytest.mark.parametrize("program", ["sft", "reward"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_messages_become_the_token_ids_of_training(name: str, program: str, tmp_path: Path) -> None:
    make, bos = TOKENIZERS[name]
    base = make_folder(tmp_path / "base", make())
    folder = serve(base, tmp_path / "out", program, bos)
    compare_ids(folder, base, bos)


@pytest.mark.real
def test_messages_become_the_token_ids_of_training_with_the_default_model(
    smollm2: Path, tmp_path: Path
) -> None:
    compare_ids(serve(smollm2, tmp_path, "rl", None), smollm2, None)


@pytest.mark.parametrize("program", ["sft", "reward"])
def test_messages_become_the_token_ids_of_training_on_the_bases_own_template(
    program: str, tmp_path: Path
) -> None:
    base = make_instruct(tmp_path / "base")
    folder = serve(base, tmp_path / "out", program, None, template="own")
    compare_ids(folder, base, None, template="own")


@pytest.mark.real
@pytest.mark.parametrize("program", ["rl", "reward"])
def test_messages_become_the_token_ids_of_training_on_the_default_models_own_template(
    program: str, smollm2: Path, tmp_path: Path
) -> None:
    folder = serve(smollm2, tmp_path, program, None, template="own")
    compare_ids(folder, smollm2, None, template="own")
    system = "You are a helpful AI assistant named SmolLM"  # as docs/using.md says
    assert system in (folder / "chat_template.jinja").read_text()


def test_under_the_original_rules_a_policy_is_asked_after_a_space(tmp_path: Path) -> None:
    base = make_folder(tmp_path / "base")
    folder = serve(base, tmp_path / "out", "sft", None, separator="")
    compare_ids(folder, base, None, separator="")


def test_where_no_template_gives_the_ids_there_is_none(
    smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The original rules put a space before the answer, which its first word would take."""
    folder = serve(smollm2, tmp_path, "reward", None, separator="")
    assert not (folder / "chat_template.jinja").exists()
    assert AutoTokenizer.from_pretrained(folder).chat_template is None
    assert "no chat template gives the token ids of training" in capsys.readouterr().out


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return serve(make_folder(tmp_path / "base"), tmp_path / "out", "sft", None)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}],
        [{"role": "assistant", "content": "Hello."}],
        [{"role": "user", "content": "Why?"}, {"role": "user", "content": "Well?"}],
        [{"role": "user", "content": [{"type": "image"}]}],
        [{"role": "tool", "content": "42"}],
    ],
)
def test_what_training_never_saw_is_refused(messages: list[dict[str, Any]], policy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    with pytest.raises(TemplateError, match="it knows no system message and no tools"):
        tokenizer.apply_chat_template(messages, add_generation_prompt=True)


def test_the_bases_own_template_is_gone(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    base = make_folder(tmp_path / "base", tokenizer)
    config = json.loads((base / "tokenizer_config.json").read_text())
    config["chat_template"] = "an older place: {{ messages }}"
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    folder = serve(base, tmp_path / "out", "sft", None)
    assert "chat_template" not in json.loads((folder / "tokenizer_config.json").read_text())
    assert "Human" in AutoTokenizer.from_pretrained(folder).chat_template
    # What training saved is as it was: it says which model this is.
    assert (base / "chat_template.jinja").read_text() == "{{ messages }}"
    assert "chat_template" in json.loads((base / "tokenizer_config.json").read_text())


def test_weights_are_stored_as_bfloat16_only_where_none_changes(tmp_path: Path) -> None:
    exact = {"a": torch.tensor([1.0, -0.5, 2.0**120]), "b": torch.tensor([0.0, 1 + 2**-7])}
    for name, weights in (("exact", exact), ("not", {"a": torch.tensor([1 + 2**-9])})):
        folder = tmp_path / name
        folder.mkdir()
        save_file(weights, folder / "model.safetensors")
        (folder / "config.json").write_text('{"dtype": "float32"}')
        store_as_bfloat16(folder)
        stored = load_file(folder / "model.safetensors")
        assert all(torch.equal(stored[key].float(), weights[key]) for key in weights)
        assert {each.dtype for each in stored.values()} == {
            torch.bfloat16 if name == "exact" else torch.float32
        }
    assert json.loads((tmp_path / "exact/config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.slow
def test_a_trained_reward_model_gives_its_rewards_to_others(
    reward_run: Run, tmp_path: Path
) -> None:
    """As `pipeline` reads it: no probability, and of messages."""
    rows = make_rows(6, seed=9)
    rewards = score_in_a_fresh_process(tmp_path, reward_run.model, rows)
    folder = reward_run.job.out / SERVED
    judge = pipeline("text-classification", model=str(folder), dtype=torch.float32)
    for row, reward in zip(rows, rewards, strict=True):
        text = judge.tokenizer.apply_chat_template(
            [
                {"role": "user", "content": read_question(row)},
                {"role": "assistant", "content": row["answer"]},
            ],
            tokenize=False,
        )
        [found] = judge(text, add_special_tokens=False)
        assert found["label"] == "reward"
        assert found["score"] == pytest.approx(reward, abs=1e-4)
    assert judge.model.config.num_labels == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer_class", "config"), [(RLOOTrainer, RLOOConfig), (GRPOTrainer, GRPOConfig)]
)
def test_reinforcement_learning_by_others_takes_both_models_as_they_are(
    trainer_class: Any, config: Any, reward_run: Run, sft_run: Run, tmp_path: Path
) -> None:
    """TRL asks the policy by messages, and rewards its answers as we do."""
    rows = make_rows(4, seed=10)
    prompts = [[Message(role="user", content=read_question(row))] for row in rows]
    trainer = trainer_class(
        model=str(sft_run.job.out / SERVED),
        reward_funcs=str(reward_run.job.out / SERVED),
        args=config(
            output_dir=str(tmp_path / "rl"),
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=8,
            max_steps=1,
            report_to=[],
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
    )
    answers = [[Message(role="assistant", content=row["answer"])] for row in rows]
    inputs = [{"prompt": prompt} for prompt in prompts]
    found = trainer._calculate_rewards(inputs, prompts, answers, [[0]] * 4)
    rewards = score_in_a_fresh_process(tmp_path, reward_run.model, rows)
    assert found[:, 0].tolist() == pytest.approx(rewards, abs=1e-4)
    trainer.train()
    assert trainer.state.global_step == 1


def read_question(row: dict[str, Any]) -> str:
    text: str = row["dialogue"]
    return text.removeprefix("\n\nHuman: ").removesuffix("\n\nAssistant:")


@pytest.mark.slow
def test_a_model_that_was_trained_before_gets_its_folder_and_stays_the_same(
    sft_run: Run, tmp_path: Path
) -> None:
    job, out = sft_run.job, Path(shutil.copytree(sft_run.job.out, tmp_path / "work"))
    trained = Trained(out, sft_run.metrics, [])
    first = make_checkpoint(trained, job, "policy", {})
    for file in (out / SERVED).iterdir():
        file.unlink()
    (out / SERVED).rmdir()
    second = make_checkpoint(trained, job, "policy", {})
    assert second == first
    assert second.folder == out / SERVED
    # Identified by what training saved: the same as before there was a template.
    assert "chat_template.jinja" in second.manifest["files"]
    assert not (out / "model/chat_template.jinja").exists()
    assert END not in (out / SERVED / "chat_template.jinja").read_text()
