"""Counts, in a generation worker, what its engine finishes: one line of $COUNT_FILE a completion.

Python imports this module by itself in every process that has this folder on PYTHONPATH.
"""

import json
import os
import sys

# The worker itself, or what becomes it by forking.
STARTS = {"almost_kedro.generation.worker", "almost_kedro.processes.prepared"}

if STARTS.intersection(sys.orig_argv) and "COUNT_FILE" in os.environ:
    from almost_kedro.generation import generator
    from almost_kedro.generation.engine import request_key

    open_engine = generator.open_engine

    def open_counting_engine(model, options, keys):  # type: ignore[no-untyped-def]
        engine = open_engine(model, options, keys)
        generate = engine.generate

        def count(requests, sampling, on_tokens):  # type: ignore[no-untyped-def]
            for i, completion in generate(requests, sampling, on_tokens):
                row = {
                    "key": request_key(model.fingerprint, requests[i], sampling),
                    "model": model.name,
                    "request": vars(requests[i]),
                    "sampling": vars(sampling),
                    "text": completion.text,
                    "finish_reason": completion.finish_reason,
                }
                with open(os.environ["COUNT_FILE"], "a") as file:
                    file.write(json.dumps(row) + "\n")
                yield i, completion

        engine.generate = count
        return engine

    generator.open_engine = open_counting_engine
