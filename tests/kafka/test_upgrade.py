"""An upgrade of the weights: the new ones run beside the old ones, then take their place."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nights import night
from stages import FOREVER, Stage
from watching import wait_until

from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.service.store_command import main as store_command
from model.serving.predictor import untrained
from model.serving.weights import save


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Weights of the same shape, trained otherwise."""
    path = tmp_path / "newer"
    save(path, *untrained("ztf", "convention", seed=2, frame_limit=9, layers=1, size=16))
    return path.with_suffix(".safetensors")


def test_beside_and_then_instead(stage: Stage, run: Any, newer: Path, tmp_path: Path) -> None:
    """With a copy of the store, a group and a topic of its own the new one answers every alert from as many
    observations as the old one, which goes on as ever; then it goes on where the old one stopped."""
    packets = list(night(4, 6))
    blue = run(stage.flags(tmp_path / "blue", *FOREVER))
    stage.publish(packets[:8])
    wait_until(lambda: len(stage.results()) == 8)

    assert store_command(["backup", str(tmp_path / "green"), "--path", str(tmp_path / "blue")]) == 0
    green_topic = f"{stage.outputs}-green"
    own = ("--kafka.group", f"{stage.name}-green", "--output.topic", green_topic, "--output.create-topics")
    with_new = replace(stage, weights=newer)
    green = run(with_new.flags(tmp_path / "green", *FOREVER, *own, "--output.partitions", str(stage.partitions)))
    green.wait_for("partitions assigned")
    stage.publish(packets[8:16])
    wait_until(lambda: len(stage.results()) == 16 and len(stage.results(green_topic)) == 16)
    known = {result["alertId"]: result["nKnown"] for result in stage.results()}
    answers = stage.results(green_topic)
    assert {result["alertId"]: result["nKnown"] for result in answers} == known
    (old_version,) = {result["classifierVersion"] for result in stage.results()}
    (new_version,) = {result["classifierVersion"] for result in answers}
    assert old_version != new_version

    assert green.stop() == 0
    assert blue.stop() == 0
    stage.publish(packets[16:])
    swapped = run(with_new.flags(tmp_path / "blue", *FOREVER))
    wait_until(lambda: len(stage.results()) == len(packets))
    assert swapped.stop() == 0
    later = [result for result in stage.results() if result["alertId"] not in known]
    assert {result["classifierVersion"] for result in later} == {new_version}
    assert {result["nKnown"] for result in later} == {5, 6}
    Admin(KafkaSettings(brokers=stage.brokers)).delete([green_topic])
