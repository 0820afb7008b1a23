"""The same work twice: unsharded, and sharded, killed and resumed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from crashes import kill_at_checkpoint
from training_jobs import (
    Run,
    add_mismatched,
    as_folder,
    compare,
    make_rows,
    score_in_a_fresh_process,
    write_job,
)
from transformers import AutoModelForCausalLM

from almost_kedro.training.job import RewardMembers
from almost_kedro.training.launch import launch
from almost_kedro.training.reporter import find_resumable

# What is trained twice: with all that its program may have, which takes the least time.
PROGRAMS = ["reward", "sft", "dpo", "rl"]
SCALES = [(0.5, 2.0), (-1.0, 0.25)]
IDS = torch.arange(3, 200)[None]
OPTIONS = {
    "reward": {},
    "sft": {},
    "dpo": {},
    # Nothing stops it, so that all steps are compared.
    "rl": {"learning_rate": 1e-3, "watch": {"every": 3, "max_kl": 1e3, "max_length_ratio": 1e3}},
}


class Pair:
    """Two runs of one program."""

    def __init__(
        self,
        program: str,
        root: Path,
        base: Path,
        reward_model: Path,
        ranks: int,
        env: dict[str, str] | None = None,
        lora: dict[str, Any] | None = None,
    ):
        rows = make_rows(32, seed=4)
        if program == "reward":
            rows = add_mismatched(rows)
        options: dict[str, Any] = {"reward_model": reward_model, "save_every": 2}
        if program == "rl":
            twice = RewardMembers(models=[as_folder(reward_model)], scales=SCALES, penalty=0.5)
            options["changes"] = {"members": twice}
        options |= {**OPTIONS[program], "lora": lora}

        def write(folder: str, config: str) -> Run:
            return write_job(
                program, root / folder, base, rows, ranks=ranks, config=config, **options
            )

        self.program, self.ranks, self.base = program, ranks, base
        self.whole, self.sharded = write("whole", "cpu"), write("sharded", "fsdp")
        launch(self.whole.job, self.whole.job_file)
        kill_at_checkpoint(self.sharded, "rank", 1, env=env)
        state = find_resumable(self.sharded.job.out / "state")
        assert state
        self.state = {str(file.relative_to(state)) for file in Path(state).rglob("*")}
        launch(self.sharded.job, self.sharded.job_file, env=env)

    def check_sharding(self) -> None:
        """The one was sharded and not the other, and what they saved is whole."""
        for run, sharded in ((self.whole, False), (self.sharded, True)):
            metrics = run.metrics
            assert (metrics["sharded"], metrics["ranks"]) == (sharded, self.ranks)
            assert [file.name for file in run.model.glob("*.safetensors")] == ["model.safetensors"]
        one, other = self.whole.load(), self.sharded.load()
        assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}

    def check_resumed(self) -> None:
        """The killed run went on from its checkpoint, without a gap or a repeat."""
        metrics = self.sharded.metrics
        assert 2 <= metrics["resumed_from_step"] <= metrics["steps"]
        steps = [row["step"] for row in self.sharded.read("curve.jsonl")]
        assert steps == list(range(1, self.whole.metrics["steps"] + 1))

    def check_state(self) -> None:
        """Each rank wrote its part of weights and optimizer into what the run went on from."""
        parts = {f"__{rank}_0.distcp" for rank in range(self.ranks)}
        for folder in ("pytorch_model_fsdp_0", "optimizer_0"):
            assert {f"{folder}/{part}" for part in parts} < self.state
        assert not [name for name in self.state if name.endswith((".safetensors", ".bin"))]

    def measure_losses(self) -> float:
        """The largest difference of two losses of one step."""
        assert len(self.whole.losses) >= 4
        pairs = zip(self.whole.losses, self.sharded.losses, strict=True)
        return max(abs(a - b) for a, b in pairs)

    def measure_weights(self) -> float:
        """The largest difference of two weights."""
        return compare(self.whole.load(), self.sharded.load())

    def measure_outputs(self, tmp_path: Path) -> float:
        """The largest difference of two rewards, from fresh processes, or of two logits."""
        runs = (self.whole, self.sharded)
        if self.program == "reward":
            a, b = (
                score_in_a_fresh_process(tmp_path / run.job.out.name, run.model, make_rows(8, 5))
                for run in runs
            )
            return max(abs(x - y) for x, y in zip(a, b, strict=True))
        models = (AutoModelForCausalLM.from_pretrained(run.model) for run in runs)
        with torch.no_grad():
            logits = [model(IDS).logits for model in models]
        return float((logits[0] - logits[1]).abs().max())


def make_pairs(
    root: Path, tiny: Path, policy: Path, judge: Path, ranks: int, env: dict[str, str] | None = None
) -> dict[str, Pair]:
    """All pairs; two at a time, since most of a launch is imports on one core.

    Reward models learn from answers to other prompts, too, and two of them reward in RL.
    The policy ends its answers after 5 to 20 tokens, so ranks generate for unlike times.
    """
    bases = {"reward": tiny, "sft": tiny, "dpo": policy, "rl": policy}
    with ThreadPoolExecutor(2) as pool:
        started = {
            program: pool.submit(Pair, program, root / program, base, judge, ranks, env)
            for program, base in bases.items()
        }
        return {program: pair.result() for program, pair in started.items()}
