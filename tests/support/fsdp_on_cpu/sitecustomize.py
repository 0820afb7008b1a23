"""Lets FSDP version 2 shard over gloo ranks on CPUs; put on a child's PYTHONPATH by tests.

accelerate itself shards on accelerators only. Everything else (accelerate launch, the wrapping,
TRL's trainers, our checks) is the real code.
"""

import os

if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    import accelerate.state
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    start = accelerate.state.AcceleratorState.__init__

    def shard(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        start(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = FullyShardedDataParallelPlugin()

    accelerate.state.AcceleratorState.__init__ = shard

    import almost_kedro.training.devices as devices

    devices.check_devices = lambda job: None
