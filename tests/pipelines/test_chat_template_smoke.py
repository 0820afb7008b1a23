"""The whole chain from the reward model on, by the chat template of its base."""

import json
from pathlib import Path

import pytest
from hand_made_models import CHATML, make_instruct
from safetensors.torch import load_file
from sessions import find_versions, kedro, run_pipeline
from transformers import AutoTokenizer

from almost_kedro.rows.json_lines import read_rows

pytestmark = pytest.mark.slow

# All that is trained has adapters, too: one run shows both.
LORA = [f"{block}.lora.rank=2" for block in ("reward_model", "sft", "rl")]


def make_options(base: Path) -> list[str]:
    options = ["dialogue=chat_template", "models.mine.source=folder", f"models.mine.path={base}"]
    return [*options, "reward_model.model=mine", "sft.model=mine"]


def test_policies_and_reward_models_read_their_bases_own_template(
    project: Path, aligned: Path, tmp_path: Path
) -> None:
    options = [*make_options(make_instruct(tmp_path / "base")), *LORA]
    for name in ("reward_model", "rmsp_sft", "rl", "evaluation"):
        done = run_pipeline(project, aligned, name, *options)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("reward_model", "held_out_reward_model", "sft_policy", "rl_policy"):
        folder = find_versions(aligned, name)[-1]
        assert AutoTokenizer.from_pretrained(folder).chat_template == CHATML
        manifest = json.loads((folder / "manifest.json").read_text())
        assert len(manifest["base"]["template"]) == 12
        assert manifest["options"]["lora"]["rank"] == 2
        adapter = load_file(folder / "adapter/adapter_model.safetensors")
        n_trained = sum(weight.numel() for weight in adapter.values())
        assert n_trained == manifest["metrics"]["trained_parameters"]
    # The base and its policies are asked by the template, assistants in plain text.
    asked = sorted(aligned.glob("04_feature/generation/*/job.json"))
    templates = {}
    for file in asked:
        job = json.loads(file.read_text())
        if job["model"]["name"] in ("mine", "sft", "rl"):
            templates.setdefault(job["model"]["name"], set()).add(job["model"].get("template"))
        else:
            assert not job["model"].get("template")
    assert {name: len(each - {None}) for name, each in templates.items()} == {
        "mine": 1,
        "sft": 1,
        "rl": 1,
    }
    # Rewards by the command are those of the run.
    comparisons = {
        row["comparison_id"]: row
        for row in read_rows(sorted(aligned.glob("*/comparisons.jsonl/*/*"))[-1])
    }
    scores = list(read_rows(sorted(aligned.glob("*/held_out_scores.jsonl/*/*"))[-1]))
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(comparisons[r["comparison_id"]]) + "\n" for r in scores))
    params = ",".join([f"data_root={aligned}", *options])
    done = kedro(project, "score", str(file), "--env", "smoke", "--params", params)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["chosen"] for line in done.stdout.splitlines()]
    assert found == pytest.approx([row["reward_chosen"] for row in scores], abs=1e-4)


def test_a_base_without_a_template_is_refused_before_anything_is_trained(
    project: Path, aligned: Path
) -> None:
    work = sorted(aligned.glob("06_models/work/*"))
    done = run_pipeline(project, aligned, "reward_model", "dialogue=chat_template")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "its tokenizer has no chat template; set dialogue: plain" in line
    assert sorted(aligned.glob("06_models/work/*")) == work
