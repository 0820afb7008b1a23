"""Whatever is wrong in a user's model folder is one line, before anything is generated."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_made_models import END, as_folder, edit, make_folder, make_tokenizer
from smoke_runs import run_smoke
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from almost_kedro.errors import UserError
from almost_kedro.models.checks.job import CheckJob, Findings
from almost_kedro.models.checks.program import run_job
from almost_kedro.models.files import check_model_folder
from almost_kedro.models.find import resolve_model
from almost_kedro.models.fingerprints import fingerprint_folder
from almost_kedro.options.models import Models

Change = Callable[[Path], Any]
# These folders have none.
WITHOUT_TEMPLATE = Findings(
    refusals={
        "chat_template": "its tokenizer has no chat template; set dialogue: plain, or give an "
        "instruct model"
    }
)
CODE = {"AutoConfig": "c.C", "AutoModelForCausalLM": "c.M"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What GPT-2 and Llama 3 ship: no pad token."""
    return make_folder(tmp_path_factory.mktemp("base") / "model")


def look_over(folder: Path, weights: bool = True, **model: Any) -> Findings:
    """Check a folder as `resolve_model` does, in this process."""
    check_model_folder("odd", folder)
    assert fingerprint_folder("odd", folder)
    out = folder.with_name("found.json")
    run_job(CheckJob(model=as_folder(folder, **model), weights=weights, out=out))
    return Findings.model_validate_json(out.read_bytes())


def changed(file: str, **changes: Any) -> Change:
    return lambda folder: edit(folder, file, **changes)


def write(file: str, content: bytes) -> Change:
    return lambda folder: (folder / file).write_bytes(content)


def cut(file: str, size: int) -> Change:
    return lambda folder: os.truncate(folder / file, size)


def drop(*files: str) -> Change:
    return lambda folder: [(folder / file).unlink() for file in files]


def keep_only(*files: str) -> Change:
    return lambda folder: [path.unlink() for path in folder.iterdir() if path.name not in files]


def add_text_token(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["hello"])
    tokenizer.save(str(folder / "tokenizer.json"))


def split_weights(folder: Path) -> None:
    """Name two shards in an index, and have the first."""
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    edit(folder, "model.safetensors.index.json", weight_map=shards)


def replace_weights(index: bytes) -> Change:
    """Have an index instead of weights."""
    return lambda folder: (
        (folder / "model.safetensors").unlink(),
        (folder / "model.safetensors.index.json").write_bytes(index),
    )


def rename_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def dangle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "blobs/gone")


def replace_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


FAULTS: dict[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, "no config.json in .*; give a model folder"),
    "a file": (replace_folder, "model is a file; give the folder"),
    "empty": (keep_only(), "no config.json in .*; give a model folder"),
    "adapter": (write("adapter_config.json", b"{}"), "adapter .* merge the two"),
    "config cut off": (cut("config.json", 40), "config.json is not JSON"),
    "config in UTF-16": (write("config.json", '{"a": 1}'.encode("utf-16")), "is not JSON"),
    "a folder in place of a file": (
        lambda folder: (drop("config.json")(folder), (folder / "config.json").mkdir()),
        "can't read .*config.json .Is a directory",
    ),
    "config is a list": (write("config.json", b"[]"), "config.json holds no JSON object"),
    "config of wrong types": (changed("config.json", vocab_size="many"), "expected int, got str"),
    "impossible network": (changed("config.json", num_attention_heads=5), "not a multiple"),
    "unknown architecture": (changed("config.json", model_type="foo"), "'foo', which transformers"),
    "no architecture": (
        changed("config.json", model_type=None),
        "in config.json is None",
    ),
    "code of its own": (
        changed("config.json", model_type="foo", auto_map=CODE),
        "trust_remote_code: true in models.yml if you trust it",
    ),
    "encoder": (changed("config.json", model_type="bert"), "'bert' is an encoder,"),
    "encoder-decoder": (changed("config.json", model_type="t5"), "'t5' is an encoder-decoder"),
    "no language model": (changed("config.json", model_type="vit"), "no causal language model"),
    "pad id of config": (changed("config.json", pad_token_id=257), "names 257 as pad_token_id"),
    "more layers": (changed("config.json", num_hidden_layers=3), "missing and would be drawn at"),
    "fewer layers": (changed("config.json", num_hidden_layers=1), "describes a smaller network"),
    "other shapes": (changed("config.json", intermediate_size=48), r"\(32, 64\), and \(32, 48\)"),
    "other vocabulary": (changed("config.json", vocab_size=300), r"\(257, 32\), and \(300, 32\)"),
    "weights cut off": (cut("model.safetensors", 9000), "is no whole safetensors file"),
    "header cut off": (cut("model.safetensors", 100), "is no whole safetensors file"),
    "empty weights": (cut("model.safetensors", 0), "is no whole safetensors file"),
    "weights are a page": (write("model.safetensors", b"<html>" * 9), "no whole safetensors file"),
    "pointer of git-lfs": (
        write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid 1\n"),
        "only points to the weights; run `git lfs pull`",
    ),
    "link to nowhere": (dangle, "can't read .*model.safetensors .No such file"),
    "missing shard": (
        split_weights,
        "no model-00002-of-00002.safetensors in .*, named by",
    ),
    "index is no JSON": (
        lambda folder: (split_weights(folder), write("model.safetensors.index.json", b"{")(folder)),
        "index.json is not JSON",
    ),
    "index without a map": (
        lambda folder: (
            split_weights(folder),
            write("model.safetensors.index.json", b"{}")(folder),
        ),
        "has no weight_map",
    ),
    "weights by another name": (
        rename_weights,
        "neither model.safetensors nor .* only consolidated",
    ),
    "pickles": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "pickled weights can run code",
    ),
    "no weights": (drop("model.safetensors"), "no .*safetensors in .*; save the model's weights"),
    "no tokenizer": (drop("tokenizer.json"), "no tokenizer.json in .*; save the model's tokenizer"),
    "tokenizer is empty JSON": (write("tokenizer.json", b"{}"), "tokenizer can't be loaded"),
    "tokenizer cut off": (cut("tokenizer.json", 500), "tokenizer.json is not JSON"),
    "tokenizer of another layout": (
        write("tokenizer.json", b'{"added_tokens": {"a": 1}}'),
        "not laid out as they should be",
    ),
    "tokenizer config is a list": (write("tokenizer_config.json", b"[]"), "holds no JSON object"),
    "vocabulary beyond": (add_text_token, r"without one of the 257 embeddings \(hello\)"),
    "eos not in the vocabulary": (
        changed("tokenizer_config.json", eos_token="</s>"),
        "eos token '</s>' has id 257, and there are 257 embeddings",
    ),
    "pad is text": (
        changed("tokenizer_config.json", pad_token="!"),
        "pad token '!' is a token of ordinary text",
    ),
    "read in two ways": (
        changed("tokenizer_config.json", tokenizer_class="LlamaTokenizerFast"),
        "two ways: .* set tokenizer_class: PreTrainedTokenizerFast in tokenizer_config.json",
    ),
    "generation config cut off": (cut("generation_config.json", 5), "config.json is not JSON"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_says_what_helps(fault: str, base: Path, tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    change(folder)
    with pytest.raises(UserError, match=message) as caught:
        look_over(folder)
    line = str(caught.value)
    assert re.fullmatch(r"model 'odd': [^\n]{20,500}; [^\n]{5,200}", line), line


ACCEPTED: dict[str, Change] = {
    "as it is": lambda folder: None,
    "broken chat template": changed("tokenizer_config.json", chat_template="{% if"),
    "no length": changed("config.json", max_position_embeddings=None),
    "no generation config": drop("generation_config.json"),
    "an unknown tokenizer class": changed("tokenizer_config.json", tokenizer_class="Nobody"),
    "a class that reads alike": changed("tokenizer_config.json", tokenizer_class="GPT2Tokenizer"),
}


@pytest.mark.parametrize("change", ACCEPTED)
def test_what_harms_nothing_is_accepted(change: str, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    ACCEPTED[change](folder)
    found = look_over(folder)
    assert found.warnings == []
    assert list(found.refusals) == ["chat_template"]  # it has none, or a broken one


@pytest.mark.real
def test_the_default_model_has_no_fault(smollm2: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    run_job(CheckJob(model=as_folder(smollm2), weights=True, out=out))
    assert Findings.model_validate_json(out.read_bytes()) == Findings()


def test_a_snapshot_of_the_hub_is_links(base: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    for file in base.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    assert look_over(tmp_path / "snapshot") == WITHOUT_TEMPLATE


def test_a_file_that_may_not_be_read_is_named(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    (folder / "config.json").chmod(0)
    if os.access(folder / "config.json", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UserError, match=r"can't read .*config.json .Permission denied"):
        look_over(folder)


def test_a_pad_token_without_an_embedding_is_refused_and_another_can_be_named(
    tmp_path: Path,
) -> None:
    tokenizer = make_tokenizer(extra=(END, "<|spare|>", "[PAD]"), pad_token="[PAD]")
    folder = make_folder(tmp_path / "model", tokenizer, vocab_size=258)
    with pytest.raises(UserError, match=r"pad token '\[PAD\]' has id 258, and there are 258 embed"):
        look_over(folder)
    assert look_over(folder, pad_token="<|spare|>") == WITHOUT_TEMPLATE


def test_special_tokens_that_nothing_names_may_lack_an_embedding(tmp_path: Path) -> None:
    """As the image tokens of models that came from ones that see."""
    tokenizer = make_tokenizer(extra=(END, "<image>"))
    assert look_over(make_folder(tmp_path / "model", tokenizer, vocab_size=257)) == WITHOUT_TEMPLATE


@pytest.mark.parametrize(
    ("pad", "message"),
    [
        ("<|nope|>", r"no token '<\|nope\|>' \(pad_token in models.yml\); name one of <\|endof"),
        (END, "is its eos token; name another"),
        ("!", "is a token of ordinary text"),
    ],
)
def test_a_pad_token_that_does_not_serve_is_refused(pad: str, message: str, base: Path) -> None:
    with pytest.raises(UserError, match=message):
        look_over(base, pad_token=pad)


def test_bos_is_refused_where_there_is_none(base: Path) -> None:
    with pytest.raises(UserError, match="no bos token, and models"):
        look_over(base, bos=True)


@pytest.mark.parametrize(
    ("change", "uses", "message"),
    [
        (
            changed("generation_config.json", do_sample=False, temperature=0.6),
            {"policy"},
            r"generation_config.json can't be saved with a fine-tuned model .*temperature.* set "
            "do_sample: true",
        ),
        (
            changed("tokenizer_config.json", eos_token=None),
            {"policy", "reward"},
            "no eos token, with which training ends each text",
        ),
        (
            changed("config.json", quantization_config={"quant_method": "gptq"}),
            {"embedded", "policy", "reward"},
            r"quantised \(gptq\)",
        ),
    ],
)
def test_what_forbids_a_use_forbids_no_other(
    change: Change, uses: set[str], message: str, base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    change(folder)
    refusals = look_over(folder).refusals
    del refusals["chat_template"]
    assert set(refusals) == uses
    assert all(re.search(message, each) for each in refusals.values())


def test_a_vocabulary_without_letters_forbids_judging(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    del content["model"]["vocab"]["B"]  # no text of the other checks has one
    file.write_text(json.dumps(content))
    found = look_over(folder)
    assert found.refusals["judge"] == (
        "its vocabulary has no letters A and B, by which a judge answers; name another model as "
        "evaluation.judge"
    )
    assert set(found.refusals) == {"judge", "chat_template"}


def test_the_remedy_for_a_tokenizer_read_in_two_ways_helps(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    edit(folder, "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast")
    ids = AutoTokenizer.from_pretrained(folder)("a b\nc")["input_ids"]
    assert AutoTokenizer.from_pretrained(folder).decode(ids) == "abc"
    edit(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert look_over(folder) == WITHOUT_TEMPLATE
    ids = AutoTokenizer.from_pretrained(folder)("a b\nc")["input_ids"]
    assert AutoTokenizer.from_pretrained(folder).decode(ids) == "a b\nc"


NORMALISERS = [
    ({"type": "Lowercase"}, "does not keep every text as it is"),
    ({"type": "NFKC"}, None),
    ({"type": "Replace", "pattern": {"String": "\n"}, "content": " "}, "loses text"),
    ({"type": "Replace", "pattern": {"String": "!"}, "content": ""}, "loses text"),
    ({"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}, "does not keep every text"),
]


@pytest.mark.parametrize(("normaliser", "said"), NORMALISERS)
def test_lost_text_is_refused_and_changed_text_is_told(
    normaliser: dict[str, Any], said: str | None, base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    edit(folder, "tokenizer.json", normalizer=normaliser)
    if said == "loses text":
        with pytest.raises(UserError, match=r"its tokenizer loses text: .* comes back as"):
            look_over(folder)
        return
    warnings = look_over(folder).warnings
    assert all(said and said in each for each in warnings)
    assert bool(warnings) == bool(said)


def test_a_tokenizers_folder_needs_no_weights(base: Path, tmp_path: Path) -> None:
    """As of a model that servers have."""
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    (folder / "model.safetensors").unlink()
    out = tmp_path / "found.json"
    run_job(CheckJob(model=as_folder(folder), weights=False, out=out))
    assert Findings.model_validate_json(out.read_bytes()) == WITHOUT_TEMPLATE
    edit(folder, "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast")
    with pytest.raises(UserError, match="two ways"):
        run_job(CheckJob(model=as_folder(folder), weights=False, out=out))


@pytest.mark.slow
def test_a_program_checks_a_folder_once_until_a_file_changes(base: Path, tmp_path: Path) -> None:
    folder, store = tmp_path / "model", tmp_path / "store"
    shutil.copytree(base, folder)
    models = Models.model_validate({"m": {"source": "folder", "path": str(folder)}}).root
    first = resolve_model("m", models, store)
    start = time.perf_counter()
    assert resolve_model("m", models, store, "policy") == first
    assert time.perf_counter() - start < 0.5
    edit(folder, "generation_config.json", do_sample=False, top_k=5)
    assert resolve_model("m", models, store) == first
    with pytest.raises(UserError, match=r"^model 'm': generation_config.json can't be saved"):
        resolve_model("m", models, store, "policy")
    assert sorted(path.suffix for path in (store / ".checked").iterdir()) == [".json", ".json"]


@pytest.mark.slow
def test_a_folder_of_models_that_can_not_be_written_keeps_nothing(
    base: Path, tmp_path: Path
) -> None:
    models = Models.model_validate({"m": {"source": "folder", "path": str(base)}}).root
    (tmp_path / "store").write_text("no folder, so nothing can be kept in it")
    assert resolve_model("m", models, tmp_path / "store").folder == base


def test_a_run_stops_before_the_first_prompt(
    base: Path, project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    edit(folder, "generation_config.json", do_sample=False, temperature=0.6)
    params = {
        "models": {"odd": {"source": "folder", "path": str(folder)}},
        "sft": {"model": "odd"},
    }
    with pytest.raises(UserError, match=r"model 'odd': generation_config.json can't be saved"):
        run_smoke(project, tmp_path / "data", params, pipeline_names=["__default__"])
    assert not list((tmp_path / "data").glob("03_primary/prompt*"))
    assert json.loads((folder / "generation_config.json").read_text())["temperature"] == 0.6
