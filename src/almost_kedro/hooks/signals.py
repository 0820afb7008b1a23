"""SIGTERM and SIGHUP end a run as Ctrl-C does.

Slurm's `scancel` sends SIGTERM, a lost terminal SIGHUP. Python would die of them at once, and
MLflow's runs would stay RUNNING for ever.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from almost_kedro.processes.run import ENDING


class SignalHook:
    """Ends a running pipeline in order: programs, tracked runs, then the lock."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._ours: list[signal.Signals] = []

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Take the signals, except those that others handle or that `nohup` ignores."""
        if not pipeline.nodes or threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)
                self._ours.append(number)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Give the signals back."""
        self._give_back()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        while self._ours:
            signal.signal(self._ours.pop(), signal.SIG_DFL)

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Exit as after Ctrl-C, with the status that a shell gives to the signal."""
        self._give_back()  # a second signal ends what hangs
        raise SystemExit(128 + number)
