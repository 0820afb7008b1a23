"""Child program that checks a model before anything is generated with it, or trained from it.

It reads no weights, only what their files say of them: transformers builds the network without
memory for its numbers and says what does not fit. That, and the tokenizer, take about a second
besides the imports. Run by hand: `python -m almost_kedro.models.checks.program JOB.json`.
"""

from __future__ import annotations

import sys

from almost_kedro.errors import UserError
from almost_kedro.models.checks.job import CheckJob, Findings
from almost_kedro.models.checks.reading import read
from almost_kedro.models.files import CONFIG, read_json, text_config
from almost_kedro.processes.child import carry_out
from almost_kedro.rows.json_lines import write_whole


def look_over(job: CheckJob) -> Findings:
    """Check a model; raise UserError for the first fault that forbids every use."""
    from almost_kedro.models.checks import network, tokenizer

    model, found = job.model, Findings()
    assert model.folder
    raw = read_json(model.name, model.folder / CONFIG)
    rows = text_config(raw).get("vocab_size")
    if job.weights:
        rows = network.check_network(model, raw, found)
    tokenizer.check_tokenizer(model, rows, found)
    return found


def run_job(job: CheckJob) -> None:
    """Check a model, and write what was found."""
    prefix = f"model {job.model.name!r}: "
    try:
        found = read("it can't be looked over", lambda: look_over(job))
    except UserError as exc:
        raise UserError(prefix + str(exc).removeprefix(prefix)) from exc
    with write_whole(job.out) as file:
        file.write(found.model_dump_json().encode())


def main(job_file: str) -> int:
    """Carry out a job file; returns the exit status, with one line on stderr if it failed."""
    return carry_out(lambda text: run_job(CheckJob.model_validate_json(text)), job_file)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
