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
from hand_made_models import make_folder
from kedro.io import Version
from made_rows import make_policy_answer
from sessions import find_versions, kedro, make_command
from training_jobs import make_rows, train
from transformers import AutoTokenizer
from waiting import wait_for

from almost_kedro.commands.serve.server import count_endings
from almost_kedro.contract import Request, Sampling
from almost_kedro.datasets.checkpoint import CheckpointDataset
from almost_kedro.feedback.responses import STOPS
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.jobs.train import Trained, make_checkpoint

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


def test_the_answers_that_the_policy_ended_by_itself_are_counted() -> None:
    rows = [
        make_policy_answer(f"t{number}", policy=policy, finish_reason=reason)
        for number, (policy, reason) in enumerate(
            [("sft", "eos"), ("sft", "length"), ("sft", "stop"), ("base", "eos")]
        )
    ]
    assert count_endings(rows, "sft") == (1, 3)
    assert count_endings(rows, "rl") == (0, 0)


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a policy and a reward model of a size that vLLM can compute on a CPU."""
    root = tmp_path_factory.mktemp("trained")
    base = make_folder(root / "base", head_dim=32)
    for program, name, kind in (
        ("sft", "sft_policy", "policy"),
        ("reward", "reward_model", "reward_model"),
    ):
        run = train(program, root / program, base, make_rows(24, seed=1), learning_rate=1e-2)
        checkpoint = make_checkpoint(Trained(run.job.out, run.metrics, []), run.job, kind, {})
        folder = str(root / "data/06_models" / name)
        CheckpointDataset(filepath=folder, version=Version(None, "1")).save(checkpoint)
    return root / "data"


@contextmanager
def served(project: Path, root: Path, name: str) -> Iterator[str]:
    """A real server of vLLM, started by the command; float32, so that no rounding decides."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = make_command("serve", name, "--port", str(port), "--env", "smoke")
    command += ["--params", f"data_root={root}", "--dtype", "float32", "--max-model-len", "1024"]
    command += ["--enforce-eager", "--no-enable-chunked-prefill"]
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
def test_a_served_policy_gives_the_answers_of_our_own_engine(project: Path, trained: Path) -> None:
    [folder] = find_versions(trained, "sft_policy")
    engine = EmbeddedEngine(folder, dtype="float32")
    sampling = Sampling(0.0, 1.0, 40, STOPS)
    texts = [f"\n\nHuman: {question}\n\nAssistant:" for question in QUESTIONS]
    own = dict(engine.generate([Request(text) for text in texts], sampling))
    with served(project, trained, "sft") as url:

        def ask(*messages: dict[str, str]) -> httpx.Response:
            body = {"model": "sft", "messages": messages, "temperature": 0, "max_tokens": 40}
            body["stop"] = list(STOPS)
            return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)

        for number, question in enumerate(QUESTIONS):
            reply = ask({"role": "user", "content": question}).json()
            assert reply["choices"][0]["message"]["content"] == own[number].text
            assert reply["usage"]["prompt_tokens"] == len(engine.encode([texts[number]])[0])
        refused = ask(
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}
        )
        assert refused.status_code == 400
        assert "it knows no system message" in refused.text


@pytest.mark.vllm
@pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here")
def test_a_served_reward_model_gives_the_rewards_of_the_command(
    project: Path, trained: Path, tmp_path: Path
) -> None:
    """Of messages, and of the text that the template makes of them."""
    [folder] = find_versions(trained, "reward_model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dialogues = [
        [
            {"role": "user", "content": question},
            {"role": "assistant", "content": " ".join(["Yes."] * (n + 1))},
        ]
        for n, question in enumerate(QUESTIONS)
    ]
    file = tmp_path / "dialogues.jsonl"
    file.write_text("".join(json.dumps({"messages": each}) + "\n" for each in dialogues))
    # vLLM computes rewards in float32, the command in bfloat16 where that is faster.
    args = ("--env", "smoke", "--params", f"data_root={trained},launch.dtype=float32")
    lines = kedro(project, "score", str(file), *args).stdout.splitlines()
    rewards = [json.loads(line)["reward"] for line in lines]
    with served(project, trained, "reward_model") as url:
        for messages, reward in zip(dialogues, rewards, strict=True):
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            for form in ({"messages": messages}, {"input": text, "add_special_tokens": False}):
                body = {"model": "reward_model", **form}
                reply: Any = httpx.post(f"{url}/classify", json=body, timeout=60).json()
                assert reply["data"][0]["probs"] == [pytest.approx(reward, abs=1e-4)]
