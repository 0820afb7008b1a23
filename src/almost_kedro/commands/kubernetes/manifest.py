"""The manifest of a run: an indexed Job with a pod for each machine, and the pods' names.

Pod 0 runs Kedro, the others take part in its trainings (`kedro join`). What is lost with a pod is
a pod: Kubernetes starts another, and the run goes on from what is kept on the volume.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from almost_kedro.errors import UserError
from almost_kedro.options.launch import LaunchOptions

LABEL = "batch.kubernetes.io/job-name"
NAME = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?")
# Of things that are there already.
LONG_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i|m)?")
# Pods that may fail before the Job does; those that were moved away are not counted.
RETRIES = 10


@dataclass(frozen=True)
class Pod:
    """What each pod is made of.

    Attributes:
        name: Of the Job, and of the Service that gives its pods names.
        image: Has Python with the project's packages.
        volume: A PersistentVolumeClaim that all pods can write to.
        mount: Where it is mounted.
        folder: The project's, in the pods.
        gpus: On each pod.
        cpus: On each pod, such as "8" or "500m".
        memory: On each pod, such as "64Gi".
        secret: A Secret whose entries become environment variables (keys of servers, HF_TOKEN).
    """

    name: str
    image: str
    volume: str
    mount: str
    folder: str
    gpus: int
    cpus: str | None
    memory: str | None
    secret: str | None


def check_pod(pod: Pod, launch: LaunchOptions) -> None:
    """Raise UserError for what Kubernetes or the ranks would refuse once pods have waited."""
    if launch.backend == "slurm":
        raise UserError("launch.backend is slurm; for Kubernetes, leave it at local")
    if not NAME.fullmatch(pod.name):
        raise UserError(
            f"--name {pod.name}: Kubernetes takes up to 52 lower-case letters, digits and hyphens, "
            "a letter first"
        )
    for option, value in (("volume", pod.volume), ("secret", pod.secret)):
        if value is not None and not LONG_NAME.fullmatch(value):
            raise UserError(f"--{option} {value}: Kubernetes has no such names")
    for option, value in (("cpus", pod.cpus), ("memory", pod.memory)):
        if value is not None and not QUANTITY.fullmatch(value):
            raise UserError(f"--{option} {value}: no quantity of Kubernetes, such as 8 or 64Gi")
    for option, path in (("volume", pod.mount), ("folder", pod.folder)):
        if not path.startswith("/"):
            raise UserError(f"--{option}: {path!r} is no absolute path in the pods")
    if launch.config != "cpu" and pod.gpus < launch.processes:
        raise UserError(
            f"--gpus {pod.gpus}: launch.processes is {launch.processes}, and each of these ranks "
            "needs a GPU"
        )


def name_first_pod(pod: Pod) -> str:
    """Return the name under which the other pods reach the one that runs Kedro."""
    return f"{pod.name}-0.{pod.name}"


def build_manifest(pod: Pod, nodes: int, run_options: Sequence[str]) -> list[dict[str, Any]]:
    """Return the Service, if there are several pods, and the Job; `run_options` are Kedro's."""
    labels = {"app.kubernetes.io/name": "almost-kedro", "app.kubernetes.io/instance": pod.name}
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": pod.name, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": nodes,
            "parallelism": nodes,
            # When Kedro has ended well, the others need not.
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "backoffLimit": RETRIES,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            # Never two of one index at once: they would write to the same files.
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {"labels": labels},
                "spec": _build_pod(pod, nodes, run_options),
            },
        },
    }
    return [job] if nodes == 1 else [_build_service(pod, labels), job]


def _build_service(pod: Pod, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": pod.name, "labels": labels},
        "spec": {
            # Names only, from a pod's first moment on.
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL: pod.name},
        },
    }


def _build_pod(pod: Pod, nodes: int, run_options: Sequence[str]) -> dict[str, Any]:
    amounts = {"cpu": pod.cpus, "memory": pod.memory, "nvidia.com/gpu": pod.gpus or None}
    asked = {name: str(amount) for name, amount in amounts.items() if amount is not None}
    container = {
        "name": "almost-kedro",
        "image": pod.image,
        "workingDir": pod.folder,
        "command": ["python", "-m", "kedro", "join", *run_options],
        "resources": {"requests": asked, "limits": asked},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "work", "mountPath": pod.mount},
            # Ranks of one pod talk through it, and 64 MB is little.
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }
    if pod.secret:
        container["envFrom"] = [{"secretRef": {"name": pod.secret}}]
    spec = {
        "restartPolicy": "Never",
        # Nothing here speaks to Kubernetes.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": pod.volume}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    return spec if nodes == 1 else {"subdomain": pod.name, **spec}
