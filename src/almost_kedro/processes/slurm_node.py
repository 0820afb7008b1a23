"""Which node of a job this process runs on, and where the job's first node is."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from almost_kedro.errors import UserError
from almost_kedro.processes.slurm import call, last_line

# Ports above the given one, so that two jobs on a node rarely want the same.
PORTS = 1000


class Node(NamedTuple):
    """A node of a job.

    Attributes:
        rank: Its number in the job, from 0.
        main_address: By which Slurm reaches the first node.
        cores: Those of the job here.
    """

    job_id: int
    rank: int
    main_address: str
    cores: int

    def choose_port(self, port: int) -> int:
        """Return the job's own port at or above one, the same on each of its nodes."""
        return min(port, 65535 - PORTS) + self.job_id % PORTS


def find_node() -> Node:
    """Read where this process is in its job; raise UserError outside of one."""
    try:
        job_id, rank = int(os.environ["SLURM_JOB_ID"]), int(os.environ["SLURM_NODEID"])
        names = os.environ["SLURM_JOB_NODELIST"]
    except KeyError as exc:
        raise UserError(f"--slurm: {exc.args[0]} is not set; Slurm does so in its jobs") from exc
    first = show("hostnames", names).split()[0]
    address = re.search(r"NodeAddr=(\S+)", show("node", first))
    cores = int(os.environ.get("SLURM_CPUS_ON_NODE") or os.cpu_count() or 1)
    return Node(job_id, rank, address[1] if address else first, cores)


def show(*what: str) -> str:
    """Return what `scontrol show` prints; raise UserError if it does not."""
    done = call("scontrol", "show", *what)
    if done.returncode:
        raise UserError(f"scontrol show {' '.join(what)}: {last_line(done.stderr)}")
    return done.stdout
