"""Rollouts by the embedded engine: those of the policy as it is now, and of the random state."""

from pathlib import Path

import pytest
import torch
from training_jobs import as_folder, cut_after, make_rows, write_job
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from almost_kedro.models.texts import TextEncoder
from almost_kedro.training import rollouts
from almost_kedro.training.rollouts import use_engine

N_TOKENS = 24
GREEDY, DRAWN = 1e-6, 1.0


def load(folder: Path, seed: int = 0) -> PreTrainedModel:
    """A tiny model with other weights for each seed, its logits far apart."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3 + torch.rand_like(parameter))
    return model


def write(
    model: PreTrainedModel, folder: Path, ends: list[int], temperature: float = GREEDY
) -> list[list[int]]:
    """Answers to 4 dialogues, each twice, up to and including the token that ended them."""
    encoder = TextEncoder(as_folder(folder), " ", 512)
    rows = [encoder.encode_dialogue(row["dialogue"]) for row in make_rows(4, seed=4)]
    rows = [row for row in rows for _ in range(2)]
    width = max(map(len, rows))
    sampling = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=0.95,
        top_k=0,
        max_new_tokens=N_TOKENS,
        pad_token_id=encoder.pad,
        eos_token_id=ends,
    )
    output = model.generate(
        torch.tensor([[encoder.pad] * (width - len(row)) + row for row in rows]),
        attention_mask=torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),
        generation_config=sampling,
    )
    return [cut_after(answer, ends) for answer in output[:, width:].tolist()]


@pytest.fixture(scope="module")
def ends(tiny: Path) -> list[int]:
    """A token that ends some answers early, as no weights drawn at random write eos."""
    answers = write(load(tiny), tiny, [2])
    return [2, answers[0][5]]


@pytest.fixture
def policy(
    tiny: Path, tmp_path: Path, ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> PreTrainedModel:
    """The policy with the engine; 3 of its 8 answers are written together."""
    monkeypatch.setattr(rollouts, "WATCHED_AT_ONCE", 1)
    model = load(tiny)
    run = write_job("rl", tmp_path, tiny, make_rows(1, seed=0), reward_model=tiny, batch_size=3)
    use_engine(model, run.job, ends)
    return model


def test_the_most_probable_answers_are_those_of_plain_generate(
    policy: PreTrainedModel, tiny: Path, ends: list[int]
) -> None:
    answers = write(policy, tiny, ends)
    assert answers == write(load(tiny), tiny, ends)
    lengths = set(map(len, answers))
    assert N_TOKENS in lengths
    assert min(lengths) < N_TOKENS
    assert all(len(each) == N_TOKENS or each[-1] in ends for each in answers)


def test_answers_follow_the_weights(policy: PreTrainedModel, tiny: Path, ends: list[int]) -> None:
    before = write(policy, tiny, ends)
    other = load(tiny, seed=1)
    policy.load_state_dict(other.state_dict())
    after = write(policy, tiny, ends)
    assert after != before
    assert after == write(other, tiny, ends)


def test_the_random_state_decides_what_is_drawn(
    policy: PreTrainedModel, tiny: Path, ends: list[int]
) -> None:
    torch.manual_seed(7)
    first = write(policy, tiny, ends, DRAWN)
    second = write(policy, tiny, ends, DRAWN)
    torch.manual_seed(7)
    assert [write(policy, tiny, ends, DRAWN) for _ in range(2)] == [first, second]
    assert first != second
    # Each answer of a dialogue draws for itself.
    assert all(one != other for one, other in zip(first[::2], first[1::2], strict=True))
