"""Read in trees, texts have the model's own numbers; models that can't share read them alone."""

import logging

import pytest
import torch
from drawn_texts import draw_texts
from families import FAMILIES, SHARING, make_tiny

from almost_kedro.generation.reading import Reader, read_states
from almost_kedro.generation.shared_prefix import MAX_SCORES
from almost_kedro.generation.trees import make_batches


# Of a Llama 4 for text, transformers calls the whole model its base: it has no states to be read.
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "llama4"])
@pytest.mark.parametrize(("share", "scores"), [(False, None), (True, None), (True, 500)])
def test_texts_have_the_models_own_numbers(
    family: str,
    share: bool,
    scores: int | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many `scores` are computed at once."""
    if scores:
        monkeypatch.setitem(MAX_SCORES, "cpu", scores)
    model = make_tiny(family)
    states = read_states(model)
    texts = draw_texts(0)
    texts = texts if share else [text[::-1] for text in texts]
    n_last = [1 + i % 2 for i in range(len(texts))]
    expected = []
    if family == "gemma2":
        # transformers' other ways to attend don't cap its scores.
        model.set_attn_implementation("eager")
    with torch.no_grad():
        for text, n in zip(texts, n_last, strict=True):
            index = torch.arange(len(text))[-n:]
            expected.append(states(index, input_ids=torch.tensor([text]), use_cache=False)[0])
    with caplog.at_level(logging.WARNING):
        reader = Reader(model, states)
    assert reader.shares == (family in SHARING)
    assert bool(caplog.records) != reader.shares
    batches = make_batches(texts, n_last, 32, 100, 50)
    assert len(batches) > 1
    assert bool(batches[0].shared) == share
    found = dict(pair for batch in batches for pair in reader.read(batch, texts, n_last))
    assert sorted(found) == [*range(len(texts))]
    for number, own in enumerate(expected):
        assert torch.allclose(found[number], own, atol=1e-4 * float(own.std())), number


def test_another_beginning_is_computed_anew() -> None:
    model = make_tiny("llama", 1)
    states = read_states(model)
    reader = Reader(model, states)
    for seed in (1, 2, 1):
        texts = draw_texts(seed)
        [batch] = make_batches(texts, [1] * len(texts), 32, 10_000, 10_000)
        found = dict(reader.read(batch, texts, [1] * len(texts)))
        alone = make_batches(texts[:1], [1], 32, 10_000, 10_000)
        [(_, own)] = reader.read(alone[0], texts, [1])
        assert torch.allclose(found[0], own, atol=1e-5)
