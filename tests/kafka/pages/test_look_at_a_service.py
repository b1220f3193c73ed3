"""``ictc-look`` at a service that reads from Kafka: by its query interface, and in the store that it shares."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from nights import last_of_each, night
from stages import DONE_LIMIT_S, FOREVER, Process, Stage

import ictc
from benchmarks.neighbours.servers import RedisServer
from broker_filter.archive.look import main
from broker_filter.kafka.local_broker import free_port

OBJECTS, EPOCHS = 4, 5
ASKED = "ZTF26test002"


@dataclass(frozen=True)
class Running:
    """A service on a shared store that has answered a night and goes on."""

    address: str
    url: str  # of the store
    index: Path
    process: Process


def objects_with_all_alerts(address: str) -> int:
    """How many objects the service's index knows by every alert; 0 while the service does not answer."""
    try:
        with urllib.request.urlopen(f"{address}/api/objects", timeout=5) as answer:
            return sum(one["nAlerts"] == EPOCHS for one in json.load(answer)["objects"])
    except OSError:
        return 0


@pytest.fixture
def running(stage: Stage, shared: RedisServer, run: Callable[..., Process], tmp_path: Path) -> Iterator[Running]:
    """The service, until its pages know everything."""
    stage.publish(night(OBJECTS, EPOCHS))
    port, url, index = free_port(), f"redis://127.0.0.1:{shared.port}/0", tmp_path / "objects.sqlite"
    shares = ("--store.kind", "redis", "--store.url", url, "--http.index", str(index), "--http.api")
    process = run(stage.flags(tmp_path / "unused", *shares, "--http.port", str(port), *FOREVER))
    address, end_s = f"http://127.0.0.1:{port}", time.monotonic() + DONE_LIMIT_S
    while objects_with_all_alerts(address) < OBJECTS:
        assert process.running and time.monotonic() < end_s, process.text()[-3000:]
        time.sleep(0.2)
    yield Running(address, url, index, process)
    assert process.stop() == 0


def drawn(path: Path) -> bool:
    """Whether a picture shows anything."""
    return float(np.asarray(imread(path)).std()) > 0.05


def test_a_running_service_and_its_store_tell_what_was_published(
    running: Running, stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sheets come from the service and from the shared store beside it; the answers are those on the topic."""
    out, network = tmp_path / "sheet.png", ["--weights", str(stage.weights), "--allow-untrained"]
    assert main(["--service", running.address, "--object", ASKED, "--out", str(out)]) == 0 and drawn(out)
    assert main(["--service", running.address, "--out", str(out), "--each"]) == 0
    assert drawn(tmp_path / f"sheet-{ASKED}.png")
    store = ["--store", running.url, *network, "--out", str(out)]
    assert main([*store, "--index", str(running.index)]) == 0 and drawn(out)
    assert "classified again" not in capsys.readouterr().err
    assert main([*store, "--object", ASKED]) == 0 and drawn(out)
    assert "classified again" in capsys.readouterr().err
    with ictc.ServedObjects(running.address) as service:
        story = service.story(ASKED)
    published = last_of_each(stage.results())
    assert [one.alert_id for one in story.answers] == list(story.alert_ids)
    assert {one.alert_id for one in story.answers} == {
        alert for alert, result in published.items() if result["objectId"] == ASKED
    }
    for answer in story.answers:
        assert answer.probabilities == pytest.approx(published[answer.alert_id]["probabilities"], abs=1e-6)
