"""Starts a program of ours without what it never needs: `python -m almost_kedro.lean_program M`.

transformers imports scikit-learn where it finds it, and with it scipy and pandas, for a way to
generate that nobody here asks for, and scipy for a loss of object detection. That is a quarter of
the time that a program takes to start, and a run starts dozens.
"""

import runpy
import sys


def leave_out() -> None:
    """Let nothing import these from now on: what is None here isn't found by those who ask."""
    for name in ("sklearn", "scipy"):
        sys.modules[name] = None  # type: ignore[assignment]


if __name__ == "__main__":
    del sys.argv[0]
    leave_out()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
