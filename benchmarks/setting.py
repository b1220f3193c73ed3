"""Machine, versions and commit that a number was measured on. No benchmark by itself."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REPO_ROOT = Path(__file__).resolve().parents[1]


def shared_data() -> Path | None:
    """Return the folder of real data, or None where there is none."""
    folder = Path(os.environ.get("ICTC_SHARED_DATA", REPO_ROOT.parent / "shared" / "data"))
    return folder if (folder / "alerts").is_dir() else None


def describe(*packages: str) -> str:
    """Return machine, Python, versions of packages and commit in two lines."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}\n"
        f"Python {sys.version.split()[0]}, {versions}, commit {_commit()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=REPO_ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
