"""`kedro serve`: what is trained here, behind vLLM."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from sessions import find_versions, kedro, make_command
from waiting import wait_for

from almost_kedro.contract import Request, Sampling
from almost_kedro.feedback.responses import STOPS
from almost_kedro.generation.embedded import EmbeddedEngine

QUESTIONS = ["Why?", "What is the capital of France?", "Tell me a story about a small dog."]


def serve(project: Path, root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return kedro(project, "serve", *args, "--env", "smoke", "--params", f"data_root={root}")


def test_the_command_has_all_that_a_policy_needs(project: Path, aligned: Path) -> None:
    done = serve(project, aligned, "rl", "--port", "8001", "--print", "--max-model-len", "512")
    [folder] = find_versions(aligned, "rl_policy")
    dtype = json.loads((folder / "config.json").read_text())["dtype"]
    assert done.stdout.splitlines() == [
        f"vllm serve {folder} --served-model-name rl --host 127.0.0.1 --port 8001 --dtype {dtype} "
        "--max-model-len 512"
    ]


def test_a_reward_model_is_served_in_float32_and_gives_plain_rewards(
    project: Path, aligned: Path
) -> None:
    done = serve(project, aligned, "reward_model", "--print")
    assert "--dtype float32 --runner pooling --convert classify" in done.stdout
    assert """--pooler-config '{"use_activation": false}'""" in done.stdout


def test_a_model_that_was_never_trained_is_one_line(project: Path, tmp_path: Path) -> None:
    done = serve(project, tmp_path, "sft")
    assert done.returncode == 1
    assert re.match(
        r"Error: sft_policy was never trained: nothing in .*/06_models/sft_policy; run `kedro run "
        "--pipeline rmsp_sft` first, with the same --env$",
        done.stderr.splitlines()[-1],
    )


def test_a_checkpoint_of_before_there_were_templates_is_one_line(
    project: Path, aligned: Path
) -> None:
    [folder] = find_versions(aligned, "sft_policy")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["chat_template.jinja"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = serve(project, aligned, "sft", "--print")
    assert done.returncode == 1
    assert "has no chat template; run `kedro run --pipeline rmsp_sft` again" in done.stderr


@pytest.mark.skipif(bool(find_spec("vllm")), reason="vLLM is installed here")
def test_without_vllm_one_line_says_how_to_get_it(
    project: Path, aligned: Path, tmp_path: Path
) -> None:
    """In a copy of the project, which has no environment of vLLM's."""
    for name in ("conf", "src"):
        shutil.copytree(project / name, tmp_path / name)
    shutil.copy(project / "pyproject.toml", tmp_path)
    done = serve(tmp_path, aligned, "rl")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: vLLM is not installed here; run `make")


@contextmanager
def served(project: Path, root: Path, name: str) -> Iterator[str]:
    """A real server of vLLM, started by the command; float32, so that no rounding decides."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = make_command("serve", name, "--port", str(port), "--env", "smoke")
    command += ["--params", f"data_root={root}", "--dtype", "float32", "--max-model-len", "1024"]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    log = root / f"{name}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                return httpx.get(f"{url}/health").status_code == 200
            except httpx.HTTPError:
                return False

        try:
            wait_for(ready, 300)
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


@pytest.mark.vllm
@pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here")
def test_a_served_policy_gives_the_answers_of_our_own_engine(project: Path, aligned: Path) -> None:
    [folder] = find_versions(aligned, "rl_policy")
    engine = EmbeddedEngine(folder, dtype="float32")
    sampling = Sampling(0.0, 1.0, 40, STOPS)
    texts = [f"\n\nHuman: {question}\n\nAssistant:" for question in QUESTIONS]
    own = dict(engine.generate([Request(text) for text in texts], sampling))
    with served(project, aligned, "rl") as url:
        for number, question in enumerate(QUESTIONS):
            body = {
                "model": "rl",
                "messages": [{"role": "user", "content": question}],
                "temperature": 0,
                "max_tokens": 40,
                "stop": list(STOPS),
            }
            reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
            assert reply["choices"][0]["message"]["content"] == own[number].text
            assert reply["usage"]["prompt_tokens"] == len(engine.encode([texts[number]])[0])
        body["messages"] = [{"role": "system", "content": "Be kind."}, *body["messages"]]  # type: ignore[list-item]
        refused = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert refused.status_code == 400
        assert "it knows no system message" in refused.text


@pytest.mark.vllm
@pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here")
def test_a_served_reward_model_gives_the_rewards_of_the_run(project: Path, aligned: Path) -> None:
    from transformers import AutoTokenizer

    [folder] = find_versions(aligned, "reward_model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    [file] = aligned.glob("*/comparisons.jsonl/*/comparisons.jsonl")
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    by_id = {row["comparison_id"]: row for row in pairs}
    [file] = aligned.glob("*/held_out_scores.jsonl/*/held_out_scores.jsonl")
    scores = [json.loads(line) for line in file.read_text().splitlines()][:4]
    with served(project, aligned, "reward_model") as url:
        for row in scores:
            pair = by_id[row["comparison_id"]]
            for side in ("chosen", "rejected"):
                messages = [
                    {"role": "user", "content": pair["prompt"]},
                    {"role": "assistant", "content": pair[side]},
                ]
                text = tokenizer.apply_chat_template(messages, tokenize=False)
                body = {"model": "reward_model", "input": text, "add_special_tokens": False}
                reply: Any = httpx.post(f"{url}/classify", json=body, timeout=60).json()
                [reward] = reply["data"][0]["probs"]
                # bfloat16 where the run computed with it.
                assert reward == pytest.approx(row[f"reward_{side}"], abs=1e-3)
