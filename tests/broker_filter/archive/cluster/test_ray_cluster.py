"""The same on real Ray; starting it takes seconds on a quiet machine and fails on a busy one, so it is asked for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import packets
import pytest

from broker_filter.archive.cluster.ray_cluster import TASKS_PER_CORE, RayCluster, ray_cluster
from broker_filter.archive.replay import main
from broker_filter.errors import ConfigurationError

on_request = pytest.mark.skipif(
    not os.environ.get("ICTC_TEST_RAY"), reason="starts Ray: make test-ray (ICTC_TEST_RAY=1)"
)


def test_without_ray_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed the error names it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[archive\]'"), ray_cluster():
        pass


class Slow:
    """What of Ray the cluster asks for, with tasks that are done when they are waited for."""

    def __init__(self) -> None:
        self.given = self.done = self.most = 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0}

    def remote(self, **_: object) -> Callable[[object], SimpleNamespace]:
        return lambda _function: SimpleNamespace(remote=self._submit)

    def _submit(self, *arguments: Any) -> object:
        self.given += 1
        self.most = max(self.most, self.given - self.done)
        return arguments

    def wait(self, running: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        self.done += num_returns
        return running[-1:], running[:-1]

    def get(self, reference: Any) -> Any:
        return reference[-1]

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=LookupError)


def test_tasks_are_given_out_a_few_at_a_time() -> None:
    """However many there are, so many are under way as the cores can take and as many again; all are done once."""
    ray = Slow()
    tasks = ((number,) for number in range(100))
    done = dict(RayCluster(ray, None).run(lambda number: number, "decode", tasks))
    assert done == {number: number for number in range(100)}
    assert ray.most == 3 * TASKS_PER_CORE


@on_request
def test_a_replay_on_ray_equals_one_process(tmp_path: Path) -> None:
    """Records, accounts and rejects of a small night are the same bytes, the clock's fields aside."""
    night = tmp_path / "night"
    night.mkdir()
    for number in range(12):
        packet = packets.ztf_packet(
            object_id=f"ZTF21aaaaaa{'abc'[number % 3]}",
            candid=number + 1,
            jd=2_459_433.5 + number / 10,
            previous=3,
            stamps=packets.ztf_stamps(number),
        )
        (night / f"{(number * 7) % 13:02d}.avro").write_bytes(packet)
    (night / "broken.avro").write_bytes(b"Obj\x01 and no more")
    outputs = []
    for engine in ("process", "ray"):
        names = [tmp_path / f"{engine}.{suffix}" for suffix in ("csv", "json", "tar")]
        files = [*("--output", names[0]), *("--summary", names[1]), *("--rejects", names[2])]
        workers = ("--workers", "2") if engine == "ray" else ()
        options = ["--engine", engine, "--format", "csv", "--deterministic", *workers, *map(str, files)]
        assert main([str(night), *options]) == 0
        lines = names[0].read_text().splitlines()
        columns = [n for n, name in enumerate(lines[0].split(",")) if name not in CLOCK]
        cells = [[line.split(",")[n] for n in columns] for line in lines]
        outputs.append((cells, names[1].read_bytes(), names[2].read_bytes()))
    assert outputs[0] == outputs[1]


CLOCK = ("ingestTimestamp", "publicationTimestamp")
