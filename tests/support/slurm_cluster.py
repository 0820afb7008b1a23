"""A real Slurm of three nodes on this machine, in one folder, on free ports."""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from waiting import wait_for

DAEMONS = ("munged", "slurmctld", "slurmd")
# Those of Debian are where only root looks.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
NODES = ("n1", "n2", "n3")
# Nothing waits for the next of Slurm's usual rounds. Whoever is urgent takes a node from others.
# The third node is for what needs one for long.
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
MinJobAge=3600
ReturnToService=1
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=2
PartitionName=apart Nodes=n3 MaxTime=INFINITE State=UP PriorityTier=1
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=8000"


def ask(*command: str) -> str:
    """Call a command of Slurm; return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def find_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def write_conf(folder: Path) -> Path:
    host = socket.gethostname()
    port, *ports = find_ports(1 + len(NODES))
    nodes = [
        NODE.format(name=name, host=host, port=own) for name, own in zip(NODES, ports, strict=True)
    ]
    conf = folder / "slurm.conf"
    user, lines = getpass.getuser(), "\n".join(nodes)
    conf.write_text(CONF.format(folder=folder, host=host, port=port, user=user, nodes=lines))
    return conf


def find_daemon(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"there is no {name}: install slurm-wlm and munge, as .ci/run does"
    return found


@contextmanager
def open_cluster(folder: Path) -> Iterator[None]:
    """Run a Slurm whose commands work in this process and its children."""
    munged, slurmctld, slurmd = map(find_daemon, DAEMONS)
    conf = write_conf(folder)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    try:
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        ask(munged, "--force", *(f"--{flag}={folder / name}" for flag, name in files.items()))
        ask(slurmctld, "-f", str(conf))
        until_it_works(lambda: ask("scontrol", "ping"))
        for name in NODES:
            ask(slurmd, "-f", str(conf), "-N", name)
        wait_for(lambda: set(ask("sinfo", "-hN", "-o", "%t").split()) == {"idle"}, 30)
        yield
    finally:
        end_daemons(folder)
        os.environ.pop("SLURM_CONF")
        if before:
            os.environ["SLURM_CONF"] = before


def end_daemons(folder: Path) -> None:
    """End jobs, then the daemons, by the numbers in their own files."""
    with suppress(AssertionError):
        ask("scancel", "--me")
        wait_for(lambda: not ask("squeue", "-h", "--me"), 30)
    for name in [*(f"slurmd-{node}" for node in NODES), "slurmctld", "munged"]:
        with suppress(OSError, ValueError):
            os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)


def list_my_jobs() -> list[str]:
    """The ids of all jobs that Slurm remembers, in the order of their submission."""
    return re.findall(r"^JobId=(\d+)", ask("scontrol", "show", "job"), re.MULTILINE)


def find_job(folder: Path, state: str = "RUNNING") -> str:
    """Wait for a job that works in a folder or below, and is in a state; return its id."""
    found: list[str] = []

    def look() -> bool:
        rows = [row.split("|", 2) for row in ask("squeue", "-h", "-o", "%i|%T|%Z").splitlines()]
        found[:] = [id_ for id_, now, work in rows if now == state and str(folder) in work]
        return bool(found)

    wait_for(look, 60)
    return found[0]


def start_now(job: str) -> None:
    """Spare a requeued job the two minutes that it has to wait."""

    def is_requeued() -> bool:
        return "JobState=PENDING" in ask("scontrol", "show", "job", job)

    wait_for(is_requeued, 30)
    time.sleep(1.5)  # a node refuses to start a job in the second in which it ended it
    until_it_works(lambda: ask("scontrol", "update", f"jobid={job}", "starttime=now"))


def until_it_works(act: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            act()
        except AssertionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return
