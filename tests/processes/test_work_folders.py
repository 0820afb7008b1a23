"""Several jobs in one process, and none of them twice."""

import json
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from almost_kedro.errors import UserError
from almost_kedro.processes.work_folders import run_jobs

# Says who it is, so that two jobs of one process can be told from two processes.
PROGRAM = """
import json, os, sys
from pathlib import Path
from almost_kedro.errors import UserError
from almost_kedro.processes.child import carry_out

def run(text):
    job = json.loads(text)
    if job["fails"]:
        raise UserError("a bad row")
    Path(job["out"], "metrics.json").write_text(json.dumps({"pid": os.getpid()}))

sys.exit(carry_out(run, *sys.argv[1:]))
"""


class SmallJob(BaseModel):
    out: Path
    fails: bool = False


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *filter(None, sys.path)]))


def read_pid(job: SmallJob) -> int:
    pid: int = json.loads((job.out / "metrics.json").read_text())["pid"]
    return pid


def test_jobs_share_a_process_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first, second, third = (SmallJob(out=tmp_path / f"{i}") for i in range(3))
    run_jobs("small_program", [("first", first), ("second", second)])
    assert read_pid(first) == read_pid(second)
    before = read_pid(first)
    run_jobs("small_program", [("first", first), ("third", third), ("third", third)])
    assert read_pid(first) == before != read_pid(third)
    assert json.loads((third.out / "job.json").read_text())["out"] == str(third.out)
    assert not (first.out / "program.log").exists()


def test_a_job_that_fails_costs_no_job_before_it(tmp_path: Path) -> None:
    good, bad = SmallJob(out=tmp_path / "good"), SmallJob(out=tmp_path / "bad", fails=True)
    with pytest.raises(UserError, match=r"^a bad row$"):
        run_jobs("small_program", [("good", good), ("bad", bad)])
    before = read_pid(good)
    with pytest.raises(UserError, match=r"^a bad row$"):
        run_jobs("small_program", [("good", good), ("bad", bad)])
    assert read_pid(good) == before
    assert not (bad.out / "metrics.json").exists()


def test_nothing_to_do_starts_no_process(tmp_path: Path) -> None:
    run_jobs("no_such_program", [])
