"""What shards compute and hold in bfloat16, found out in two ranks over gloo (see `test_fsdp`)."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from families import VOCABULARY, save
from training_jobs import FSDP_ON_CPU, Run, as_folder, make_rows, train
from transformers import LlamaConfig, LlamaForCausalLM

from almost_kedro.commands.plan import memory
from almost_kedro.commands.plan.workload import Training
from almost_kedro.models.shape import read_shape
from almost_kedro.models.texts import TextEncoder
from almost_kedro.options.launch import LaunchOptions
from almost_kedro.options.models import FolderModel, ModelShape
from almost_kedro.training.answers import NO_LIMIT, AnswerReader
from almost_kedro.training.rewarders import Rewarder

pytestmark = pytest.mark.slow

PROGRAMS = ["reward", "sft", "dpo", "rl"]
FACTS = FSDP_ON_CPU | {"FSDP_FACTS": "1"}
WATCH = make_rows(11, seed=12)
RL = {
    "steps": 2,
    "batch_size": 2,
    "accumulation": 2,
    "watch_rows": WATCH,
    "watch": {"every": 2, "max_kl": 1e3, "max_length_ratio": 1e3},
}


class Sharded:
    """A run of two ranks that share a model, in bfloat16, and the same of two whole copies."""

    def __init__(self, program: str, root: Path, base: Path, judge: Path):
        def run(config: str) -> Run:
            launch = LaunchOptions(config=config, processes=2, dtype="bfloat16")
            return train(
                program,
                root / config,
                base,
                make_rows(16, seed=4),
                config=config,
                reward_model=judge,
                changes={"launch": launch},
                env=FACTS if config == "fsdp" else None,
                **(RL if program == "rl" else {}),
            )

        self.sharded = run("fsdp")
        # In bfloat16 it would write other answers.
        self.whole = None if program == "rl" else run("cpu")

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.sharded.job.out / "facts.json").read_text())
        return facts


@pytest.fixture(scope="module")
def wide(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose blocks are wide beside what else a text takes, as large models' are."""
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=VOCABULARY,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    return save(LlamaForCausalLM(config), tmp_path_factory.mktemp("wide"), tiny_models)


@pytest.fixture(scope="module")
def runs(
    tiny: Path, sft_run: Run, reward_run: Run, wide: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Sharded]:
    root = tmp_path_factory.mktemp("sharding")
    bases = {"reward": tiny, "sft": tiny, "dpo": sft_run.model, "rl": wide}
    with ThreadPoolExecutor(2) as pool:
        started = {
            program: pool.submit(Sharded, program, root / program, base, reward_run.model)
            for program, base in bases.items()
        }
        return {program: run.result() for program, run in started.items()}


@pytest.mark.parametrize("program", PROGRAMS)
def test_outputs_are_not_rounded_to_bfloat16(program: str, runs: dict[str, Sharded]) -> None:
    """An answer's log-probability would be a multiple of 8 or 16, a reward one of 1/128."""
    run = runs[program].sharded
    assert run.metrics["bfloat16"]
    assert run.metrics["sharded"]
    facts = runs[program].facts
    assert facts["outputs"] == ["torch.float32"] * (2 if program == "rl" else 1)
    for found in facts["sums"]:
        assert found != float(torch.tensor(found).bfloat16())


@pytest.mark.parametrize("program", PROGRAMS)
def test_weights_are_saved_as_they_computed(program: str, runs: dict[str, Sharded]) -> None:
    for weight in runs[program].sharded.load().values():
        assert torch.equal(weight, weight.bfloat16().to(weight.dtype))


@pytest.mark.parametrize("program", ["reward", "sft", "dpo"])
def test_losses_are_those_of_whole_copies_in_bfloat16(
    program: str, runs: dict[str, Sharded]
) -> None:
    run = runs[program]
    assert run.whole
    assert run.sharded.losses == pytest.approx(run.whole.losses, abs=2e-2)


def test_the_reference_is_sharded_in_as_many_groups_as_the_policy(runs: dict[str, Sharded]) -> None:
    """Of two blocks, the embedding, and the last norm with the head."""
    assert runs["rl"].facts["groups"] == [4, 4]


@pytest.mark.parametrize("kind", ["writing", "rollouts"])
def test_a_layer_is_gathered_once_for_all_tokens_of_an_answer(
    kind: str, runs: dict[str, Sharded]
) -> None:
    short, long = runs["rl"].facts[kind]
    assert (short["tokens"], long["tokens"]) == (2, 5)
    assert short["gathers"] == long["gathers"] == 4


def test_after_writing_it_is_sharded_as_before(runs: dict[str, Sharded]) -> None:
    facts = runs["rl"].facts
    assert facts["unchanged"]
    assert facts["still_whole"] == 0


def test_ranks_share_the_prompts_of_the_watch(runs: dict[str, Sharded]) -> None:
    """Six of eleven each, the first one twice; 2 x 2 at once, as rollouts; the job's seed is 3."""
    names = [row["id"] for row in WATCH]
    first, second = runs["rl"].facts["watched"]
    assert [(call["seed"], call["names"]) for call in first] == [(3, names[:4]), (7, names[4:6])]
    assert [(call["seed"], call["names"]) for call in second] == [
        (9, names[6:10]),
        (13, [names[10], names[0]]),
    ]


def test_a_score_is_the_mean_over_the_prompts_each_counted_once(
    runs: dict[str, Sharded], reward_run: Run
) -> None:
    run = runs["rl"].sharded
    ranks = runs["rl"].facts["watched"]
    answers = [ids for rank in ranks for call in rank for ids in call["answers"]][: len(WATCH)]
    encoder = TextEncoder(as_folder(reward_run.model), " ", NO_LIMIT)
    reader = AnswerReader(encoder, run.job, [encoder.eos])
    texts = [reader.read(ids)[0] for ids in answers]
    rewarder = Rewarder(as_folder(reward_run.model), run.job, torch.device("cpu"))
    rewards = rewarder.reward([row["dialogue"] for row in WATCH], texts)
    score, last = run.read("watch.jsonl")
    assert score["held_out_reward"] == pytest.approx(sum(rewards) / 11, abs=1e-3)
    assert score["length"] == sum(map(len, answers)) / 11
    assert (score["step"], last["step"]) == (0, 2)


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_rank_reads_what_is_sharded_and_each_what_is_not(
    program: str, runs: dict[str, Sharded]
) -> None:
    whole = [True] if program == "rl" else []
    assert runs[program].facts["read"] == [[True, *whole], [False, *whole]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_allocator_is_left_to_the_system(program: str, runs: dict[str, Sharded]) -> None:
    assert runs[program].facts["tunables"] == os.environ.get("GLIBC_TUNABLES", "")


def shape_of(folder: Path) -> ModelShape:
    found = read_shape(folder, FolderModel(source="folder", path=str(folder)))
    assert found
    return found


def test_the_plan_predicts_what_lies_on_each_rank(
    runs: dict[str, Sharded], wide: Path, reward_run: Run
) -> None:
    """Part by part, of `training_bytes`: docs/scale.md has the same parts of a large model."""
    run, shape, judge = runs["rl"].sharded, shape_of(wide), shape_of(reward_run.model)
    training = Training(steps=2, batch=2, longest=0, ranks=2, accumulation=2, reference=True)
    for found in json.loads((run.job.out / "bytes.json").read_text()):
        predicted = {
            "weights, moments and reference": memory.held_bytes(shape, training, 2, 2),
            "gradients": memory.grad_bytes(shape, training, 2),
            "whole gradients": memory.trained_parameters(shape, training) * memory.BFLOAT16,
            "activations": found["tokens"] * memory.activation_bytes(shape),
            "reward model": judge.parameters * memory.BFLOAT16,
            "written with": shape.parameters * memory.BFLOAT16,
            "cache": memory.cache_bytes(shape, found["cache tokens"], memory.BFLOAT16),
        }
        held = found["weights"] + found["moments"] + found["reference"]
        measured = found | {"weights, moments and reference": held}
        for part, n_bytes in predicted.items():
            assert measured[part] == pytest.approx(n_bytes, rel=0.15), part
