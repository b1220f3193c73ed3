"""A running service as tests see it: its pages, its log, what it has published and committed."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition
from stages import DONE_LIMIT_S, Process, Stage

from broker_filter.kafka.clients import LIBRARY_LOG


def wait_until(met: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Ask until it is so; give up silently, for the caller asserts."""
    deadline_s = time.monotonic() + limit_s
    while not met() and time.monotonic() < deadline_s:
        time.sleep(0.2)


def page(port: int, path: str) -> tuple[int, str]:
    """What a page of the service says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metric(port: int, name: str) -> float:
    """The sum of one metric over its labels."""
    lines = page(port, "/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def log_lines(process: Process, event: str) -> list[dict[str, Any]]:
    """What a process said of one kind of event; a line that a kill cut off does not count."""
    lines = []
    for text in process.text().splitlines():
        if text.startswith("{") and text.endswith("}"):
            line = orjson.loads(text)
            if line["event"] == event:
                lines.append(line)
    return lines


def committed(stage: Stage) -> dict[int, int]:
    """Offsets that the group has committed, by partition."""
    consumer = Consumer({"bootstrap.servers": stage.brokers, "group.id": stage.name}, logger=LIBRARY_LOG)
    try:
        partitions = [TopicPartition(stage.alerts, p) for p in range(stage.partitions)]
        return {p.partition: p.offset for p in consumer.committed(partitions, 10)}
    finally:
        consumer.close()


def newest_of_each(results: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The newest word on each alert, whoever published it in whatever order: it knew of the most observations."""
    newest: dict[int, dict[str, Any]] = {}
    for result in results:
        if result["alertId"] not in newest or result["nKnown"] > newest[result["alertId"]]["nKnown"]:
            newest[result["alertId"]] = result
    return newest


def wait_until_classified(stage: Stage, wanted: int, processes: Sequence[Process]) -> None:
    """Until every alert came back at least once in the output."""
    deadline_s = time.monotonic() + DONE_LIMIT_S
    while len(newest_of_each(stage.results())) < wanted:
        assert time.monotonic() < deadline_s, "\n".join(p.text()[-1500:] for p in processes)
        time.sleep(0.3)
