import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from almost_kedro.errors import UserError
from almost_kedro.generation.sampling import DRAWS, invert, random_stream, sample_tokens


def draw(logits: torch.Tensor, n: int, temperature: float, top_p: float) -> np.ndarray:
    """Draw n times from one row; returns counts by token."""
    uniforms = torch.from_numpy(random_stream(0, "test", n))
    tokens = [
        sample_tokens(logits.expand(len(part), -1), part, temperature, top_p)
        for part in uniforms.split(5000)
    ]
    return np.bincount(torch.cat(tokens).numpy(), minlength=logits.shape[-1])


def nucleus_by_hand(logits: torch.Tensor, temperature: float, top_p: float) -> np.ndarray:
    """The distribution, computed the slow way."""
    weights = np.exp(logits.double().numpy() / temperature)
    probabilities = weights / weights.sum()
    kept, mass = np.zeros_like(probabilities), 0.0
    for token in np.argsort(-probabilities, kind="stable"):
        if mass >= top_p:
            break
        kept[token] = probabilities[token]
        mass += probabilities[token]
    return kept / kept.sum()


@pytest.mark.parametrize(
    ("temperature", "top_p", "size"),
    [(1.0, 0.9, 300), (1.2, 0.9, 300), (0.7, 0.5, 50), (1.0, 1.0, 300), (1.0, 0.9, 2000)],
)
def test_draws_follow_the_nucleus_distribution(temperature: float, top_p: float, size: int) -> None:
    """300 or 2,000 tokens, the latter almost flat; at top_p 0.5 some rows are drawn many times."""
    spread = 0.1 if size == 2000 else 2.0
    logits = spread * torch.randn(size, generator=torch.Generator().manual_seed(1))
    expected = nucleus_by_hand(logits, temperature, top_p)
    n = 20_000 if size == 2000 else 200_000
    counts = draw(logits, n, temperature, top_p)
    assert counts[expected == 0].sum() == 0
    inside = expected > 0
    assert chisquare(counts[inside], n * expected[inside]).pvalue > 1e-3


def test_the_chi_square_test_notices_a_wrong_temperature() -> None:
    logits = 2 * torch.randn(300, generator=torch.Generator().manual_seed(1))
    expected = nucleus_by_hand(logits, 1.0, 1.0)
    counts = draw(logits, 200_000, 1.05, 1.0)
    assert chisquare(counts, 200_000 * expected).pvalue < 1e-6


def numbers(*lines: list[float]) -> torch.Tensor:
    """Random numbers of a few rows, the rest of each line 0."""
    uniforms = torch.zeros(len(lines), DRAWS, dtype=torch.float64)
    for row, line in zip(uniforms, lines, strict=True):
        row[: len(line)] = torch.tensor(line, dtype=torch.float64)
    return uniforms


def test_a_token_outside_the_nucleus_is_drawn_anew() -> None:
    """P = (.1, .4, .3, .2), top_p 0.8: the nucleus is tokens 1, 2, 3, token 0 is drawn anew."""
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log()
    rows = [([0.11], 1), ([0.49], 1), ([0.51], 2), ([0.81], 3), ([0.05, 0.09, 0.6], 2)]
    uniforms = numbers(*(line for line, _ in rows))
    drawn = sample_tokens(logits.expand(len(rows), -1), uniforms, 1.0, 0.8)
    assert drawn.tolist() == [token for _, token in rows]


def test_after_the_last_draw_the_nucleus_is_sorted() -> None:
    """All draws fall on token 0, whose share is .1; the last number is within (.4, .3, .2) / .9."""
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log().expand(3, -1)
    uniforms = torch.full((3, DRAWS), 0.05)
    uniforms[:, -1] = torch.tensor([0.44, 0.45, 0.78])
    assert sample_tokens(logits, uniforms, 1.0, 0.8).tolist() == [1, 2, 3]


def test_equal_probabilities_are_in_the_nucleus_together() -> None:
    logits = torch.tensor([[0.4, 0.2, 0.2, 0.2]]).log().expand(400, -1)
    uniforms = torch.from_numpy(random_stream(0, "ties", 400))
    assert set(sample_tokens(logits, uniforms, 1.0, 0.5).tolist()) == {0, 1, 2, 3}


def test_the_largest_uniform_number_never_leaves_the_vocabulary_or_the_nucleus() -> None:
    logits = torch.tensor([[5.0, 4.0, -30.0, -40.0]])
    below_one = torch.full((1, DRAWS), np.nextafter(1.0, 0.0), dtype=torch.float64)
    assert sample_tokens(logits, below_one, 1.0, 0.9).item() == 1
    assert sample_tokens(logits, below_one, 1.0, 1.0).item() <= 3


@pytest.mark.parametrize("width", [1, 255, 256, 257, 1000])
def test_blocks_invert_as_the_whole_row_does(width: int) -> None:
    weights = torch.rand(50, width, generator=torch.Generator().manual_seed(width))
    uniforms = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cumulated = weights.double().cumsum(-1)
    expected = (cumulated <= (uniforms * cumulated[:, -1])[:, None]).sum(-1)
    assert invert(weights, uniforms).tolist() == expected.tolist()


def test_temperature_zero_takes_the_most_probable_token() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    assert sample_tokens(logits, numbers([0.9], [0.9]), 0.0, 0.9).tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(temperature: float, wrong: float) -> None:
    logits = torch.zeros(3, 1000)
    logits[0, 5] = -torch.inf
    uniforms = torch.from_numpy(random_stream(0, "test", 3))
    sample_tokens(logits, uniforms, temperature, 0.9)
    logits[1, 700] = wrong
    with pytest.raises(UserError, match=r"^row 1: the model.s logits are no finite numbers"):
        sample_tokens(logits, uniforms, temperature, 0.9)


def test_peaked_and_flat_rows_can_share_a_batch() -> None:
    peaked = torch.zeros(5000)
    peaked[4321] = 30.0
    flat = torch.zeros(5000)
    uniforms = numbers([0.5], [0.5])
    tokens = sample_tokens(torch.stack([peaked, flat]), uniforms, 1.0, 1.0 - 1e-6)
    assert tokens[0] == 4321
    assert 2400 <= tokens[1] <= 2600


def test_streams_depend_on_seed_and_request_only() -> None:
    stream = random_stream(3, "request", 50)
    assert np.array_equal(stream[:20], random_stream(3, "request", 20))
    assert not np.array_equal(stream, random_stream(4, "request", 50))
    assert not np.array_equal(stream, random_stream(3, "another", 50))
