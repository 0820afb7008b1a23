"""Runs programs as jobs of Slurm, with the log, the errors and the ends of `processes.run`.

A job works in its program's work folder, and Slurm itself tells where each job works. So a Kedro
that was killed finds the job that it left there, follows it to its end, and submits only what is
left to do. Nothing but Slurm's own commands is needed, and no shell reads what users wrote.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from almost_kedro.errors import UserError
from almost_kedro.options.slurm import SlurmOptions
from almost_kedro.processes.child import LIFELINE
from almost_kedro.processes.output import PLAIN, read_growing, relay
from almost_kedro.processes.run import LAST_LINES, REMEDY, build_environment, make_error
from almost_kedro.processes.slurm_states import JobState, explain_end, read_job, read_log

logger = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_name("slurm_job.sh")
# In a work folder: where its job works, if that is the folder of another of the program's jobs.
MARK = ".slurm_folder"
# Seconds. A network file system shows new files late, on the nodes and here.
PATIENCE = 60
# Between two looks at a job, more and more: others ask Slurm, too.
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 10.0
# Until a cancelled job has ended; Slurm kills it after 30.
CANCEL_PATIENCE = 40.0


class Program(NamedTuple):
    """A program and its work.

    Attributes:
        name: What messages call it.
        job_files: In its work folders; it works in the last one's.
        list_command: Returns the command for what is left to do; nothing if that is nothing.
        log_file: Keeps every line that it prints.
        env: Adds to its environment.
        remedy: Against a want of memory.
        nodes: On how many it starts, once on each.
    """

    name: str
    job_files: Sequence[Path]
    list_command: Callable[[], list[str]]
    log_file: Path
    env: Mapping[str, str]
    remedy: str = REMEDY
    nodes: int = 1

    @property
    def folder(self) -> Path:
        """Where its job works, by a name that does not depend on where Kedro was started."""
        return Path(os.path.abspath(self.job_files[-1].parent))


def run_on_cluster(program: Program, options: SlurmOptions) -> None:
    """Run a program as a job, to its end; first follow one that an earlier Kedro left there.

    Whatever ends this call (Ctrl-C, an error) cancels the job.

    Raises:
        UserError: If the program reports something that the user can mend, or Slurm ended the job.
        RuntimeError: If the program fails otherwise, with its last lines.
    """
    folders = find_folders(program.job_files)
    try:
        for job_id, state, folder in list_jobs(folders):
            logger.info("Slurm job %s is still there: %s", job_id, state, extra=PLAIN)
            follow(job_id, folder, program, is_dying=state == "COMPLETING")
        command = program.list_command()
        if command:
            job_id = submit(program, command, options)
            follow(job_id, program.folder, program)
    except BaseException:
        # Even one that was just being submitted.
        with suppress(UserError):
            cancel(folders)
        raise
    wait_for_files(program)


def find_folders(job_files: Sequence[Path]) -> set[str]:
    """Return where jobs may work that an earlier Kedro started for these job files."""
    folders = {os.path.abspath(file.parent) for file in job_files}
    marks = [Path(folder) / MARK for folder in folders]
    return folders | {mark.read_text(encoding="utf-8") for mark in marks if mark.is_file()}


def list_jobs(folders: set[str]) -> list[tuple[str, str, Path]]:
    """Return id, state and folder of my jobs that work in these folders and have not ended."""
    done = call("squeue", "--me", "--noheader", "--format=%i|%T|%Z")
    if done.returncode:
        raise UserError(f"Slurm: squeue does not answer ({last_line(done.stderr)}); run again")
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    return [(row[0], row[1], Path(row[2])) for row in rows if row[2:] and row[2] in folders]


def submit(program: Program, command: Sequence[str], options: SlurmOptions) -> str:
    """Submit a job; return its id. Raises UserError if Slurm refuses it."""
    if "%" in str(program.folder):
        raise UserError(
            f"work folder {program.folder}: Slurm takes its % for a pattern; give data_root and "
            "models names without"
        )
    for file in program.job_files:
        file.with_name(MARK).write_text(str(program.folder), encoding="utf-8")
    name = re.sub(r"[^\w.-]", "_", program.folder.name)
    flags = ["--parsable", f"--job-name={name}", f"--chdir={program.folder}"]
    # A requeued job goes on: what it printed before stays.
    flags += ["--output=slurm-%j.out", "--open-mode=append", "--requeue"]
    flags += list_flags(program.nodes, options)
    arguments = [str(PATIENCE), os.path.abspath(program.job_files[-1]), os.getcwd()]
    if program.nodes > 1:
        arguments += ["srun", "--kill-on-bad-exit=1", "--export=ALL"]
    done = call("sbatch", *flags, str(SCRIPT), *arguments, *command, env=program.env)
    if done.returncode:
        raise UserError(f"Slurm refuses {program.name}: {last_line(done.stderr)}")
    job_id = done.stdout.split(";")[0].strip()
    logger.info("Slurm job %s: %s", job_id, program.name, extra=PLAIN)
    return job_id


def list_flags(nodes: int, options: SlurmOptions) -> list[str]:
    """Return the flags of `sbatch` that decide whether and where there is room for a job."""
    return [f"--nodes={nodes}", "--ntasks-per-node=1", "--export=ALL", *options.list_flags()]


def follow(job_id: str, folder: Path, program: Program, is_dying: bool = False) -> None:
    """Show what a job prints until it has ended; see `run_on_cluster`.

    The end of a job that `is_dying` is no error.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    errors: list[str] = []
    ended = threading.Event()
    lines = read_growing(folder / f"slurm-{job_id}.out", ended)
    reader = threading.Thread(target=relay, args=(lines, program.log_file, last, errors))
    reader.start()
    try:
        job = wait_for_end(job_id)
    finally:
        ended.set()
        reader.join()
    # Slurm forgets jobs after some minutes: then what is in the folder has to tell.
    if job and job.state != "COMPLETED" and not is_dying:
        raise make_job_error(program, read_log(job, last), errors, last)


def make_job_error(
    program: Program, job: JobState, errors: Sequence[str], last: Sequence[str]
) -> Exception:
    """Return what a job's bad end is to the user; see `processes.run.make_error`."""
    own = errors if job.state == "FAILED" else []
    line = explain_end(program.name, job, str(program.job_files[-1]), program.remedy)
    if line and not own:
        return UserError(line)
    return make_error(program.name, job.status, own, last, program.log_file, program.remedy)


def wait_for_end(job_id: str) -> JobState | None:
    """Return how a job ended; None if Slurm has forgotten it. Logs what it waits for."""
    pause, said = FIRST_PAUSE, ""
    while (job := look(job_id)) and not job.has_ended:
        if (line := job.describe()) not in ("", said):
            logger.info("%s", line, extra=PLAIN)
            said = line
        time.sleep(pause)
        pause = min(pause * 1.2, LONGEST_PAUSE)
    return job


def look(job_id: str) -> JobState | None:
    """Return what Slurm says of a job, as soon as it answers; None if it does not know it."""
    warned = False
    while (done := call("scontrol", "show", "job", job_id)).returncode:
        if "Invalid job id" in done.stderr:
            return None
        if not warned:
            logger.warning(
                "Slurm does not answer (%s); waiting", last_line(done.stderr), extra=PLAIN
            )
        warned = True
        time.sleep(LONGEST_PAUSE)
    return read_job(done.stdout)


def cancel(folders: set[str]) -> None:
    """Cancel the jobs that work in these folders, and wait until they have ended."""
    deadline = time.monotonic() + CANCEL_PATIENCE
    if jobs := list_jobs(folders):
        call("scancel", *(job_id for job_id, _, _ in jobs))
    while jobs and time.monotonic() < deadline:
        time.sleep(FIRST_PAUSE)
        jobs = list_jobs(folders)


def wait_for_files(program: Program) -> None:
    """Wait for what a job wrote on another node; whoever needs it says if it never comes."""
    deadline = time.monotonic() + PATIENCE
    while program.list_command() and time.monotonic() < deadline:
        for file in program.job_files:
            os.listdir(file.parent)  # has the file system ask its server
        time.sleep(FIRST_PAUSE)


def call(*command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Call a command of Slurm; with `env`, in the environment of a program of ours.

    Of a job in which Kedro itself may run, the command learns nothing.
    """
    environment = dict(os.environ) if env is None else build_environment(env)
    environment.pop(LIFELINE, None)  # a job has no standard input, and Slurm ends it
    for name in list(environment):
        if name.startswith(("SLURM_", "SRUN_", "SQUEUE_")) and name != "SLURM_CONF":
            del environment[name]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
        start_new_session=True,  # Ctrl-C is for Kedro alone
    )


def last_line(text: str) -> str:
    """Return the last line that a command printed."""
    return (text.strip().splitlines() or ["no reason given"])[-1].strip()
