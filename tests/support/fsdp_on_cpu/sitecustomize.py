"""Lets FSDP version 2 shard over gloo ranks on CPUs; put on a child's PYTHONPATH by tests.

accelerate itself shards on accelerators only. Everything else (accelerate launch, the wrapping,
TRL's trainers, our checks) is the real code. With FSDP_FACTS, ranks tell what `fsdp_facts` finds.
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
            # As accelerate does it at the end: the next state is made of this one.
            accelerate.state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = FullyShardedDataParallelPlugin()
            if self._mixed_precision != "no":
                self.fsdp_plugin.set_mixed_precision(self._mixed_precision)

    accelerate.state.AcceleratorState.__init__ = shard

    import almost_kedro.training.devices as devices

    def expect_no_gpus(job):  # type: ignore[no-untyped-def]
        # Only now, as a rank first says what its libraries are to do without.
        if os.environ.get("FSDP_FACTS"):
            import fsdp_facts

            fsdp_facts.tell_before_training()

    devices.check_devices = expect_no_gpus
