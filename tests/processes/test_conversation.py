"""A program that answers while it runs: a real one, stopped, crashed and killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import wait_for

from almost_kedro.errors import UserError
from almost_kedro.processes.conversation import STOP, Conversation, converse

# Repeats what it is sent; counts on being stopped; does what it is told to.
PROGRAM = """
import os, sys, time
from almost_kedro.errors import UserError
from almost_kedro.processes.child import carry_out
from almost_kedro.processes.conversation import Requests

requests = Requests()

def run(text):
    print("not a reply")
    requests.reply({"job": text, "pid": os.getpid()})
    for request in requests:
        if request["do"] == "count":
            n = 0
            while not requests.stopped:
                n += 1
                time.sleep(0.01)
            requests.reply({"counted": n})
        elif request["do"] == "raise":
            raise UserError("your \\u20ac is odd; mend it")
        elif request["do"] == "break":
            raise ZeroDivisionError("by nothing")
        elif request["do"] == "die":
            os.kill(os.getpid(), 9)
        else:
            requests.reply(request)

sys.exit(carry_out(run, *sys.argv[1:], hear=requests.hear))
"""


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "talking_program.py").write_text(PROGRAM)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def list_folders(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("almost_kedro-*"))


def ask_for_the_end(conversation: Conversation, how: str) -> str:
    conversation.send({"do": how})
    with pytest.raises(UserError) as raised:
        conversation.receive()
    return str(raised.value)


def test_requests_get_their_replies_in_order_and_nothing_else_does(tmp_path: Path) -> None:
    with converse("the program", "talking_program", "a job") as conversation:
        pid = conversation.receive()["pid"]
        for text in ("one", "zwei \u20ac \ud800 \n", "x" * 100_000):
            conversation.send({"do": "repeat", "text": text})
        texts = [conversation.receive()["text"] for _ in range(3)]
        assert texts == ["one", "zwei \u20ac \ud800 \n", "x" * 100_000]
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert list_folders(tmp_path) == []


def test_a_wish_to_stop_ends_one_reply(tmp_path: Path) -> None:
    with converse("the program", "talking_program", "a job") as conversation:
        conversation.receive()
        for _ in range(2):
            conversation.send({"do": "count"})
            conversation.send(STOP)
            assert conversation.receive()["counted"] < 100
        # One that comes too late means nothing to the next request.
        conversation.send(STOP)
        conversation.send({"do": "repeat"})
        assert conversation.receive() == {"do": "repeat"}


def test_what_the_user_can_mend_is_the_programs_own_line(tmp_path: Path) -> None:
    with converse("the program", "talking_program", "a job") as conversation:
        conversation.receive()
        assert ask_for_the_end(conversation, "raise") == "your \u20ac is odd; mend it"
    assert list_folders(tmp_path) == []


def test_a_crash_is_one_line_that_names_the_log(tmp_path: Path) -> None:
    with converse("the program", "talking_program", "a job") as conversation:
        conversation.receive()
        line = ask_for_the_end(conversation, "break")
    [folder] = list_folders(tmp_path)
    log = folder / "program.log"
    said = "ZeroDivisionError: by nothing"
    assert line == f"the program ended with status 1 ({said}); see {log}"
    assert "Traceback" in log.read_text()


def test_a_killed_program_is_one_line(tmp_path: Path) -> None:
    with converse("the program", "talking_program", "a job") as conversation:
        conversation.receive()
        line = ask_for_the_end(conversation, "die")
        assert line.startswith("the program was killed by SIGKILL (if not by you, most often")
        # Whoever asks on is told the same.
        assert ask_for_the_end(conversation, "repeat") == line


def test_the_program_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "from almost_kedro.processes.conversation import converse\n"
        "with converse('the program', 'talking_program', 'a job') as conversation:\n"
        "    print(conversation.receive()['pid'], flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(pid), 10)
