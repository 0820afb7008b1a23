"""What `scontrol show job` prints, as Slurm 22.05 printed it, and what is made of it."""

import signal
import sys
from typing import Any

import pytest

from almost_kedro.processes.slurm_states import JobState, explain_end, read_job, read_log

SHOWN = """\
JobId=12 JobName=rewards-0f3a
   UserId=anna(1000) GroupId=anna(1000) MCS_label=N/A
   Priority=4294901759 Nice=0 Account=(null) QOS=(null)
   JobState=FAILED Reason=NonZeroExitCode Dependency=(null)
   Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=2:0
   RunTime=00:00:02 TimeLimit=12:00:00 TimeMin=N/A
   Partition=main AllocNode:Sid=login:2303
   ReqNodeList=(null) ExcNodeList=(null)
   NodeList=gpu[03-04]
   BatchHost=gpu03
   NumNodes=2 NumCPUs=2 NumTasks=2 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   Command=/x/slurm_job.sh JobState=RUNNING ExitCode=9:9
   WorkDir=/data/NodeList=n9
"""


def make_state(**changes: Any) -> JobState:
    fields = {"id": "12", "state": "FAILED", "reason": "None", "status": 0, "restarts": 0}
    return JobState(**{**fields, "nodes": "n1", "time_limit": "01:00:00", **changes})


def explain(**changes: Any) -> str | None:
    return explain_end("training 'sft'", make_state(**changes), "/data/job.json", "lower it")


def test_a_job_is_read() -> None:
    assert read_job(SHOWN) == JobState(
        id="12",
        state="FAILED",
        reason="NonZeroExitCode",
        status=2,
        restarts=2,
        nodes="gpu[03-04]",
        time_limit="12:00:00",
    )


@pytest.mark.parametrize(
    ("exit_code", "status"),
    [("0:0", 0), ("1:0", 1), ("0:9", -9), ("137:0", -9), ("143:0", -15), ("127:0", 127)],
)
def test_a_signal_is_minus_its_number_whoever_reports_it(exit_code: str, status: int) -> None:
    """srun and shells add 128 to it."""
    assert read_job(SHOWN.replace("ExitCode=2:0", f"ExitCode={exit_code}")).status == status


def test_a_job_that_waits_has_no_nodes_yet() -> None:
    assert read_job(SHOWN.replace("NodeList=gpu[03-04]", "NodeList=(null)")).nodes == ""


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        *[("PENDING", False), ("RUNNING", False), ("COMPLETING", False), ("REQUEUED", False)],
        *[("REQUEUE_HOLD", False), ("SUSPENDED", False), ("CONFIGURING", False)],
        *[("COMPLETED", True), ("FAILED", True), ("TIMEOUT", True), ("NODE_FAIL", True)],
        *[("PREEMPTED", True), ("OUT_OF_MEMORY", True), ("CANCELLED", True)],
    ],
)
def test_only_what_does_no_more_has_ended(state: str, ended: bool) -> None:
    assert make_state(state=state).has_ended == ended


def test_a_job_is_described_by_where_it_runs_or_why_it_waits() -> None:
    assert make_state(state="RUNNING").describe() == "Slurm job 12 runs on n1"
    waits = make_state(state="PENDING", reason="BeginTime", restarts=1)
    assert waits.describe() == "Slurm job 12 waits: BeginTime (restart 1)"
    assert make_state(state="PENDING", reason="None").describe() == ""
    assert make_state(state="COMPLETING").describe() == ""


KEPT = "what it finished is kept, so run again"


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (
            {"state": "TIMEOUT"},
            f"reached its time limit of 01:00:00; {KEPT}, or raise launch.slurm.time_limit first",
        ),
        (
            {"state": "OUT_OF_MEMORY"},
            "needed more memory than it was given; raise launch.slurm.memory, or lower it; " + KEPT,
        ),
        ({"state": "NODE_FAIL"}, f"lost its node; {KEPT}"),
        ({"state": "PREEMPTED"}, f"was preempted, and not requeued; {KEPT}"),
        ({"state": "CANCELLED"}, f"was cancelled by someone's scancel; {KEPT}"),
        (
            {"state": "BOOT_FAIL", "reason": "NodeDown"},
            f"ended as BOOT_FAIL (NodeDown); {KEPT}",
        ),
        (
            {"status": 66},
            "does not see /data/job.json; nodes need data root, models and project at the same "
            "paths as here, on a file system that all share",
        ),
        (
            {"status": 127},
            f"can't start {sys.executable}; nodes need the environment of Kedro at the same path "
            "as here",
        ),
    ],
)
def test_each_end_is_one_line(state: dict[str, Any], line: str) -> None:
    assert explain(**state) == f"training 'sft': Slurm job 12 on n1 {line}"


def test_a_job_that_never_ran_is_on_no_node() -> None:
    assert explain(state="CANCELLED", nodes="") == (
        f"training 'sft': Slurm job 12 was cancelled by someone's scancel; {KEPT}"
    )


@pytest.mark.parametrize("status", [1, 2, -9])
def test_a_program_that_failed_by_itself_explains_it_itself(status: int) -> None:
    assert explain(status=status) is None


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd-n1: error: Exceeded job memory limit",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.0. Some of your processes",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch. Some of the step tasks",
    ],
)
def test_the_log_tells_a_want_of_memory(line: str) -> None:
    assert read_log(make_state(status=-9), ["...", line]).state == "OUT_OF_MEMORY"
    completed = make_state(state="COMPLETED")
    assert read_log(completed, [line]) == completed


def test_the_log_tells_which_of_several_nodes_was_killed_first() -> None:
    """srun ends the others by SIGTERM, and may report that."""
    lines = ["srun: error: n2: task 1: Killed", "srun: error: n1: task 0: Terminated"]
    assert read_log(make_state(status=-15), lines).status == -signal.SIGKILL
    assert read_log(make_state(status=1), ["Killed"]).status == 1
