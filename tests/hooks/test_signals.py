"""Signals that end a run end it in order; real processes."""

import signal
import subprocess
import sys

import pytest

CODE = """
import atexit, signal, sys, time
from kedro.pipeline import Node, Pipeline
from almost_kedro.hooks.signals import SignalHook
{before}
hook = SignalHook()
hook.before_pipeline_run(Pipeline([Node(len, "a", "b")]))
atexit.register(print, "ended", flush=True)
try:
    print("running", flush=True)
    time.sleep(60)
finally:
    print("cleaning up", flush=True)
    {cleaning}
"""


def start(before: str = "", cleaning: str = "pass") -> subprocess.Popen[str]:
    code = CODE.format(before=before, cleaning=cleaning)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(number: signal.Signals) -> None:
    process = start()
    process.send_signal(number)
    assert process.communicate(timeout=60)[0] == "cleaning up\nended\n"
    assert process.returncode == 128 + number


def test_a_second_signal_ends_what_hangs() -> None:
    process = start(cleaning="time.sleep(60)")
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == -signal.SIGTERM


def test_what_is_ignored_stays_so() -> None:
    """As by `nohup`."""
    process = start(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
