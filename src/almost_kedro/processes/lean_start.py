"""Starts a program of ours without packages that it never needs.

Run by hand: `python -m almost_kedro.processes.lean_start MODULE JOB.json ...`.

transformers imports scikit-learn if it is there, and with it scipy and pandas, for a way to
generate that we never use. It imports scipy for a loss of object detection, too. That is a
quarter of a program's start, and a run starts dozens. TRL and transformers import peft, which only
training by adapters needs.
"""

import runpy
import sys


def leave_out(adapters: bool = True) -> None:
    """Hide these packages: Python does not find a module that is None in `sys.modules`.

    `adapters` tells whether peft is one of them. Once transformers is imported, nothing is hidden:
    it remembers what it found, and imports that later.
    """
    if "transformers" in sys.modules:
        return
    for name in ("sklearn", "scipy", *(["peft"] if adapters else [])):
        sys.modules[name] = None  # type: ignore[assignment]


if __name__ == "__main__":
    del sys.argv[0]
    leave_out()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
