"""What Slurm is asked for where it runs our programs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator

from almost_kedro.options.block import Block, Positive

# What partitions, accounts and sizes are called; none can be taken for a flag.
Word = Annotated[str, Field(pattern=r"^\w[\w.,:+/@-]*$")]
FLAG = re.compile(r"[a-z][a-z0-9-]+")
# Flags of `sbatch` that say how Kedro finds a job again, or what runs in it.
OURS = (
    *("array", "chdir", "clusters", "error", "export", "export-file", "get-user-env", "help"),
    *("ignore-pbs", "input", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode"),
    *("output", "parsable", "quiet", "test-only", "uid", "gid", "usage", "verbose", "version"),
    *("wait", "wrap"),
)
# Those that have an option of ours.
NAMED = {"account": "account", "cpus-per-task": "cpus", "gpus-per-node": "gpus"}
NAMED |= {"mem": "memory", "partition": "partition", "time": "time_limit"}


class SlurmOptions(Block):
    """What each job asks for (`launch.backend: slurm`); null, or 0 GPUs, leaves it to Slurm."""

    partition: Word | None = Field(None, description="Partition, or several with commas between")
    account: Word | None = Field(None, description="Account that pays")
    time_limit: str | None = Field(
        None, description="Longest time of a job, in quotes: '12:00:00', or '2-00:00:00' with days"
    )
    gpus: int = Field(0, ge=0, description="GPUs on each node")
    cpus: Positive | None = Field(None, description="Cores on each node")
    memory: Word | None = Field(None, description="Memory on each node, as 64G")
    options: dict[str, bool | int | str] = Field(
        default_factory=dict,
        description="Other flags of sbatch by name, as {qos: high, constraint: a100}; true for a "
        "flag without a value",
    )

    @field_validator("time_limit", mode="before")
    @classmethod
    def check_time_limit(cls, limit: Any) -> Any:
        """Refuse a time without quotes: YAML reads 12:00:00 as 43200, and Slurm that as minutes."""
        if limit is not None and not (
            isinstance(limit, str) and re.fullmatch(r"(\d+-)?\d+(:\d\d){1,2}|\d+-\d+", limit)
        ):
            raise ValueError("give hours, minutes and seconds in quotes, as '12:00:00'")
        return limit

    @field_validator("options")
    @classmethod
    def check_names(cls, options: dict[str, bool | int | str]) -> dict[str, bool | int | str]:
        """Refuse what is no long flag of sbatch, or not free."""
        for name, value in options.items():
            if not FLAG.fullmatch(name):
                raise ValueError(f"{name!r} is no long flag of sbatch; write it without dashes")
            if name in NAMED:
                raise ValueError(f"{name} is the option launch.slurm.{NAMED[name]}; set that one")
            # sbatch takes the beginning of a flag for the flag, too; gpus is one of its own.
            if name != "gpus" and any(each.startswith(name) for each in (*OURS, *NAMED)):
                raise ValueError(f"{name} is set for each job, and can't be chosen; leave it out")
            if value is False or not str(value).isprintable():
                raise ValueError(f"{name}: give a value in one line, or true for none")
        return options

    def list_flags(self) -> list[str]:
        """Return them as flags of `sbatch`."""
        named = [(flag, getattr(self, name)) for flag, name in NAMED.items()]
        asked = [(flag, value) for flag, value in named if value]
        return [
            f"--{flag}" if value is True else f"--{flag}={value}"
            for flag, value in (*asked, *self.options.items())
        ]
