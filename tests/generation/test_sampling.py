import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from almost_kedro.generation.sampling import random_stream, sample_tokens


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
    """2,000 almost flat tokens: the nucleus is wider than the candidates looked at first."""
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


def test_inversion_runs_in_order_of_token_ids() -> None:
    """P = (.1, .4, .3, .2), top_p 0.8: the nucleus is tokens 1, 2, 3 with .4, .3, .2 of .9."""
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log().expand(6, -1)
    uniforms = torch.tensor([0.0, 0.44, 0.45, 0.77, 0.78, 0.999999999])
    assert sample_tokens(logits, uniforms, 1.0, 0.8).tolist() == [1, 1, 2, 2, 3, 3]


def test_the_largest_uniform_number_never_leaves_the_nucleus() -> None:
    logits = torch.tensor([[5.0, 4.0, -30.0, -40.0]])
    below_one = torch.tensor([np.nextafter(1.0, 0.0)])
    assert sample_tokens(logits, below_one, 1.0, 0.9).item() == 1
    assert sample_tokens(logits, below_one, 1.0, 1.0).item() <= 3


def test_temperature_zero_takes_the_most_probable_token() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    assert sample_tokens(logits, torch.tensor([0.9, 0.9]), 0.0, 0.9).tolist() == [1, 0]


def test_rows_within_and_beyond_the_first_candidates_can_share_a_batch() -> None:
    peaked = torch.zeros(5000)
    peaked[4321] = 30.0
    flat = torch.zeros(5000)
    tokens = sample_tokens(torch.stack([peaked, flat]), torch.tensor([0.5, 0.5]), 1.0, 1.0 - 1e-6)
    assert tokens[0] == 4321
    assert 2400 <= tokens[1] <= 2600


def test_streams_depend_on_seed_and_request_only() -> None:
    stream = random_stream(3, "request", 50)
    assert np.array_equal(stream[:20], random_stream(3, "request", 20))
    assert not np.array_equal(stream, random_stream(4, "request", 50))
    assert not np.array_equal(stream, random_stream(3, "another", 50))
