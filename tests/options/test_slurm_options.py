"""What Slurm is asked for, and what it can't be."""

from typing import Any

import pytest
from option_values import PARAMETERS

from almost_kedro.costs.planned import digest_options
from almost_kedro.errors import UserError
from almost_kedro.options.all import check_options
from almost_kedro.options.slurm import SlurmOptions


def check(**slurm: Any) -> Any:
    launch = {"backend": "slurm", "slurm": slurm}
    return check_options({**PARAMETERS, "launch": launch}).launch.slurm


def test_options_become_flags() -> None:
    asked = check(
        partition="gpu,long",
        account="lab-7",
        time_limit="2-00:00:00",
        gpus=4,
        cpus=32,
        memory="64G",
        options={"qos": "high", "exclusive": True, "nice": 0, "mail-user": "a b;c"},
    )
    assert asked.list_flags() == [
        *["--account=lab-7", "--cpus-per-task=32", "--gpus-per-node=4", "--mem=64G"],
        *["--partition=gpu,long", "--time=2-00:00:00"],
        *["--qos=high", "--exclusive", "--nice=0", "--mail-user=a b;c"],
    ]


def test_what_is_not_asked_is_left_to_slurm() -> None:
    assert SlurmOptions().list_flags() == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"partition": "--wrap=ls"}, r"launch.slurm.partition: String should match"),
        ({"memory": "64 G"}, r"launch.slurm.memory: String should match"),
        # YAML reads 12:00:00 without quotes as this number.
        (
            {"time_limit": 43200},
            r"time_limit: give hours, .* in quotes, as '12:00:00'; found 43200",
        ),
        ({"time_limit": "60"}, r"time_limit: give hours"),
        ({"gpus": -1}, r"launch.slurm.gpus: Input should be greater than or equal to 0"),
        ({"options": {"--qos": "high"}}, r"'--qos' is no long flag of sbatch; write it without"),
        ({"options": {"p": "main"}}, r"'p' is no long flag of sbatch"),
        ({"options": {"mem": "1G"}}, r"mem is the option launch.slurm.memory; set that one"),
        ({"options": {"wrap": "ls"}}, r"wrap is set for each job, and can't be chosen"),
        ({"options": {"wra": "ls"}}, r"wra is set for each job, and can't be chosen"),
        ({"options": {"part": "main"}}, r"part is set for each job"),
        ({"options": {"hold": False}}, r"hold: give a value in one line, or true for none"),
        ({"options": {"comment": "a\nb"}}, r"comment: give a value in one line"),
        ({"queue": "main"}, r"launch.slurm.queue: there is no such option"),
    ],
)
def test_what_sbatch_can_not_be_given_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(**asked)


@pytest.mark.parametrize("limit", ["30:00", "12:00:00", "1-12", "1-12:30", "2-00:00:00"])
def test_times_are_as_slurm_writes_them(limit: str) -> None:
    assert check(time_limit=limit).time_limit == limit


def test_gpus_of_a_job_are_its_own_flag_too() -> None:
    assert check(options={"gpus": 8}).list_flags() == ["--gpus=8"]


@pytest.mark.parametrize("config", ["fsdp", "gpu"])
def test_fewer_gpus_than_ranks_are_refused(config: str) -> None:
    launch = {"backend": "slurm", "config": config, "processes": 4, "slurm": {"gpus": 2}}
    with pytest.raises(UserError, match=r"slurm.gpus is 2, but processes are 4 ranks"):
        check_options({**PARAMETERS, "launch": launch})


def test_where_programs_run_changes_no_plan() -> None:
    here = check_options(PARAMETERS).model_dump(mode="json")
    there = {**here, "launch": {**here["launch"], "backend": "slurm", "slurm": {"gpus": 4}}}
    before = {name: v for name, v in here["launch"].items() if name not in ("backend", "slurm")}
    assert digest_options(here) == digest_options(there)
    assert digest_options(here) == digest_options({**here, "launch": before})
    assert digest_options(here) != digest_options({**here, "launch": {**before, "processes": 2}})
