"""Options of an environment, as few as there can be, and a workplace."""

from pathlib import Path
from typing import Any

from almost_kedro.options.all import Options
from almost_kedro.processes.workplace import Workplace

PARAMETERS: dict[str, Any] = {
    "data_root": "data",
    "assets_root": "assets",
    "models": {
        "base": {"source": "hub", "id": "org/base"},
        "local": {"source": "folder", "path": "/models/local"},
        "small": {"source": "tiny", "layers": 1, "hidden_size": 32},
        "packed": {
            "source": "wheel",
            "packages": ["p==1"],
            "members": ["p/m.gguf"],
            "sha256": "0",
            "license": "MIT",
        },
    },
    "generation": {"engine": "embedded"},
    "prompt_generation": {"model": "base", "n_prompts": 5},
    "response_generation": {
        "max_new_tokens": 64,
        "assistants": [
            {"model": "base", "demonstrations": "HHH", "shots": 3},
            {"model": "small", "demonstrations": "HHH", "shots": 1},
        ],
    },
    "comparisons": {"rubric": ["base-HHH-3shot", "small-HHH-1shot"]},
    "prompt_splits": {
        "reward_model": 0.25,
        "held_out": 0.25,
        "held_out_reward_model": 0.1,
        "self_play": 0.1,
        "rl": 0.1,
        "watch": 0.1,
        "policy_test": 0.1,
    },
    "launch": {},
    "reward_model": {"model": "base", "learning_rate": 1e-5, "batch_size": 4},
    "gate": {},
    "self_play": {},
    "sft": {"model": "base", "learning_rate": 1e-5, "batch_size": 4},
    "rl": {"learning_rate": 1e-6, "batch_size": 8, "steps": 2, "max_new_tokens": 16},
    "dpo": {"learning_rate": 1e-6, "batch_size": 4, "watch": {}},
    "policy_test": {},
}


def make_options(**blocks: Any) -> Options:
    """Options with some blocks exchanged."""
    return Options.model_validate({**PARAMETERS, **blocks})


def make_workplace(folder: Path, **places: Any) -> Workplace:
    """A workplace whose programs all work in one folder."""
    own = dict.fromkeys(("models", "generation", "training", "evaluation", "accelerate"), folder)
    return Workplace(**{**own, "keys": {}, **places})
