"""Starts a program of ours without scikit-learn: `python -m almost_kedro.lean_program MODULE ...`.

transformers imports it where it finds it, and with it scipy and pandas, for a way to generate that
nobody here asks for. That is a quarter of the time that a program takes to start, and a run starts
dozens.
"""

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[0]
    # What is None here can't be imported, and isn't found by those who ask first.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
