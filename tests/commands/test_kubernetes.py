"""`kedro kubernetes`: what it prints, by the schemas of Kubernetes' own interface."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from sessions import kedro

from almost_kedro.commands.kubernetes.command import add_parameter

NEEDED = ("--image", "registry.example/almost:1", "--volume", "work:/work")
# The first that has all that is asked for in its released state, and the newest that is known.
VERSIONS = ("1.34", "1.37")


def print_manifest(project: Path, *args: str) -> list[dict[str, Any]]:
    done = kedro(project, "kubernetes", *NEEDED, *args)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def validate(document: dict[str, Any]) -> None:
    # Here, because it is in one of the two environments only.
    from kubernetes_validate import validate

    for version in VERSIONS:
        assert validate(document, version, strict=True) == version


@pytest.fixture(scope="module")
def paper(project: Path) -> list[dict[str, Any]]:
    return print_manifest(
        project,
        *("--name", "align", "--folder", "/work/almost_kedro", "--cpus", "32"),
        *("--memory", "400Gi", "--secret", "keys", "--env", "paper"),
        *("--params", "launch.nodes=2,seed=3"),
    )


def test_kubernetes_takes_two_machines(paper: list[dict[str, Any]]) -> None:
    assert [document["kind"] for document in paper] == ["Service", "Job"]
    for document in paper:
        validate(document)


@pytest.mark.parametrize("env", ["base", "single_gpu"])
def test_kubernetes_takes_one_machine(project: Path, env: str) -> None:
    [job] = print_manifest(project, "--env", env)
    validate(job)
    spec = job["spec"]
    [container] = spec["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "kedro", "join", "--env", env]
    gpus = {"base": {}, "single_gpu": {"nvidia.com/gpu": "1"}}
    assert container["resources"]["limits"] == gpus[env]
    assert (spec["completions"], "subdomain" in spec["template"]["spec"]) == (1, False)


def test_the_schemas_know_what_they_do_not_know(paper: list[dict[str, Any]]) -> None:
    from kubernetes_validate import ValidationError

    _, job = paper
    for change in ({"completionMode": 1}, {"successPolicies": {}}):
        with pytest.raises(ValidationError):
            validate({**job, "spec": {**job["spec"], **change}})


def test_each_machine_is_a_pod_that_the_others_find(paper: list[dict[str, Any]]) -> None:
    service, job = paper
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (2, 2, "Indexed")
    # Pod 0 of an indexed Job "align" is called align-0, and found as that in the Service's domain.
    assert pod["subdomain"] == service["metadata"]["name"] == job["metadata"]["name"] == "align"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": "align"}
    [container] = pod["containers"]
    assert container["command"][4:] == [
        *("--env", "paper"),
        *("--params", "launch.nodes=2,seed=3,launch.main_address=align-0.align"),
    ]
    assert container["workingDir"] == "/work/almost_kedro"
    assert container["volumeMounts"][0]["mountPath"] == "/work"
    asked = {"cpu": "32", "memory": "400Gi", "nvidia.com/gpu": "4"}
    assert container["resources"] == {"requests": asked, "limits": asked}
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_pods_that_are_lost_come_again_and_have_no_rights(paper: list[dict[str, Any]]) -> None:
    spec = paper[1]["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"] == {"allowPrivilegeEscalation": False}


def test_an_address_of_the_user_stays(project: Path) -> None:
    _, job = print_manifest(project, "--params=launch.nodes=2,launch.main_address=10.0.0.7")
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[4:] == ["--params=launch.nodes=2,launch.main_address=10.0.0.7"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["--params", "a=1"]),
        (["--env", "x"], ["--env", "x", "--params", "a=1"]),
        (["--params", "b=2", "--env", "x"], ["--params", "b=2,a=1", "--env", "x"]),
        (["--params=b=2"], ["--params=b=2,a=1"]),
        # The last one counts.
        (["--params=b=2", "--params", "c=3"], ["--params=b=2", "--params", "c=3,a=1"]),
    ],
)
def test_a_parameter_is_added_to_the_ones_that_count(
    options: list[str], expected: list[str]
) -> None:
    assert add_parameter(options, "a=1") == expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--name", "My_Run"], "Error: --name My_Run: Kubernetes takes up to 52 lower-case"),
        (["--volume", "work"], "Error: --volume work: give it as CLAIM:PATH, such as work:/work"),
        (["--volume", "work:data"], "Error: --volume: 'data' is no absolute path in the pods"),
        (["--volume", "My Work:/work"], "Error: --volume My Work: Kubernetes has no such names"),
        (["--memory", "64 GB"], "Error: --memory 64 GB: no quantity of Kubernetes, such as 8 or"),
        (["--folder", "here"], "Error: --folder: 'here' is no absolute path in the pods"),
        (
            ["--env", "paper", "--gpus", "2"],
            "Error: --gpus 2: launch.processes is 4, and each of these ranks needs a GPU",
        ),
        (["--params", "launch.backend=slurm"], "Error: launch.backend is slurm; for Kubernetes"),
        (["--params", "launch.nodes=0"], "Error: option launch.nodes"),
        (["--env", "nowhere"], "Error: "),
        (["--pipelin", "rl"], "Error: No such option"),
    ],
)
def test_what_kubernetes_would_refuse_is_one_line(
    project: Path, args: list[str], message: str
) -> None:
    done = kedro(project, "kubernetes", *NEEDED, *args)
    assert done.returncode != 0
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr
