"""What would stop training is said before anything is generated."""

from pathlib import Path
from typing import Any

import pytest
from smoke_runs import run_smoke

from almost_kedro.errors import UserError


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"self_play": {"user_demonstrations": "Nobody"}},
            r"self_play.user_demonstrations: 'Nobody' needs the file Nobody_prompt.txt",
        ),
        ({"self_play": {"user_shots": 99}}, r"'User' \(User_prompt.txt\): found 6, .* 99 shots"),
        ({"self_play": {"turns": 90}}, r"assistant .* take up to .* a context of 16384"),
        ({"reward_model": {"max_length": 99999}}, r"reward_model.max_length: 99999 tokens, but"),
        ({"evaluation": {"hhh": "none.json"}}, r"none.json: there is no such file"),
        ({"evaluation": {"mc1_preset": "pairs.txt"}}, r"pairs.txt: there is no such file"),
        (
            {"evaluation": {"max_new_tokens": 16200}},
            r"assistant .* 16200 more are to be generated, but .* a context of 16384",
        ),
        ({"evaluation": {"judge": "nobody"}}, r"evaluation.judge: unknown model 'nobody'"),
        (
            {
                "evaluation": {"judge": "critic"},
                "models": {"critic": {"source": "server", "id": "org/critic", "chat": True}},
                "generation": {
                    "servers": [{"url": "http://nowhere/v1", "model": "critic", "key": "default"}]
                },
            },
            r"server http://nowhere/v1: its key 'default' is empty or missing; name it below "
            r"`servers` in credentials.yml and set the environment variable",
        ),
        (
            {
                "reward_model": {"mismatched": {"per_pair": 1}},
                "comparisons": {
                    "rubric": [
                        "tiny-large-Faithful-1shot",
                        "tiny-small-Faithful-1shot-off-topic",
                        "tiny-small-HHH-1shot",
                    ]
                },
            },
            r"reward_model.mismatched: the rubric puts 'tiny-small-Faithful-1shot-off-topic' befor",
        ),
        (
            {"dpo": {"lora": {"targets": ["q_proj"]}}, "rl": {"lora": {"targets": ["qkv"]}}},
            r"option rl.lora.targets: model 'tiny-large' has no linear layer 'qkv' in its blocks",
        ),
        ({"rl": {"max_length": 16384}}, r"rl.max_length \+ rl.max_new_tokens: 16408 tokens, but"),
    ],
)
def test_a_whole_run_stops_before_the_first_prompt(
    params: dict[str, Any],
    message: str,
    project: Path,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ALMOST_KEDRO_API_KEY", raising=False)
    with pytest.raises(UserError, match=message):
        run_smoke(project, tmp_path, params, pipeline_names=["__default__"])
    assert not list(tmp_path.glob("03_primary/prompt*"))
