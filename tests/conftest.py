"""The folder of real data, and which tests share a worker and which are left out of the quick loop."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from survey_alerts import SurveyAlerts

TESTS = Path(__file__).resolve().parent
REPO_ROOT = TESTS.parent
# What the tests of a folder or file need and the quick loop leaves out; single tests say so by a mark of their own.
NEEDS = {
    "adapters/test_boom.py": "export",
    "benchmarks/test_controls.py": "sky",
    "broker_filter/kafka/test_sink.py": "slow",
    "broker_filter/look/test_story.py": "sky",
    "broker_filter/test_demo.py": "broker",
    "broker_filter/web/test_looking_elsewhere.py": "sky",
    "ictc/test_public_classifier.py": "sky",
    "kafka": "broker",
    "model/serving/test_export.py": "export",
    "model/simulation": "sky",
    "model/training": "training",
    "test_survey_alerts.py": "sky",
}
# Marks of what takes long: such tests begin first, so that no worker is left alone with one at the end.
LONG = ("broker", "training", "sky", "export", "slow")
LONGEST_NAME_BYTES = 16
YOUNG_OBJECTS = 10_000  # made before the collector looks for garbage among them; 700 by default

# The same examples on every run, however long one takes here: ``make fuzz`` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors; and workers, not threads, fill the cores


def pytest_configure() -> None:
    """Hear ctrl-C whoever started us: jobs in the background of a shell ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Never look for garbage among what modules hold: the collector's passes took a sixth of the quick loop."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    gc.enable()
    return result


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of which ``-m`` leaves out every test."""
    left_out = {f"not {need}" for need in needs_of(collection_path)}
    return True if left_out & set(config.option.markexpr.split(" and ")) else None


def needs_of(path: Path) -> list[str]:
    """What every test of a file or folder needs."""
    return [need for folder, need in NEEDS.items() if path.is_relative_to(TESTS / folder)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file's tests one worker, and all that talk to the Kafka-protocol broker one too: it is started once.

    What they share is made once so. Groups of ``--dist loadgroup`` do nothing under pytest 9.2 (pytest-xdist #1386).
    """
    from xdist.scheduler import LoadFileScheduling

    class OneBroker(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "broker" if "broker" in needs_of(config.rootpath / file) else file

    return OneBroker(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what files and folders need, and let what takes long begin first."""
    for item in items:
        for need in needs_of(item.path):
            item.add_marker(need)
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in LONG))  # stable


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes by their length: compressed ones differ from run to run, and workers must agree on names."""
    if isinstance(val, bytes) and len(val) > LONGEST_NAME_BYTES:
        return f"{argname} of {len(val)} bytes"
    return None


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


@pytest.fixture(scope="session")
def survey_alerts(tmp_path_factory: pytest.TempPathFactory) -> "SurveyAlerts":
    """Alerts of both surveys with their manifests: real ones, or simulated ones that stand in for them."""
    from survey_alerts import SurveyAlerts, write_stand_in  # the sky's imports: not for every run and worker

    folder = Path(os.environ.get("ICTC_SHARED_DATA", REPO_ROOT.parent / "shared" / "data"))
    if (folder / "alerts").is_dir():
        return SurveyAlerts(folder, real=True)
    return write_stand_in(tmp_path_factory.mktemp("survey"))
