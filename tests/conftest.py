"""What every test may ask for: the folder of real data, if there is one."""

import os
import signal
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Hear ctrl-C whoever started us: jobs in the background of a shell ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds pyproject.toml."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real survey data; tests that need it are skipped without it."""
    folder = Path(os.environ.get("ICTC_SHARED_DATA", REPO_ROOT.parent / "shared" / "data"))
    if not (folder / "alerts").is_dir():
        pytest.skip(f"no real alerts at {folder}: set ICTC_SHARED_DATA to their folder")
    return folder
