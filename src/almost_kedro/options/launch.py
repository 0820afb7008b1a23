"""Where programs run, and how trainings are launched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from almost_kedro.options.block import Block, Positive
from almost_kedro.options.slurm import SlurmOptions

Number = Literal["auto", "bfloat16", "float32"]
# Launch options that say where programs run, not what they compute: in no identity.
PLACES = {"backend", "slurm"}


class LaunchOptions(Block):
    """Where programs run, and how those that train are launched (`accelerate launch`)."""

    config: Literal["cpu", "gpu", "fsdp"] = Field(
        "cpu",
        description="File in conf/accelerate: cpu (gloo ranks), gpu (each rank has a GPU and a "
        "whole model), or fsdp (GPUs that share a model)",
    )
    processes: Positive = Field(1, description="Ranks on each node")
    nodes: Positive = Field(1, description="Machines; Kedro runs on the first")
    main_address: str = Field("127.0.0.1", description="Address of the first node")
    main_port: int = Field(29500, gt=0, lt=65536, description="Free port on the first node")
    dtype: Number = Field(
        "auto",
        description="Numbers that are computed with; weights are kept in float32. auto: bfloat16 "
        "where the processor is faster with it",
    )
    backend: Literal["local", "slurm"] = Field(
        "local", description="Where the programs of `kedro run` run: here, or as jobs of Slurm"
    )
    slurm: SlurmOptions = Field(default_factory=SlurmOptions)

    @model_validator(mode="after")
    def check_gpus(self) -> LaunchOptions:
        """Refuse jobs that have fewer GPUs than ranks that need one."""
        gpus = self.slurm.gpus
        if self.backend == "slurm" and self.config != "cpu" and 0 < gpus < self.processes:
            raise ValueError(
                f"slurm.gpus is {gpus}, but processes are {self.processes} ranks on each node with "
                "a GPU each; raise it"
            )
        return self
