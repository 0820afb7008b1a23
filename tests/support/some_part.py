"""A machine's part in a training, for tests: says that it runs, and for how long it is to.

Run as `python -m some_part JOB_FILE --node-rank N`. The job file has seconds, and the exit status.
"""

import json
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    file, _, rank = sys.argv[1:]
    job = json.loads(Path(file).read_text())
    with Path(file).with_suffix(".started").open("a") as started:
        started.write(f"{rank} {os.getpid()}\n")
    time.sleep(job["seconds"])
    Path(file).with_suffix(".ended").write_text("")
    sys.exit(job["status"])
