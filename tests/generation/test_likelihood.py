"""Log-probabilities: the model's own, in any company, and never computed twice."""

import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from families import SIZES, VOCABULARY, make_tiny, save, scale
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from almost_kedro.contract import Likelihood, LogProb, ModelFolder
from almost_kedro.errors import UserError
from almost_kedro.generation.likelihood import keep_float32_logits, main, read_batches, run_job
from almost_kedro.generation.likelihood_job import AnswerTexts, LikelihoodJob
from almost_kedro.jobs.likelihood import compute_logprobs
from almost_kedro.models.checkpoints import hash_file
from almost_kedro.models.texts import TextEncoder
from almost_kedro.models.tokens import Encoder
from almost_kedro.rows.json_lines import read_rows, write_rows

# Of float32, a token.
TOLERANCE = 1e-4
ROWS = [
    Likelihood(id=f"{i}{answer}", context=context, continuation=answer)
    for i, context in enumerate(
        [
            "Is water wet?\n\nAnswer:",
            "Which is taller, a house or a tower? Both stand on a hill.\n\nAnswer:",
            "7 + 5?",
            "A: yes\nB: no\n\n" * 6 + "Answer:",
        ]
    )
    for answer in ("A", "B", " Yes, it is.", " No")
]
FAMILIES = ("llama", "gemma3", "gpt_neox", "bloom", "llama4", "falcon_h1")


def make_job(out: Path, model: Path, rows: list[Likelihood], **changes: Any) -> LikelihoodJob:
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "rows.jsonl", rows)
    bos = changes.pop("bos", None)
    folder = ModelFolder(name=model.name, folder=model, fingerprint=str(model), bos=bos)
    return LikelihoodJob(**{"model": folder, "dtype": "float32", "out": out, **changes})


def run(*args: Any, **changes: Any) -> dict[str, LogProb]:
    """Write a job, carry it out here, and return its answers by id."""
    job = make_job(*args, **changes)
    run_job(job)
    return read_answers(job.out)


def read_answers(out: Path) -> dict[str, LogProb]:
    return {row["id"]: cast(LogProb, row) for row in read_rows(out / "logprobs.jsonl")}


def read_metrics(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def ask_plainly(folder: Path, row: Likelihood, bos: bool = False) -> float:
    """One row, all its logits, each token's probability in turn."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = row.get("prefix", "") + row["context"]
    [context, answer] = Encoder(folder, bos=False).encode([text, row["continuation"]])
    context = [1] * bos + context
    with torch.no_grad():
        logits = model(torch.tensor([context + answer])).logits[0]
    chances = torch.softmax(logits, dim=-1)
    return sum(math.log(chances[len(context) - 1 + i, token]) for i, token in enumerate(answer))


@pytest.fixture(scope="module")
def tiny(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save(make_tiny("llama"), folder, tiny_models)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bos", [False, True])
def test_log_probabilities_are_the_models_own(
    family: str, bos: bool, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = save(make_tiny(family), tmp_path / "model", tiny_models)
    found = run(tmp_path / "job", folder, ROWS, bos=bos)
    assert list(found) == [row["id"] for row in ROWS]
    for row in ROWS:
        answer = found[row["id"]]
        assert (answer["n_tokens"], answer["cut"]) == (len(row["continuation"]), 0)
        expected = ask_plainly(folder, row, bos)
        assert answer["logprob"] == pytest.approx(expected, abs=answer["n_tokens"] * TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_with_a_prefix_in_common_have_the_models_own_log_probabilities(
    family: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = save(make_tiny(family), tmp_path / "model", tiny_models)
    prefixes = {"a": "Be brief.\n\n-----\n\n", "b": "Here are some questions. " * 2, "c": ""}
    rows = [
        Likelihood(**{**row, "id": name + row["id"], "prefix": prefix})
        for row in ROWS[:12]
        for name, prefix in prefixes.items()
    ]
    found = run(tmp_path / "job", folder, rows, bos=True)
    for row in rows:
        answer = found[row["id"]]
        expected = ask_plainly(folder, row, bos=True)
        assert answer["logprob"] == pytest.approx(expected, abs=answer["n_tokens"] * TOLERANCE)
    assert read_metrics(tmp_path / "job")["padding_difference"] < TOLERANCE


# transformers takes a Llama 4 for text for its own base, which has no states.
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "llama4"])
def test_logits_of_bfloat16_states_are_float32(family: str) -> None:
    model = make_tiny(family).to(torch.bfloat16)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        states = model.base_model(ids).last_hidden_state
        embedded = model.get_input_embeddings()(ids)
        weight = model.get_output_embeddings().weight.float()
        keep_float32_logits(model)
        logits = model(ids).logits
        assert torch.equal(model.get_input_embeddings()(ids), embedded)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, states.float() @ weight.T, atol=1e-5)
    rounded = logits.bfloat16().float()
    assert (rounded - logits).abs().max() > 1e-3


def test_what_rows_have_in_common_is_computed_once(tiny: Path, tmp_path: Path) -> None:
    rows = [Likelihood(**{**row, "prefix": "p" * 100}) for row in ROWS]
    for name, asked in (("without", ROWS), ("with", rows)):
        run(tmp_path / name, tiny, asked, bos=True)
    without, found = (read_metrics(tmp_path / name) for name in ("without", "with"))
    # bos is computed with the prefix, too: once instead of once a tree.
    assert found["tokens"] == without["tokens"] - 4
    assert found["tokens_shared"] == without["tokens_shared"] + 4 + 16 * 100


def test_a_row_that_is_cut_shares_no_prefix(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, "max_position_embeddings": 40}))
    folder = save(scale(model, 4), tmp_path / "model", tiny_models)
    row = Likelihood(id="short", prefix="pq" * 10, context="x" * 8, continuation=" No")
    cut = Likelihood(id="long", prefix="pq" * 10, context="x" * 28, continuation=" No")
    found = run(tmp_path / "job", folder, [row, cut])
    assert (found["short"]["cut"], found["long"]["cut"]) == (0, 10)
    left = Likelihood(id="left", context="pq" * 5 + "x" * 28, continuation=" No")
    for asked, same in ((row, row), (cut, left)):
        expected = ask_plainly(folder, same)
        assert found[asked["id"]]["logprob"] == pytest.approx(expected, abs=3 * TOLERANCE)


def test_all_tokens_are_alike_to_a_model_whose_weights_are_zero(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = save(make_tiny("llama", 0), tmp_path / "model", tiny_models)
    found = run(tmp_path / "job", folder, ROWS)
    assert found["0A"]["logprob"] == pytest.approx(-math.log(VOCABULARY), abs=1e-6)
    assert found["0 Yes, it is."]["logprob"] == pytest.approx(-12 * math.log(VOCABULARY), abs=1e-5)


def test_probabilities_by_hand(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """Every hidden state is all ones; the logit of "A" is log 3, all others are 0."""
    model = make_tiny("llama", 0)
    [a] = Encoder(tiny_models["tiny-small"]).encode(["A"])[0]
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1)
        model.model.norm.weight.fill_(1)
        model.lm_head.weight[a, 0] = math.log(3)
    folder = save(model, tmp_path / "model", tiny_models)
    asked = [Likelihood(id=text, context="x", continuation=text) for text in ("A", "B", "AB")]
    found = run(tmp_path / "job", folder, asked)
    # 3 / (3 + 258) and 1 / (3 + 258)
    assert found["A"]["logprob"] == pytest.approx(math.log(3 / 261), abs=1e-5)
    assert found["B"]["logprob"] == pytest.approx(math.log(1 / 261), abs=1e-5)
    assert found["AB"]["logprob"] == pytest.approx(math.log(3 / 261 / 261), abs=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
def test_a_row_has_the_same_probability_in_any_batch(
    batch_tokens: int, tiny: Path, tmp_path: Path
) -> None:
    found = run(tmp_path / "all", tiny, ROWS, batch_tokens=batch_tokens)
    for row in ROWS[::3]:
        alone = run(tmp_path / "alone", tiny, [row])[row["id"]]
        assert found[row["id"]]["logprob"] == pytest.approx(
            alone["logprob"], abs=alone["n_tokens"] * TOLERANCE
        )
    assert read_metrics(tmp_path / "all")["padding_difference"] < TOLERANCE


def test_all_answers_to_one_question_share_its_reading(tiny: Path, tmp_path: Path) -> None:
    run(tmp_path, tiny, ROWS)
    metrics = read_metrics(tmp_path)
    assert (metrics["rows"], metrics["rows_computed"]) == (16, 16)
    contexts = [len(row["context"]) for row in ROWS[::4]]
    # "A" and "B" add no input, " Yes, it is." 11 and " No" 2, of which they share the space
    assert metrics["tokens"] == sum(contexts) + 4 * 12
    assert metrics["tokens_shared"] == 3 * sum(contexts) + 4
    assert metrics["dtype"] == "float32"


def test_a_long_context_loses_its_beginning_and_keeps_bos_and_cue(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, "max_position_embeddings": 24}))
    folder = save(scale(model, 4), tmp_path / "model", tiny_models)
    cue = "\n\nAnswer:"
    long = Likelihood(id="long", context="x" * 40 + cue, continuation=" No")
    other = Likelihood(id="other", context="y" * 60 + "x" * 12 + cue, continuation=" No")
    found = run(tmp_path / "job", folder, [long, other], bos=True)
    # bos, 12 x, the cue, and " N": 1 + 12 + 9 + 2 = 24
    short = Likelihood(id="short", context="x" * 12 + cue, continuation=" No")
    expected = ask_plainly(folder, short, bos=True)
    assert found["long"]["logprob"] == pytest.approx(expected, abs=3 * TOLERANCE)
    assert found["other"]["logprob"] == found["long"]["logprob"]
    assert (found["long"]["cut"], found["other"]["cut"]) == (28, 60)
    metrics = read_metrics(tmp_path / "job")
    # The two have become the same text.
    assert (metrics["rows_cut"], metrics["tokens"]) == (2, 24)


def test_a_row_without_an_answer_is_one_clear_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Likelihood(id="hhh-7", context="a", continuation="")
    job = make_job(tmp_path, tiny, [*ROWS, bad])
    (tmp_path / "job.json").write_text(job.model_dump_json())
    assert main(str(tmp_path / "job.json")) == 2
    assert capsys.readouterr().err.startswith("error: row 'hhh-7': its continuation is empty; ")
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("weights", ["none", "pickle"])
def test_a_model_without_safetensors_here_is_one_clear_line(
    weights: str, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    if weights == "pickle":
        torch.save({}, tmp_path / "model/pytorch_model.bin")
    with pytest.raises(UserError, match=r"^model 'model': no safetensors weights on this machine"):
        run(tmp_path / "job", tmp_path / "model", ROWS)


def test_broken_weights_are_one_clear_line(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = save(make_tiny("llama", math.nan), tmp_path / "model", tiny_models)
    with pytest.raises(UserError, match=r"^row '3A': its log-probability is nan; "):
        run(tmp_path / "job", folder, ROWS)


def make_many(n: int) -> list[Likelihood]:
    """Rows of many lengths, two a pass."""
    contexts = [f"{i} " + "q" * (i % 90) for i in range(n // 2)]
    return [
        Likelihood(id=f"{context}{answer}", context=context, continuation=answer)
        for context in contexts
        for answer in ("A", "B")
    ]


def start(job: LikelihoodJob) -> subprocess.Popen[bytes]:
    job_file = job.out / "job.json"
    job_file.write_text(job.model_dump_json())
    command = [sys.executable, "-m", "almost_kedro.generation.likelihood", str(job_file)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def count_lines(out: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in out.glob("*.part.jsonl"))


@pytest.mark.slow
def test_a_job_that_was_killed_goes_on_and_its_figures_are_the_same_to_the_last_digit(
    tiny: Path, tmp_path: Path
) -> None:
    rows = make_many(3000)
    jobs = [
        make_job(tmp_path / name, tiny, rows, batch_tokens=200, dtype="bfloat16")
        for name in ("whole", "killed")
    ]
    whole, killed = jobs
    assert start(whole).wait() == 0

    process = start(killed)
    while count_lines(killed.out) < 10:
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not (killed.out / "metrics.json").exists()

    # As if the kill had come in the middle of a line.
    [part] = killed.out.glob("*.part.jsonl")
    part.write_bytes(part.read_bytes().rstrip(b"\n")[:-9])
    kept = sum(len(json.loads(line)) for line in part.read_bytes().split(b"\n")[:-1])
    assert 0 < kept < 3000
    assert start(killed).wait() == 0

    assert read_metrics(killed.out)["rows_computed"] == 3000 - kept
    assert read_answers(killed.out) == read_answers(whole.out)
    assert len(read_answers(killed.out)) == 3000
    assert not part.exists()


def test_what_another_model_left_half_done_is_not_taken(
    tiny: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    other = make_job(tmp_path, tiny_models["tiny-small"], ROWS)
    part = tmp_path / f"{other.identity(hash_file(tmp_path / 'rows.jsonl'))[:12]}.part.jsonl"
    wrong = [LogProb(id=row["id"], logprob=0.0, n_tokens=1, cut=0) for row in ROWS]
    part.write_text(json.dumps(wrong) + "\n")
    found = run(tmp_path, tiny, ROWS)
    assert read_metrics(tmp_path)["rows_computed"] == len(ROWS)
    assert all(answer["logprob"] < 0 for answer in found.values())

    # The same file is taken where the model is the one that left it.
    run_job(other)
    assert read_metrics(tmp_path)["rows_computed"] == 0
    assert list(read_answers(tmp_path).values()) == wrong


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    part = tmp_path / "part"
    assert read_batches(part) == []
    line = json.dumps([LogProb(id="a", logprob=-1.5, n_tokens=1, cut=0)])
    for torn in ("", '[{"id": "b"', line[:-1], line, "\0\0\n"):
        part.write_text(f"{line}\n{torn}")
        assert read_batches(part) == [json.loads(line)]
        assert part.read_text() == f"{line}\n"


@pytest.mark.slow
def test_the_same_work_is_done_once_and_other_work_anew(tiny: Path, tmp_path: Path) -> None:
    model = ModelFolder(name="tiny", folder=tiny, fingerprint="f1")
    job = LikelihoodJob(model=model, dtype="float32", out=tmp_path)
    answers, cost = compute_logprobs(job, ROWS)
    assert list(answers) == [row["id"] for row in ROWS]
    assert answers["2A"]["logprob"] == pytest.approx(ask_plainly(tiny, ROWS[8]), abs=TOLERANCE)
    assert (cost["rows"], cost["rows_computed"]) == (16, 16)

    # Without weights nothing can be computed, and nothing needs to be.
    gone = ModelFolder(name="tiny", folder=tmp_path, fingerprint="f1")
    assert compute_logprobs(job.model_copy(update={"model": gone}), ROWS) == (answers, cost)
    other = gone.model_copy(update={"fingerprint": "f2"})
    with pytest.raises(UserError, match="no safetensors weights"):
        compute_logprobs(job.model_copy(update={"model": other}), ROWS)


def test_work_is_other_work_if_its_figures_may_differ(tmp_path: Path) -> None:
    model = ModelFolder(name="tiny", folder=tmp_path, fingerprint="f1")
    job = LikelihoodJob(model=model, out=tmp_path)
    changes: list[dict[str, Any]] = [
        {"model": model.model_copy(update={"fingerprint": "f2"})},
        {"model": model.model_copy(update={"bos": True})},
        {"dtype": "float32"},
        {"batch_tokens": 8192},
    ]
    others = [job.model_copy(update=change).identity("rows") for change in changes]
    assert len({job.identity("rows"), job.identity("other rows"), *others}) == 6
    moved = {"out": tmp_path / "moved", "model": model.model_copy(update={"name": "renamed"})}
    assert job.model_copy(update=moved).identity("rows") == job.identity("rows")


def test_no_rows_cost_nothing(tmp_path: Path) -> None:
    model = ModelFolder(name="none", folder=None, fingerprint="f")
    assert compute_logprobs(LikelihoodJob(model=model, out=tmp_path), []) == ({}, {"rows": 0})
    assert not list(tmp_path.iterdir())


def test_who_asks_imports_nothing_heavy() -> None:
    check = (
        "import sys, almost_kedro.jobs.likelihood;"
        "assert not {'torch', 'transformers', 'kedro'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("max_length", [256, 30, 12])
def test_answers_are_as_probable_as_training_reads_them(
    tiny: Path, tmp_path: Path, max_length: int
) -> None:
    """All labels of the row as SFT trains on it, the eos too; a loss predicts no first token."""
    rows = [
        Likelihood(id=str(i), context=f"\n\nHuman: {'a' * i}?\n\nAssistant:", continuation=answer)
        for i, answer in enumerate(("Yes.", "It is not.", " ", "<eos>", "No way, " * 3))
    ]
    texts = AnswerTexts(separator=" ", max_length=max_length)
    job = make_job(tmp_path, tiny, rows, answers=texts)
    run_job(job)
    encoder = TextEncoder(job.model, " ", max_length)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    for row in rows:
        read = encoder.encode(row["context"], row["continuation"])
        with torch.no_grad():
            loss = model(torch.tensor([read.ids]), labels=torch.tensor([read.labels])).loss
        found = read_answers(tmp_path)[row["id"]]
        n_tokens = len(read.answer) - (not read.dialogue)
        assert found["n_tokens"] == n_tokens
        assert found["cut"] == read.cut
        assert found["logprob"] == pytest.approx(-loss.item() * n_tokens, abs=TOLERANCE * n_tokens)


def test_how_answers_are_read_is_part_of_what_is_kept(tiny: Path, tmp_path: Path) -> None:
    plain = make_job(tmp_path, tiny, ROWS)
    texts = AnswerTexts(separator=" ", max_length=64)
    jobs = [
        plain,
        plain.model_copy(update={"answers": texts}),
        plain.model_copy(update={"answers": texts.model_copy(update={"max_length": 65})}),
    ]
    assert len({job.identity("0") for job in jobs}) == len(jobs)
