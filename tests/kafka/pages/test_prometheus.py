"""The service as Prometheus sees it: a night with three processes, one killed, and every panel and rule answering."""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from nights import BROKEN, night
from servers_or_skip import or_skipped
from stages import Stage, replica_flags
from watching import newest_of_each, wait_until_classified

from benchmarks.neighbours.servers import RULES, Prometheus, RedisServer, prometheus
from broker_filter.kafka.local_broker import free_port
from model.serving.card import UnknownScore
from model.serving.predictor import untrained
from model.serving.weights import save

DASHBOARDS = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"
DRAW = DASHBOARDS.parent / "draw.py"
ANSWER_LIMIT_S = 15.0
COMPARISON = re.compile(r"(==|!=|>=|<=|>|<)(?=\s*[0-9])")


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes each second."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with or_skipped(prometheus(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small weights whose card has an unknown score, and validation scores, as that of trained ones."""
    path = tmp_path_factory.mktemp("weights") / "calibrated"
    network, card = untrained("ztf", "convention", seed=1, frame_limit=9, layers=1, size=16)
    scores = {"validation_scores": {"accuracy": 0.5}}
    save(path, network, replace(card, unknown=UnknownScore(), provenance=scores))
    return path.with_suffix(".safetensors")


def rules() -> list[dict[str, str]]:
    """Recording and alert rules."""
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def panel_expressions() -> Iterator[tuple[str, str]]:
    """Dashboard and panel, and what it asks."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"].replace("$instance", ".*")


def always(expression: str) -> str:
    """An alert's expression that answers 0 or 1 where the alert is silent or not, if it has what it asks for.

    Nobody waits for a day here, so today's share stands for yesterday's.
    """
    return COMPARISON.sub(r"\1 bool", expression).replace("offset 1d", "")


def answers(server: Prometheus, expression: str) -> bool:
    """At least one finite number, zero being one."""
    return any(math.isfinite(float(sample["value"][1])) for sample in server.ask(expression))


def silent(server: Prometheus) -> list[str]:
    """Everything that answers nothing."""
    expressions = list(panel_expressions())
    expressions += [(rule["record"], rule["record"]) for rule in rules() if "record" in rule]
    expressions += [(rule["alert"], always(rule["expr"])) for rule in rules() if "alert" in rule]
    return [f"{what}: {expression}" for what, expression in expressions if not answers(server, expression)]


def value(server: Prometheus, expression: str) -> float:
    """The one number that an expression is."""
    (sample,) = server.ask(expression)
    return float(sample["value"][1])


def wait_until_seen(server: Prometheus, processes: int) -> None:
    """Until Prometheus has scraped the counters of every process at zero; it takes new targets every five seconds."""
    deadline_s = time.monotonic() + ANSWER_LIMIT_S
    while len(server.ask("count by (instance) (ictc_alerts_read_total)")) < processes:
        assert time.monotonic() < deadline_s, "Prometheus does not see every process"
        time.sleep(0.2)


def test_a_night_with_every_panel_answering(
    wide: Stage, shared: RedisServer, watcher: Prometheus, calibrated: Path, run: Any, tmp_path: Path
) -> None:
    """Three processes, one killed: accounts exact all the while, and no panel and no rule without an answer."""
    stage = replace(wide, weights=calibrated)
    packets = list(night(9, 10))
    half = len(packets) // 2
    flags = replica_flags(stage, shared.url)
    ports = [free_port() for _ in range(3)]
    processes = [run([*flags, "--http.port", str(port)]) for port in ports]
    watcher.watch([f"127.0.0.1:{port}" for port in ports])
    for process in processes:
        process.wait_for("partitions assigned")
    wait_until_seen(watcher, len(ports))
    stage.publish([*packets[:half], *BROKEN])
    for process in processes:
        process.wait_for('"event":"batch"')
    processes[0].kill()
    stage.publish(packets[half:])
    wait_until_classified(stage, len(packets), processes[1:])

    deadline_s = time.monotonic() + ANSWER_LIMIT_S
    while (missing := silent(watcher)) and time.monotonic() < deadline_s:
        time.sleep(0.5)
    assert not missing, "\n".join(missing)
    for dashboard in sorted(DASHBOARDS.glob("*.json")):
        png = tmp_path / f"{dashboard.stem}.png"
        command = [sys.executable, DRAW, dashboard.stem, "--prometheus", watcher.url, "--minutes", "1", "--png", png]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""  # no panel without data
        assert png.read_bytes().startswith(b"\x89PNG")
    over_time = watcher.ask_range("ictc:alerts_unaccounted", 120)
    assert {float(number) for sample in over_time for _, number in sample["values"]} == {0.0}
    newest = newest_of_each(stage.results())
    assert len(newest) == len(packets)
    assert {m.value() or b"" for m in stage.read(stage.dead_letters)} == set(BROKEN)
    rejected = value(watcher, "sum(max_over_time(ictc_alerts_rejected_total[5m]))")
    assert rejected <= len(stage.read(stage.dead_letters))
    assert value(watcher, 'count(up{job="ictc"} == 0)') == 1
    assert {alert["metric"]["alertname"] for alert in watcher.ask('ALERTS{alertstate="firing"}')} == {"IctcUntrained"}
    assert value(watcher, "sum(ictc_alerts_read_total)") == value(
        watcher,
        "sum(ictc_alerts_classified_total) + sum(ictc_alerts_not_classified_total) + sum(ictc_alerts_rejected_total)",
    )


def test_without_prometheus_nothing_changes(wide: Stage, shared: RedisServer, watcher: Prometheus, run: Any) -> None:
    """Nobody scrapes any more, even in the midst of an answer: the stream goes on."""
    port = free_port()
    service = run([*replica_flags(wide, shared.url), "--http.port", str(port)])
    watcher.watch([f"127.0.0.1:{port}"])
    packets = list(night(6, 2))
    wide.publish(packets[:6])
    service.wait_for('"event":"batch"')
    watcher.process.kill()
    wide.publish(packets[6:])
    wait_until_classified(wide, len(packets), [service])
    assert service.stop() == 0
