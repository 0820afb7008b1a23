"""Disks that are full or read-only, for real: small file systems of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_sites import Site, check_same, finish
from kept_completions import count_cached, try_sqlite
from waiting import wait_for

pytestmark = pytest.mark.slow

MOUNT = ["mount", "-t", "tmpfs", "-o"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run([*MOUNT, "size=64m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, but: int = 0) -> Path:
    """Take all space of a disk, but for some bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while shutil.disk_usage(disk).free > but:
                file.write(b"\0" * min(2**16, shutil.disk_usage(disk).free - but))
        except OSError:
            pass
    return filler


def fail(site: Site) -> str:
    """Run, and return the one line with which it fails."""
    kedro = site.start()
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 1, output
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    assert last.startswith("Error: "), output
    return last


def test_too_little_space_is_said_before_anything_is_done(
    disk: Path, project: Path, tiny_models: dict[str, Path]
) -> None:
    filler = fill(disk, but=2**20)
    site = Site(disk / "data", project)
    assert "MB are free on its disk, and a run needs more than 16" in fail(site)
    assert not (disk / "data/04_feature").exists()
    filler.unlink()


def test_a_disk_that_fills_up_loses_nothing(
    disk: Path, project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    expected = Site(tmp_path / "expected", project)
    finish(expected)
    site = Site(disk / "data", project)
    site.count_file = tmp_path / "count"
    kedro = site.start()
    wait_for(try_sqlite(lambda: count_cached(site.root) >= 5))
    filler = fill(disk)
    output, _ = kedro.communicate(timeout=300)
    assert kedro.returncode == 1, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("Error: ")
    assert "run again: what was finished is kept" in output.splitlines()[-1]
    filler.unlink()
    finish(site)
    # The answer that found no room was counted, and is generated once more.
    check_same(site, expected, lost_on_the_way=1)


def test_a_read_only_data_root_is_one_clear_line_and_works_once_mended(
    disk: Path, project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    site = Site(disk / "data", project)
    site.count_file = tmp_path / "count"
    site.root.mkdir()
    remount = ["mount", "-o", "remount,{}", str(disk)]
    subprocess.run([part.format("ro") for part in remount], check=True)
    assert "Read-only file system; free some space or mend" in fail(site)
    subprocess.run([part.format("rw") for part in remount], check=True)
    finish(site)
    assert site.load()["responses"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "data", project)
    site.root.mkdir()
    site.root.chmod(0o555)
    assert "Permission denied" in fail(site)
