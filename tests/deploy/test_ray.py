"""The files that start a replay on a cluster say what the program and Kubernetes understand."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker_filter.archive.archive_options import checked, parser


@pytest.fixture
def job(repo_root: Path) -> dict[str, Any]:
    """The RayJob."""
    manifest: dict[str, Any] = yaml.safe_load((repo_root / "deploy" / "ray" / "rayjob.yaml").read_text("utf-8"))
    return manifest


@pytest.mark.slow
def test_every_pod_of_the_job_is_valid_kubernetes(job: dict[str, Any]) -> None:
    """Templates of submitter, head and workers are pods that Kubernetes takes."""
    import kubernetes_validate  # it makes parsers

    cluster = job["spec"]["rayClusterSpec"]
    templates = [
        job["spec"]["submitterPodTemplate"],
        cluster["headGroupSpec"]["template"],
        *(group["template"] for group in cluster["workerGroupSpecs"]),
    ]
    for template in templates:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, "1.33", strict=True)


def test_the_entrypoint_is_a_command_of_ours(job: dict[str, Any]) -> None:
    """Its options are known and go together."""
    program, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "ictc-replay"
    options = checked(parser(), parser().parse_args(arguments))
    assert (options.engine, options.address) == ("ray", "auto")


def test_the_job_asks_for_the_version_of_ray_that_is_pinned(job: dict[str, Any], repo_root: Path) -> None:
    """Cluster and driver speak the same Ray."""
    pins = (repo_root / "constraints.txt").read_text().splitlines()
    assert f"ray=={job['spec']['rayClusterSpec']['rayVersion']}" in pins


def test_the_batch_script_is_sound_shell(repo_root: Path) -> None:
    """shellcheck finds nothing in it."""
    program = Path(sys.executable).with_name("shellcheck")
    script = repo_root / "deploy" / "ray" / "replay.slurm"
    done = subprocess.run([program, "-s", "bash", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
