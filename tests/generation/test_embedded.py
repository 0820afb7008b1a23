"""The generation contract on tiny models, and (marked `real`) on the default model."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from contract import PREFIX, REQUESTS, TEXTS, complete
from families import FAMILIES, SHARING, make_tiny, save
from near_ties import Referee
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig, MambaForCausalLM

from almost_kedro.contract import Request, Sampling
from almost_kedro.errors import UserError
from almost_kedro.generation import number_format
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.number_format import choose_dtype, gains_by_bfloat16
from almost_kedro.generation.reading import prefill
from almost_kedro.generation.scheduling import Row
from almost_kedro.generation.shared_prefix import MAX_SCORES
from almost_kedro.generation.slots import Slots
from almost_kedro.models.tokens import Encoder

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=40)
DRAWN = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=40, seed=5)
# A Llama is `tiny-large`; reward models don't write.
SHARED = [family for family in SHARING if family not in ("llama", "reward")]
UNSHARED = [family for family in FAMILIES if family not in SHARING]
ASSETS = Path(__file__).parents[2] / "assets"
# How far logits may be from float32's, as a share of their spread (docs/generation.md).
BFLOAT16_TOLERANCE = 0.05


def generate_plainly(folder: Path, engine: EmbeddedEngine, request: Request, n: int) -> str:
    """Greedy decoding by transformers' own `generate`, one row, the whole text as one input."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if model.config.model_type == "gemma2":
        # transformers' other ways to attend don't cap its scores.
        model.set_attn_implementation("eager")
    ids = engine.encode([request.prefix + request.text])[0]
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids)),
        do_sample=False,
        max_new_tokens=n,
        eos_token_id=sorted(engine.end_ids),
    )[0, len(ids) :].tolist()
    while output and output[-1] in engine.end_ids:
        output.pop()
    return str(engine.tokenizer.decode(output, skip_special_tokens=True))


@pytest.fixture(scope="module")
def engine(tiny_models: dict[str, Path]) -> EmbeddedEngine:
    return EmbeddedEngine(tiny_models["tiny-large"], dtype="float32", rows=3)


@pytest.mark.parametrize("family", SHARED)
@pytest.mark.parametrize(("bos", "scores"), [(False, None), (True, None), (False, 300)])
def test_greedy_answers_equal_plain_generate(
    family: str,
    bos: bool,
    scores: int | None,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many `scores` are computed at once."""
    if scores:
        monkeypatch.setitem(MAX_SCORES, "cpu", scores)
    save(make_tiny(family), tmp_path, tiny_models)
    engine = EmbeddedEngine(tmp_path, dtype="float32", rows=3, bos=bos)
    assert engine.shares_prefix
    answers = complete(engine, REQUESTS, GREEDY)
    assert [a.text for a in answers] == [
        generate_plainly(tmp_path, engine, r, GREEDY.max_new_tokens) for r in REQUESTS
    ]


@pytest.mark.parametrize("family", UNSHARED)
def test_models_that_can_not_share_say_so_and_answer_as_plain_generate_does(
    family: str,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save(make_tiny(family), tmp_path, tiny_models)
    engine = EmbeddedEngine(tmp_path, dtype="float32", rows=3)
    assert not engine.shares_prefix
    assert "is not shared with this model" in caplog.text
    answers = complete(engine, REQUESTS, GREEDY)
    assert [a.text for a in answers] == [
        generate_plainly(tmp_path, engine, r, GREEDY.max_new_tokens) for r in REQUESTS
    ]


@pytest.mark.slow
@pytest.mark.parametrize("family", UNSHARED)
def test_rows_that_end_leave_the_states_of_the_others_alone(
    family: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    save(make_tiny(family), tmp_path, tiny_models)
    requests = [Request(text, PREFIX, sample) for text in TEXTS for sample in range(2)]
    sampling = Sampling(temperature=1.5, top_p=1.0, max_new_tokens=60, stop=("e", "T"))
    found = [
        complete(EmbeddedEngine(tmp_path, dtype="float32", rows=rows), requests, sampling)
        for rows in (1, len(requests))
    ]
    # Two tokens of nearly one probability may trade places by rounding.
    assert sum(a == b for a, b in zip(*found, strict=True)) >= 0.8 * len(requests)
    assert len({completion.n_tokens for completion in found[0]}) > 3


def test_a_free_place_is_taken_at_once_and_what_rows_share_is_read_once(
    engine: EmbeddedEngine,
) -> None:
    requests = [Request(text, PREFIX, sample) for text in TEXTS for sample in range(3)]
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=60, stop=("e", "T", "a"))
    read, active = [0], list[int]()
    embed = engine.model.get_input_embeddings()
    hook = embed.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    try:
        answers = dict(engine.generate(requests, sampling, active.append))
    finally:
        hook.remove()
    lengths = [answer.n_tokens for answer in answers.values()]
    assert len(set(lengths)) > 3
    # Three rows in every pass until no request is left.
    assert max(active) == active[0] == 3
    assert active == sorted(active, reverse=True)
    texts = engine.encode([PREFIX + text for text in TEXTS])
    prefix = len(engine.encode([PREFIX])[0])
    # Each token once: the prefix; what texts have of their own, but for its last token shared by
    # the samples that begin together; and what is written, but for the last.
    own = sum(len(text) - prefix for text in texts)
    once = prefix + own + sum(lengths) - len(lengths)
    alone = prefix + 3 * own + sum(lengths) - len(lengths)
    assert once < sum(read) < alone


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_without_numbers_is_refused(
    temperature: float, tiny_models: dict[str, Path]
) -> None:
    engine = EmbeddedEngine(tiny_models["tiny-large"], dtype="float32", rows=3)
    with torch.no_grad():
        next(iter(engine.model.parameters())).fill_(torch.nan)
    sampling = Sampling(temperature=temperature, top_p=0.9, max_new_tokens=4)
    with pytest.raises(UserError, match="logits are no finite numbers"):
        complete(engine, REQUESTS, sampling)


def test_a_model_that_keeps_what_it_read_in_its_own_way_is_refused(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    config = MambaConfig(vocab_size=259, hidden_size=32, state_size=8, num_hidden_layers=2)
    save(MambaForCausalLM(config), tmp_path, tiny_models)
    with pytest.raises(UserError, match="MambaForCausalLM keeps what it has read in a way of its"):
        EmbeddedEngine(tmp_path, dtype="float32")


def test_texts_that_would_change_the_positions_of_others_are_refused(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    engine = EmbeddedEngine(save(make_tiny("phi3"), tmp_path, tiny_models), dtype="float32")
    with pytest.raises(UserError, match="the model has a context of 1024"):
        complete(engine, [Request("x" * 1000)], DRAWN)


def test_a_request_without_text_is_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(UserError, match="a request has no text"):
        complete(engine, [*REQUESTS, Request("")], DRAWN)


def test_numbers_are_those_that_the_device_is_faster_with(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_dtype("float32", cuda) == torch.float32
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16
    here = torch.bfloat16 if gains_by_bfloat16() else torch.float32
    assert choose_dtype("auto", cpu) == here
    # A GPU beside it changes nothing for the CPU.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_dtype("auto", cpu) == here
    assert choose_dtype("auto", cuda) == torch.bfloat16
    # Builds of torch without oneDNN, as for some laptops, don't know the question.
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose_dtype("auto", cpu) == torch.float32


class Processor(NamedTuple):
    """What an x86 processor says of itself, how far oneDNN may go, and what is faster there."""

    multiplies: bool  # bfloat16, emulated or not
    bf16: bool
    amx: bool
    vendor: str
    level: str | None
    faster: bool


INTEL, AMD = "GenuineIntel", "AuthenticAMD"
PROCESSORS = {
    "AVX2": Processor(False, False, False, INTEL, None, False),
    "AVX2, AMD": Processor(False, False, False, AMD, None, False),
    "AVX-512, Skylake to Ice Lake": Processor(True, False, False, INTEL, None, False),
    "AVX512-BF16": Processor(True, True, False, INTEL, None, False),
    "AVX512-BF16, nobody knows whose": Processor(True, True, False, "", None, False),
    "AVX512-BF16, AMD": Processor(True, True, False, AMD, None, True),
    "AVX512-BF16, AMD, and no more": Processor(True, True, False, AMD, "avx512_core_bf16", True),
    "AVX512-BF16, AMD, with FP16": Processor(True, True, False, AMD, "AVX10_1_512", True),
    "AVX512-BF16, AMD, held at AVX-512": Processor(True, True, False, AMD, "AVX512_CORE", False),
    "AVX512-BF16, AMD, held at AVX2": Processor(False, True, False, AMD, "AVX2", False),
    "AMX": Processor(True, True, True, INTEL, None, True),
    "AMX, all allowed": Processor(True, True, True, INTEL, "ALL", True),
    "AMX, and no more": Processor(True, True, True, INTEL, "avx512_core_amx", True),
    "AMX, held at AVX512-BF16": Processor(True, True, True, INTEL, "AVX512_CORE_BF16", False),
    "AMX, held at AVX-512": Processor(True, True, True, INTEL, "AVX512_CORE", False),
    "AMX, held at AVX2": Processor(False, True, True, INTEL, "AVX2", False),
}


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize("name", PROCESSORS)
def test_of_x86_amx_and_amd_are_faster_with_bfloat16(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No machine has all of these: what it says of itself is put in their place."""
    processor = PROCESSORS[name]
    for other in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(other, raising=False)
    if processor.level:
        monkeypatch.setenv(variable, processor.level)
    monkeypatch.setattr(number_format, "multiplies_bfloat16", lambda: processor.multiplies)
    monkeypatch.setattr(number_format, "read_vendor", lambda: processor.vendor)
    monkeypatch.setattr(number_format.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: processor.bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: processor.amx)
    monkeypatch.setattr(torch.cpu, "_init_amx", lambda: processor.amx)
    taken = choose_dtype("auto", torch.device("cpu"))
    assert (taken == torch.bfloat16) is processor.faster


def test_the_maker_of_a_processor_is_read_where_the_system_tells(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert number_format.read_vendor(cpuinfo) == ""
    cpuinfo.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 17\n" * 2)
    assert number_format.read_vendor(cpuinfo) == AMD
    cpuinfo.write_text("processor\t: 0\nCPU implementer\t: 0x41\n")
    assert number_format.read_vendor(cpuinfo) == ""


def test_whether_texts_begin_with_bos_is_the_tokenizers_to_say(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_models["tiny-small"], tmp_path / "model")
    plain = Encoder(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bos = ("<bos>", plain.tokenizer.bos_token_id)
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert plain.bos == []
    assert Encoder(folder).encode(["say <bos>"]) == [[bos[1], *plain.encode(["say <bos>"])[0]]]
    assert Encoder(folder, bos=False).encode(["a"]) == plain.encode(["a"])


def test_greedy_answers_of_a_llama_equal_plain_generate(
    engine: EmbeddedEngine, tiny_models: dict[str, Path]
) -> None:
    answers = complete(engine, REQUESTS, GREEDY)
    assert [a.text for a in answers] == [
        generate_plainly(tiny_models["tiny-large"], engine, r, GREEDY.max_new_tokens)
        for r in REQUESTS
    ]


def test_an_engine_that_can_not_share_the_prefix_answers_alike(
    engine: EmbeddedEngine, tiny_models: dict[str, Path]
) -> None:
    class PlainEngine(EmbeddedEngine):
        def _try_sharing(self) -> bool:
            return False

    plain = PlainEngine(tiny_models["tiny-large"], dtype="float32", rows=3)
    assert complete(plain, REQUESTS, DRAWN) == complete(engine, REQUESTS, DRAWN)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_engine_that_takes_other_weights_answers_by_them(
    dtype: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder, other = tiny_models["tiny-large"], tmp_path / "other"
    shutil.copytree(folder, other)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(other)
    engine, expected = (EmbeddedEngine(each, dtype=dtype, rows=3) for each in (folder, other))
    assert engine.shares_prefix
    assert expected.shares_prefix
    before = complete(engine, REQUESTS, DRAWN)
    engine.take_weights(model.state_dict())
    after = complete(engine, REQUESTS, DRAWN)
    assert after != before
    assert after == complete(expected, REQUESTS, DRAWN)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batch_size_changes_nothing_but_near_ties(
    batch_size: int, tiny_models: dict[str, Path]
) -> None:
    check_batch_sizes(tiny_models["tiny-large"], batch_size, n=40)


def check_batch_sizes(folder: Path, batch_size: int, n: int) -> None:
    """Compare a batch size with batches of 8; every first difference must be a near-tie."""
    requests = [Request(text, PREFIX, sample) for sample in range(n // 5) for text in TEXTS]
    rows = []
    for size in (8, batch_size):
        engine = EmbeddedEngine(folder, dtype="float32", rows=size)
        rows.append(complete(engine, requests, DRAWN))
    referee = None
    for request, a, b in zip(requests, *rows, strict=True):
        if a != b:
            referee = referee or Referee(folder)
            prompt = engine.encode([request.prefix + request.text])[0]
            pair = [
                engine.encode([c.text])[0] + sorted(engine.end_ids)[:1] * (c.finish_reason == "eos")
                for c in (a, b)
            ]
            assert referee.is_near_tie(prompt, pair[0], pair[1], request, DRAWN)
    assert sum(a == b for a, b in zip(*rows, strict=True)) >= 0.8 * n


def test_teacher_forcing_tells_a_near_tie_from_another_draw(
    engine: EmbeddedEngine, tiny_models: dict[str, Path]
) -> None:
    referee = Referee(tiny_models["tiny-large"])
    request = REQUESTS[0]
    prompt = engine.encode([request.prefix + request.text])[0]
    drawn = complete(engine, [request], DRAWN)[0]
    ids = engine.encode([drawn.text])[0]
    other = [ids[0], (ids[1] + 97) % 256 + 3, *ids[2:]]
    assert not referee.is_near_tie(prompt, ids, other, request, DRAWN)


def test_a_request_beyond_the_context_is_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(UserError, match="the model has a context of 16384"):
        complete(engine, [Request("x" * 16380)], DRAWN)


def test_order_and_company_change_nothing(engine: EmbeddedEngine) -> None:
    forwards = complete(engine, REQUESTS, DRAWN)
    backwards = complete(engine, REQUESTS[::-1], DRAWN)[::-1]
    assert forwards == backwards
    assert complete(engine, REQUESTS[1:2], DRAWN) == forwards[1:2]


def test_repeated_requests_draw_their_own_tokens(engine: EmbeddedEngine) -> None:
    answers = complete(engine, [Request(TEXTS[0], PREFIX, sample=i) for i in range(3)], DRAWN)
    assert len({a.text for a in answers}) == 3


def test_another_seed_draws_other_tokens(engine: EmbeddedEngine) -> None:
    other = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=40, seed=6)
    assert complete(engine, REQUESTS, DRAWN) != complete(engine, REQUESTS, other)


def test_a_stop_string_ends_a_row_early_and_is_cut_off(engine: EmbeddedEngine) -> None:
    whole = complete(engine, REQUESTS, DRAWN)
    stop = whole[0].text[4:6]
    at = whole[0].text.index(stop)
    stopped = complete(
        engine,
        REQUESTS,
        Sampling(temperature=1.0, top_p=0.9, max_new_tokens=40, stop=(stop,), seed=5),
    )
    assert stopped[0].text == whole[0].text[:at]
    assert stopped[0].finish_reason == "stop"
    assert stopped[0].n_tokens < whole[0].n_tokens
    for a, b in zip(stopped, whole, strict=True):
        assert a.text == b.text.split(stop)[0]


def test_the_token_limit_is_exact_and_said(engine: EmbeddedEngine) -> None:
    for completion in complete(engine, REQUESTS, DRAWN):
        if completion.finish_reason == "length":
            assert completion.n_tokens == 40
        else:
            assert completion.n_tokens <= 40


def test_end_of_text_is_not_part_of_the_answer(engine: EmbeddedEngine) -> None:
    """400 near-uniform tokens of 259: many rows meet the end."""
    long = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=400)
    answers = complete(engine, [Request(t, PREFIX, i) for t in TEXTS for i in range(4)], long)
    ended = [a for a in answers if a.finish_reason == "eos"]
    assert ended
    assert all("<eos>" not in a.text and "<pad>" not in a.text for a in answers)


def test_special_tokens_in_a_text_are_plain_characters(engine: EmbeddedEngine) -> None:
    ids = engine.encode(["say <eos> now"])[0]
    assert not engine.end_ids & set(ids)
    assert engine.tokenizer.decode(ids) == "say <eos> now"


def test_several_prefixes_in_one_call(engine: EmbeddedEngine) -> None:
    others = [Request(text, "Something else.\n\n-----") for text in TEXTS]
    mixed = [request for pair in zip(REQUESTS, others, strict=True) for request in pair]
    answers = complete(engine, mixed, DRAWN)
    assert answers[::2] == complete(engine, REQUESTS, DRAWN)
    assert answers[1::2] == complete(engine, others, DRAWN)


def test_where_the_prefix_ends_changes_nothing(engine: EmbeddedEngine) -> None:
    split_elsewhere = [Request(PREFIX[50:] + text, PREFIX[:50]) for text in TEXTS]
    unsplit = [Request(PREFIX + text) for text in TEXTS]
    answers = complete(engine, REQUESTS, DRAWN)
    assert complete(engine, split_elsewhere, DRAWN) == answers
    assert complete(engine, unsplit, DRAWN) == answers


def test_tokens_are_counted_as_they_come(engine: EmbeddedEngine) -> None:
    counts: list[int] = []
    answers = dict(engine.generate(REQUESTS, DRAWN, counts.append))
    assert sum(counts) == sum(a.n_tokens for a in answers.values())


@pytest.mark.real
def test_greedy_answers_of_the_default_model_equal_plain_generate(smollm2: Path) -> None:
    engine = EmbeddedEngine(smollm2, dtype="float32", rows=8)
    answers = complete(engine, REQUESTS, GREEDY)
    for request, answer in zip(REQUESTS, answers, strict=True):
        plain = generate_plainly(smollm2, engine, request, GREEDY.max_new_tokens)
        if answer.text != plain:
            prompt = engine.encode([request.prefix + request.text])[0]
            ids = [engine.encode([text])[0] for text in (answer.text, plain)]
            assert Referee(smollm2).is_near_tie(prompt, ids[0], ids[1], request, GREEDY)


@pytest.mark.slow
@pytest.mark.real
def test_batch_size_changes_nothing_but_near_ties_on_the_default_model(smollm2: Path) -> None:
    check_batch_sizes(smollm2, batch_size=3, n=20)


@pytest.mark.real
def test_the_default_model_pads_with_another_token_than_it_ends_with(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer.eos_token == "<|im_end|>"
    assert len(list(smollm2.glob("*.safetensors"))) == 1


@pytest.mark.slow
@pytest.mark.real
def test_bfloat16_logits_are_as_near_as_the_number_format_allows(smollm2: Path) -> None:
    """As a share of their spread: ours and plain transformers', both against float32.

    With fewer demonstrations where bfloat16 takes minutes.
    """
    engine = EmbeddedEngine(smollm2, dtype="bfloat16")
    demonstrations = (ASSETS / "Faithful_prompt.txt").read_text(encoding="utf-8")
    prefix = engine.encode([demonstrations])[0][: 1000 if gains_by_bfloat16() else 200]
    suffixes = engine.encode(TEXTS)
    rows = [Row(i, prefix + suffix, np.empty(0)) for i, suffix in enumerate(suffixes)]
    with torch.inference_mode():
        layers = prefill(engine.model, prefix)
        slots = Slots(layers, len(prefix), len(rows), max(map(len, suffixes)))
        ours = engine._forward(rows, [[row] for row in rows], slots).float()
        exact, plain = (
            torch.stack(
                [
                    model(torch.tensor([row.tokens]), logits_to_keep=1).logits[0, -1].float()
                    for row in rows
                ]
            )
            for model in (
                AutoModelForCausalLM.from_pretrained(smollm2, dtype=dtype).eval()
                for dtype in (torch.float32, torch.bfloat16)
            )
        )
    errors = [
        ((found - exact).std(dim=-1) / exact.std(dim=-1)).mean().item() for found in (ours, plain)
    ]
    print(f"{len(prefix)} tokens of prefix: ours {errors[0]:.4f}, plain {errors[1]:.4f}")
    assert errors[0] < BFLOAT16_TOLERANCE
    assert errors[0] < 1.5 * errors[1]
