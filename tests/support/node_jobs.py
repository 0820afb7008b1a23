"""By what kept work is found: the work folders and request keys that nodes ask for, of a few rows.

It runs on the code of any commit since `3636a5f`, so it imports nothing that came later. No program
is started: what has to come back for a node to go on is made by hand.
"""

import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

from node_rows import (
    ASSISTANTS,
    COMPARISONS,
    DEMONSTRATIONS,
    DIALOGUE,
    HHH,
    MC1,
    MODEL,
    OPEN_ANSWERS,
    PROMPT_SPLITS,
    PROMPTS,
    QUESTIONS,
)
from tokenizers import Tokenizer, models, pre_tokenizers

from almost_kedro.contract import Completion, ModelFolder
from almost_kedro.feedback.splits import digest_splits
from almost_kedro.generation.job import Job
from almost_kedro.generation.worker import run_job
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.options.all import check_options
from almost_kedro.processes.workplace import Workplace

# Of trainings, of the commits whose kept work the tests know: what raises one is no option.
VERSIONS = {"reward": 2, "sft": 2, "rl": 2, "dpo": 1}
# Nodes by the module below `pipelines` that has them.
NODES = {
    "write_prompts": "synthetic_feedback.nodes",
    "write_responses": "synthetic_feedback.nodes",
    "train_reward_model": "reward_model.nodes",
    "train_held_out_reward_model": "reward_model.nodes",
    "score_held_out": "reward_model.nodes",
    "play": "rmsp_sft.nodes",
    "train_sft_policy": "rmsp_sft.nodes",
    "test_sft_policy": "rmsp_sft.nodes",
    "train_rl_policy": "rl.nodes",
    "test_rl_policy": "rl.nodes",
    "evaluate_policies": "evaluation.models",
    "evaluate_reward_models": "evaluation.models",
    "answer_questions": "evaluation.questions",
    "judge_answers": "evaluation.judging",
    "train_dpo_policy": "dpo.nodes",
}
GATE = {"passed": True, "reasons": []}


class StartedError(Exception):
    """A training program would now run."""


class Echo:
    """An engine whose every text is another prompt, and an answer that no rule drops."""

    def generate(self, requests: Any, sampling: Any, on_tokens: Any) -> Iterator[Any]:
        for number, request in enumerate(requests):
            text = f" Tell me about the {request.hash()[:8]} in the garden behind my house."
            yield number, Completion(text, "eos", 9)


def list_jobs(parameters: dict[str, Any], folder: Path, project: Path) -> dict[str, list[str]]:
    """By node, names of work folders (of all programs but generation), and request keys, short."""
    model = write_model(folder / "model")
    values = make_values(parameters, model)
    found = {}
    with without_programs(model):
        for name, module in NODES.items():
            with suppress(ModuleNotFoundError):  # before there was such a pipeline
                node = getattr(import_module(f"almost_kedro.pipelines.{module}"), name)
                root = folder / name
                places = {part: root / part for part in ("generation", "training", "evaluation")}
                configurations = project / "conf/accelerate"
                workplace = Workplace(folder, accelerate=configurations, keys={}, **places)
                with suppress(StartedError):
                    call(node, {**values, "workplace": workplace})
                found[name] = list_asked(root)
    return found


def list_asked(root: Path) -> list[str]:
    folders = (path.parent for path in root.glob("*/*/job.json"))
    # A generation job's folder is no identity: its answers are found by their keys.
    asked = [folder.name for folder in folders if folder.parent.name != "generation"]
    cache = root / "generation/completions.sqlite"
    if cache.exists():
        with closing(sqlite3.connect(cache)) as db:
            asked += [f"request {key[:12]}" for (key,) in db.execute("SELECT key FROM completions")]
    return sorted(asked)


def make_values(parameters: dict[str, Any], model: Path) -> dict[str, Any]:
    """What the nodes take, by name."""
    options = check_options(parameters)
    splits = digest_splits(PROMPT_SPLITS)  # type: ignore[arg-type]
    base = {"name": MODEL, "fingerprint": f"fingerprint of {MODEL}"}

    def trained(name: str, kind: str, base: dict[str, str] = base) -> Checkpoint:
        manifest = {"kind": kind, "name": name, "base": base, "fingerprint": f"trained {name}"}
        data = {"prompt_splits": splits, "comparisons": "comparisons"}
        return Checkpoint(model, {**manifest, "data": data, "options": {}, "files": {}})

    sft = {"name": "sft_policy", "fingerprint": "trained sft_policy"}
    text = "".join(f"\n\n-----{DIALOGUE} Wire {n}." for n in range(12))
    return {
        "options": options,
        "seed_prompts": "Ask something.\n" + "\n".join(f"Why is seed {n} sown?" for n in range(20)),
        "demonstrations": {name: f"{name}.{text}" for name in ("Faithful", "HHH", "User")},
        "feedback_plan": {},
        "self_play_plan": {"user_prefix": "A person asks.\n\n-----"},
        "dpo_plan": {"models": {MODEL: find_model(MODEL, model).model_dump(mode="json")}},
        "prompts": PROMPTS,
        "prompt_splits": PROMPT_SPLITS,
        "assistants": ASSISTANTS,
        "reward_pairs": COMPARISONS,
        "mismatched_pairs": [],
        "sft_demonstrations": DEMONSTRATIONS,
        "gate": GATE,
        "rl_gate": GATE,
        "hhh_items": HHH,
        "mc1_items": MC1,
        "mc1_preset": {"text": "Answer truly.\n\n"},
        "preference_items": [],
        "open_questions": QUESTIONS,
        "open_answers": OPEN_ANSWERS,
        "reward_model": trained("reward_model", "reward_model"),
        "held_out_reward_model": trained("held_out_reward_model", "reward_model"),
        "sft_policy": trained("sft_policy", "policy"),
        "rl_policy": trained("rl_policy", "policy", sft),
        "dpo_policy": None,
    }


def call(node: Callable[..., Any], values: dict[str, Any]) -> None:
    """Pass a node what it names; what it takes as `**found`, too."""
    kinds = {each.name: each.kind for each in signature(node).parameters.values()}
    if Parameter.VAR_KEYWORD not in kinds.values():
        values = {name: values[name] for name in kinds}
    node(**values)


def find_model(name: str, folder: Path) -> ModelFolder:
    return ModelFolder(name=name, folder=folder, fingerprint=f"fingerprint of {name}")


def write_model(folder: Path) -> Path:
    """What the Kedro process reads of a model."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    return folder


@contextmanager
def without_programs(model: Path) -> Iterator[None]:
    """Let every name be one model, trainings end as they start, and other programs be short."""

    def find(name: str, *_: Any) -> ModelFolder:
        return find_model(name, model)

    def start(*_: Any, **__: Any) -> None:
        raise StartedError

    with ExitStack() as stack:
        for place, instead in (
            ("almost_kedro.jobs.models.resolve_model", find),
            ("almost_kedro.jobs.train.launch", start),
            ("almost_kedro.processes.work_folders.run_command", finish),
            ("almost_kedro.generation.generator.open_engine", lambda *_: Echo()),
        ):
            stack.enter_context(patch(place, instead))
        yield


def finish(name: str, command: list[str], *_: Any) -> None:
    """Write what a program would."""
    for file in (Path(each) for each in command if each.endswith("job.json")):
        job, out = json.loads(file.read_text()), file.parent
        if "task" in job:
            run_job(Job.model_validate(job))
            continue
        rewards = name.endswith("score")
        result = {"reward": 0.5} if rewards else {"logprob": -2.0, "n_tokens": 2, "cut": 0}
        ids = [json.loads(line)["id"] for line in (out / job["rows"]).open()]
        lines = [json.dumps({"id": id_, **result}) + "\n" for id_ in ids]
        (out / ("rewards.jsonl" if rewards else "logprobs.jsonl")).write_text("".join(lines))
        (out / "metrics.json").write_text(json.dumps({"rows": len(ids)}))


def read_parameters(project: Path) -> dict[str, Any]:
    """The parameters of `base`, with paths from the project's folder, to write one prompt."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(project)
    with KedroSession.create(project, env="base") as session:
        found = dict(session.load_context().config_loader["parameters"])
    read: dict[str, Any] = json.loads(json.dumps(found).replace(f"{project}/", ""))
    read["prompt_generation"] |= {"n_prompts": 1, "round_size": 4}
    return read


def main(file: str) -> None:
    """Write the jobs of the commit whose work tree is the working folder, and its parameters."""
    parameters = read_parameters(Path.cwd())
    with tempfile.TemporaryDirectory() as folder:
        jobs = list_jobs(parameters, Path(folder), Path.cwd())
    found = {"jobs": jobs, "parameters": parameters}
    Path(file).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
