"""`kedro chat`, as a user meets it: real policies, a real terminal."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from heavy_imports import CHECK, run_python
from sessions import kedro, make_command
from terminal import CTRL_C, Terminal, open_terminal

from almost_kedro.rows.json_lines import read_rows, write_rows

POLICIES = ("base", "prompted", "sft", "rl")
REWARDS = ("reward", "held_out_reward")
# As close as padding and batches leave rewards.
TOLERANCE = 1e-5


def make_params(root: Path) -> list[str]:
    return ["--env", "smoke", "--params", f"data_root={root}"]


def read_newest(root: Path, name: str) -> list[dict[str, Any]]:
    [*_, newest] = sorted(root.glob(f"*/{name}.jsonl/*/{name}.jsonl"))
    return list(read_rows(newest))


@pytest.mark.slow
def test_answers_and_rewards_are_those_of_the_test_of_policies(
    aligned: Path, project: Path, tmp_path: Path
) -> None:
    tested = [*read_newest(aligned, "sft_answers"), *read_newest(aligned, "rl_answers")]
    prompts = {row["prompt_id"]: row["text"] for row in read_newest(aligned, "prompts")}
    asked = {row["prompt_id"]: prompts[row["prompt_id"]] for row in tested}
    write_rows(tmp_path / "asked.jsonl", [{"prompt": text} for text in asked.values()])
    file = str(tmp_path / "asked.jsonl")
    done = kedro(project, "chat", *POLICIES, "--ask", file, "--rewards", *make_params(aligned))
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["policy"] for row in rows] == [*POLICIES] * len(asked)
    found = {(row["question"], row["policy"]): row for row in rows}
    assert {row["policy"] for row in tested} == set(POLICIES)
    for row in tested:
        own = found[asked[row["prompt_id"]], row["policy"]]
        given = (own["answer"], own["finish_reason"], own["n_tokens"])
        assert given == (row["text"], row["finish_reason"], row["n_tokens"])
        assert [own[each] for each in REWARDS] == pytest.approx(
            [row[each] for each in REWARDS], abs=TOLERANCE
        )
    # What it prints can be scored as it stands, an answer of which nothing counts, too.
    (tmp_path / "answers.jsonl").write_text(done.stdout)
    done = kedro(project, "score", str(tmp_path / "answers.jsonl"), *make_params(aligned))
    assert done.returncode == 0, done.stderr
    scored = [json.loads(line)["reward"] for line in done.stdout.splitlines()]
    # Where bfloat16 is computed with, what else is read with an answer rounds its reward.
    assert scored == pytest.approx([row[REWARDS[0]] for row in rows], abs=0.01)


def chat_in_terminal(aligned: Path, *args: str) -> list[str]:
    return make_command("chat", *args, *make_params(aligned))


def find_program(terminal: Terminal) -> int:
    [child] = psutil.Process(terminal.pid).children()
    assert "almost_kedro.training.chat" in child.cmdline()
    return int(child.pid)


def test_a_chat_in_a_terminal(aligned: Path, project: Path) -> None:
    # Without a name, the last trained policy answers.
    command = chat_in_terminal(aligned, "--temperature", "0", "--max-new-tokens", "400")
    with open_terminal(command, project) as terminal:
        terminal.wait_for("rl: /help lists the commands")
        ask = "you: "
        terminal.wait_for(ask)
        terminal.press_until(CTRL_C, "/quit or Ctrl-D ends the chat")
        terminal.wait_for(ask)
        terminal.press("Why?\n")
        # It is shown long before it is finished; what there is stays.
        terminal.wait_for(r"rl: .")
        terminal.press(CTRL_C)
        rest = terminal.wait_for(r"\[(\d+) tokens, interrupted")
        written = re.search(r"\[(\d+) tokens", rest)
        assert written
        assert 0 < int(written[1]) < 400
        terminal.wait_for(ask)
        terminal.press("And [bold]so[/bold]?\n")
        terminal.wait_for(r"rl: ")
        terminal.wait_for(r"\[\d+ tokens, (ended by itself|stopped|cut off)")
        terminal.wait_for(ask)
        terminal.press("\n")
        terminal.wait_for(ask)
        terminal.press("/nothing\n")
        terminal.wait_for("/nothing: no such command; /help lists them")
        terminal.press("/help\n")
        terminal.wait_for("Ctrl-C ends the answer that is being written")
        terminal.press("/new\n")
        terminal.wait_for("a new dialogue")
        program = find_program(terminal)
        terminal.press("/quit\n")
        assert terminal.wait_for_end() == 0
    assert "Traceback" not in terminal.text
    assert not psutil.pid_exists(program)


@pytest.mark.slow
def test_two_policies_answer_in_columns_with_rewards_and_a_crash_is_one_line(
    aligned: Path, project: Path
) -> None:
    command = chat_in_terminal(aligned, "base", "rl")
    with open_terminal(command, project, columns=120) as terminal:
        terminal.wait_for("you: ")
        terminal.press("/rewards\n")
        terminal.wait_for("rewards are shown")
        terminal.press("Why?\n")
        terminal.wait_for(r"base +rl ")
        shown = terminal.wait_for("you: ")
        assert len(re.findall(r"\d+ tokens,", shown)) >= 2
        assert "held-out" in shown
        program = find_program(terminal)
        os.kill(program, signal.SIGKILL)
        terminal.press("Why?\n")
        terminal.wait_for(r"Error: the chat program \(base, rl\) was killed by SIGKILL")
        assert terminal.wait_for_end() == 1
    assert "Traceback" not in terminal.text
    assert not psutil.pid_exists(program)


def check_error(project: Path, root: Path, args: list[str], line: str) -> None:
    done = kedro(project, "chat", *args, *make_params(root))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert re.match(f"Error: {line}", done.stderr.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ([], r"sft_policy was never trained: nothing in .*; run `kedro run --pipeline rmsp_sft`"),
        (["prompted"], r"policy 'prompted': there are no assistants yet; run `kedro run --pipe"),
        (["base", "--rewards"], r"reward_model was never trained: nothing in .*; run `kedro run "),
    ],
)
def test_what_is_missing_is_one_line(
    args: list[str], line: str, project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    check_error(project, tmp_path, args, line)


@pytest.mark.slow
def test_lines_from_a_pipe_are_a_chat(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    done = subprocess.run(
        make_command("chat", "base", "--max-new-tokens", "8", *make_params(tmp_path)),
        cwd=project,
        input="Why?\n/new\nW\x1b[2Jhy?\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[:2] == ["base: /help lists the commands", "you: Why?"]
    assert "a new dialogue" in lines
    assert "you: W\\x1b[2Jhy?" in lines
    assert len([line for line in lines if re.match(r"\[\d tokens, ", line)]) == 2


def test_the_kedro_process_imports_nothing_heavy(project: Path) -> None:
    modules = "almost_kedro.commands.chat.command, almost_kedro.commands.tokens"
    run_python(f"import {modules}\n{CHECK}", project)
