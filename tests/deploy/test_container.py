"""The image, without a container engine: its file is linted and its install steps are run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from broker_filter.config import Settings


@pytest.fixture
def deploy(repo_root: Path) -> Path:
    return repo_root / "deploy"


def test_dockerfile_passes_hadolint(deploy: Path) -> None:
    """The Dockerfile follows the rules of hadolint, with none switched off."""
    hadolint = Path(sys.executable).with_name("hadolint")
    report = subprocess.run(
        [hadolint, deploy / "container" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert report.returncode == 0, report.stdout


def test_dockerfile_copies_what_exists(repo_root: Path, deploy: Path) -> None:
    """Every file that the image is made of is in the repository and is let through to the build."""
    dockerfile = (deploy / "container" / "Dockerfile").read_text()
    let_through = (repo_root / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (repo_root / name).exists(), name
            assert f"!{name}" in let_through


def test_image_ends_unprivileged_and_watched(deploy: Path) -> None:
    """Both targets come from a base that runs as a numbered user and has a health check."""
    dockerfile = (deploy / "container" / "Dockerfile").read_text()
    base = dockerfile.split("AS base")[1]
    assert "USER 10001:10001" in base
    assert "HEALTHCHECK" in base
    assert re.findall(r"^FROM base AS (\w+)$", base, re.MULTILINE) == ["cuda", "cpu"]


COMPOSE = shutil.which("docker-compose")


@pytest.mark.skipif(COMPOSE is None, reason="no docker-compose on this machine: install Docker Compose 2")
@pytest.mark.parametrize("profile", ["demo", "production"])
def test_compose_accepts_its_file(deploy: Path, profile: str) -> None:
    """Compose itself reads the file by its schema; it asks no container engine for that."""
    command = [str(COMPOSE), "-f", str(deploy / "compose" / "compose.yaml"), "--profile", profile, "config", "--quiet"]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stderr


def test_scripts_pass_shellcheck(repo_root: Path, deploy: Path) -> None:
    """The install script and what CI runs have no fault that shellcheck knows."""
    shellcheck = Path(sys.executable).with_name("shellcheck")
    scripts = [deploy / "container" / "install.sh", repo_root / ".ci" / "run"]
    report = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stdout


@pytest.mark.skipif("ICTC_TEST_INSTALL" not in os.environ, reason="downloads every package: set ICTC_TEST_INSTALL=1")
@pytest.mark.timeout(1200)
def test_install_steps_work_in_an_empty_place(deploy: Path, tmp_path: Path) -> None:
    """The script makes a prefix that runs by itself, lists what it holds, and holds neither pip nor a compiler."""
    prefix = tmp_path / "ictc"
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHON": sys.base_prefix + "/bin/python3",
    }
    subprocess.run([deploy / "container" / "install.sh", prefix, "cpu"], check=True, env=environment, cwd=tmp_path)
    listed = {
        component["name"].lower() for component in json.loads((prefix / "sbom.cdx.json").read_text())["components"]
    }
    assert {"torch", "confluent-kafka", "fastavro", "lmdb"} <= listed
    scripts = {script.name for script in (prefix / "bin").iterdir()}
    assert {"ictc-broker", "ictc-replay", "ictc-inspect"} <= scripts
    assert not {"pip", "pip3"} & scripts
    answer = subprocess.run(
        [prefix / "bin" / "ictc-replay", "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert "--rejects" in answer.stdout


def test_compose_pins_images_and_publishes_on_loopback_only(deploy: Path) -> None:
    """No image floats, no port listens beyond this host, and every mounted file of the repository exists."""
    folder = deploy / "compose"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert {"kafka", "schema-registry", "valkey", "prometheus", "alertmanager", "grafana", "broker"} <= services.keys()
    for name, service in services.items():
        assert re.search(r":(v?\d[\w.-]*|\$\{ICTC_TAG:-cpu\})$", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and "secrets" not in source:
                assert (folder / source).exists(), f"{name} mounts {source}"


@pytest.mark.parametrize("name", ["broker.demo.yaml", "broker.production.yaml"])
def test_compose_settings_are_settings_of_the_service(deploy: Path, name: str) -> None:
    """The settings that compose mounts are accepted by the service."""
    settings = Settings(**yaml.safe_load((deploy / "compose" / name).read_text()))
    assert settings.store.kind == "redis"
    assert settings.http.host == "0.0.0.0"
