"""What Slurm says of a job, read, and the bad end of a job, in one line."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

# A job in any other state goes on, or will: it waits, runs, is requeued or just ending.
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
}
# A status of `slurm_job.sh`, and Slurm's own where a job's log can't be opened: the node does not
# see the work folder. A shell's, where there is no such program.
UNSEEN, NO_PROGRAM = (66, -53), (126, 127)
# What a shell and srun add to a signal's number.
SIGNALLED = 128
# What Slurm's own processes print into a job's log, and its state does not always tell: a job that
# needed too much memory, and the first of several nodes' programs that was killed.
TOO_LARGE = re.compile(r"^slurmstepd.* error: (Exceeded job memory limit|Detected .*oom.kill)")
KILLED = re.compile(r"^srun: error: .*: Killed$")
KEPT = "what it finished is kept, so run again"
REASONS = {
    "CANCELLED": "was cancelled by someone's scancel",
    "NODE_FAIL": "lost its node",
    "PREEMPTED": "was preempted, and not requeued",
}


@dataclass(frozen=True)
class JobState:
    """A job, as `scontrol show job` shows it.

    Attributes:
        state: In Slurm's words, as RUNNING.
        reason: Why it waits, or ended.
        status: How its program ended: an exit status, or minus the number of a signal.
        restarts: How often it was requeued.
        nodes: Where it runs or ran; empty before that.
        time_limit: As Slurm writes it.
    """

    id: str
    state: str
    reason: str
    status: int
    restarts: int
    nodes: str
    time_limit: str

    @property
    def has_ended(self) -> bool:
        """Whether it will do no more."""
        return self.state in ENDED

    def describe(self) -> str:
        """Say what it is doing; nothing in the moments between."""
        again = f" (restart {self.restarts})" if self.restarts else ""
        if self.state == "RUNNING":
            return f"Slurm job {self.id} runs on {self.nodes}{again}"
        if self.state == "PENDING" and self.reason != "None":
            return f"Slurm job {self.id} waits: {self.reason}{again}"
        return ""


def read_job(shown: str) -> JobState:
    """Read what `scontrol show job ID` prints.

    The first field of a name counts: what users named comes later.
    """

    def find(pattern: str) -> str:
        found = re.search(rf"\b{pattern}", shown)
        return found[1] if found else ""

    status, killed_by = int(find(r"ExitCode=(\d+)") or 0), int(find(r"ExitCode=\d+:(\d+)") or 0)
    if status > SIGNALLED:
        killed_by = status - SIGNALLED
    nodes = find(r"NodeList=(\S+)")
    return JobState(
        id=find(r"JobId=(\d+)"),
        state=find(r"JobState=(\w+)"),
        reason=find(r"Reason=(\S+)"),
        status=-killed_by or status,
        restarts=int(find(r"Restarts=(\d+)") or 0),
        nodes="" if nodes == "(null)" else nodes,
        time_limit=find(r"TimeLimit=(\S+)"),
    )


def read_log(job: JobState, lines: Iterable[str]) -> JobState:
    """Return a job that failed as the last lines of its log know it better."""
    lines = list(lines)
    if job.state == "FAILED" and any(map(TOO_LARGE.match, lines)):
        return replace(job, state="OUT_OF_MEMORY")
    if job.state == "FAILED" and any(map(KILLED.match, lines)):
        return replace(job, status=-signal.SIGKILL)
    return job


def explain_end(name: str, job: JobState, needed: str, remedy: str) -> str | None:
    """Say how Slurm ended a job that did not complete; None if its program failed by itself.

    Args:
        name: What messages call the program.
        needed: The file that the node had to see.
        remedy: Against a want of memory.
    """
    who = f"{name}: Slurm job {job.id}" + (f" on {job.nodes}" if job.nodes else "")
    match job.state:
        case "TIMEOUT" | "DEADLINE":
            return (
                f"{who} reached its time limit of {job.time_limit}; {KEPT}, or raise "
                "launch.slurm.time_limit first"
            )
        case "OUT_OF_MEMORY":
            return (
                f"{who} needed more memory than it was given; raise launch.slurm.memory, or "
                f"{remedy}; {KEPT}"
            )
        case "FAILED" if job.status in UNSEEN:
            return (
                f"{who} does not see {needed}; nodes need data root, models and project at the "
                "same paths as here, on a file system that all share"
            )
        case "FAILED" if job.status in NO_PROGRAM:
            return (
                f"{who} can't start {sys.executable}; nodes need the environment of Kedro at the "
                "same path as here"
            )
        case "FAILED":
            return None
        case _:
            reason = REASONS.get(job.state, f"ended as {job.state} ({job.reason})")
            return f"{who} {reason}; {KEPT}"
