"""One run at a time on a data root; what a disk refuses is one clear line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from almost_kedro.errors import UserError
from almost_kedro.processes.locks import RootLock

HOLD = (
    "import pathlib, sys\nfrom almost_kedro.processes.locks import RootLock\n"
    "lock = RootLock()\nlock.acquire(pathlib.Path(sys.argv[1]))\n"
    "print('held', flush=True)\nsys.stdin.read()\n"
)


def hold(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_who_has_the_root(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with pytest.raises(UserError, match=rf"in use by another run \(process {process.pid}, since"):
        RootLock().acquire(tmp_path)
    process.communicate("")
    RootLock().acquire(tmp_path)


def test_kill_9_leaves_no_lock_behind(tmp_path: Path) -> None:
    process = hold(tmp_path)
    process.kill()
    process.communicate()
    RootLock().acquire(tmp_path)


def test_another_root_is_free(tmp_path: Path) -> None:
    process = hold(tmp_path / "one")
    RootLock().acquire(tmp_path / "two")
    process.communicate("")


def test_the_same_run_can_lock_again(tmp_path: Path) -> None:
    lock = RootLock()
    lock.acquire(tmp_path)
    lock.acquire(tmp_path)


def test_a_file_system_without_locks_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    RootLock().acquire(tmp_path)
    assert caplog.messages == [
        f"{tmp_path}: its file system has no locks (No locks available); see that no second run "
        "works there"
    ]


def test_a_root_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match=r"data root .*/data: .*then run again") as caught:
        RootLock().acquire(tmp_path / "data")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="Linux only")
def test_a_root_on_a_read_only_file_system_is_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"data root /proc/here: "):
        RootLock().acquire(Path("/proc/here"))
