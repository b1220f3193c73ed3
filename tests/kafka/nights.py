"""Small nights of well-formed ZTF alerts, and what a replay makes of them."""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from broker_filter.archive.replay import main as replay

sys.path.insert(0, str(Path(__file__).parents[1] / "broker_filter"))
from packets import sky, ztf_packet, ztf_stamp

BROKEN = (b"", b"Obj\x01", b"no alert", b"Obj\x01 that breaks off")  # no alerts
FIRST_JD = 2_460_000.5
TIMES = ("ingestTimestamp", "publicationTimestamp", "alertTimestamp")


@cache
def night(objects: int = 6, epochs: int = 7) -> tuple[bytes, ...]:
    """Alerts of ``objects`` objects, one each per epoch, in order of time."""
    packets = []
    for epoch in range(epochs):
        for number in range(objects):
            stamps = {
                name: ztf_stamp((1 + 0.1 * epoch) * sky(1000 * number + 10 * epoch + i, 63))
                for i, name in enumerate(("cutoutScience", "cutoutTemplate", "cutoutDifference"))
            }
            packets.append(
                ztf_packet(
                    object_id=f"ZTF26test{number:03d}",
                    candid=1_000_000_000_000_000_000 + 1000 * epoch + number,
                    jd=FIRST_JD + epoch + number / 1000,
                    fid=1 + (epoch + number) % 2,
                    magpsf=18.0 + 0.2 * epoch,
                    previous=4,
                    stamps=stamps,
                )
            )
    return tuple(packets)


def replayed(packets: Sequence[bytes], weights: Path, folder: Path, *flags: str) -> dict[int, dict[str, Any]]:
    """What ``ictc-replay`` makes of these packets, by alert id."""
    source = folder / "archive"
    source.mkdir()
    for number, packet in enumerate(packets):
        (source / f"{number:05d}.avro").write_bytes(packet)
    output = folder / "replayed.jsonl"
    common = [
        "--weights",
        str(weights),
        "--allow-untrained",
        "--output",
        str(output),
        "--summary",
        str(folder / "summary"),
    ]
    assert replay([str(source), *common, *flags]) == 0
    return {line["alertId"]: line for line in map(orjson.loads, output.read_bytes().splitlines())}


def last_of_each(results: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The newest word on each alert: an object's classifications lie on one partition, in order."""
    return {result["alertId"]: result for result in results}


def assert_equal(live: dict[str, Any], other: dict[str, Any], tolerance: float) -> None:
    """Two classifications of one alert say the same."""
    assert (live["objectId"], live["nObservations"]) == (other["objectId"], other["nObservations"])
    assert live["probabilities"].keys() == other["probabilities"].keys()
    for name, probability in live["probabilities"].items():
        assert abs(probability - other["probabilities"][name]) <= tolerance
