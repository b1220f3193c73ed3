"""How one supervisor begins, watches and ends several services; the services here only say that they are there."""

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from pretended import pretend, refuse
from prometheus_client.parser import text_string_to_metric_families

from broker_filter.config import HttpSettings, KafkaSettings, LifeSettings, OutputSettings, Settings, StoreSettings
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.local_broker import free_port
from broker_filter.service.main import main
from broker_filter.service.workers import labelled, settings_of, supervise

SHARED = StoreSettings(kind="redis", url="redis://127.0.0.1:1/0")
LIMIT_S = 60.0


class Wish:
    """The end, asked for by a test."""

    requested = False


def shared(**more) -> Settings:
    """Settings of two workers."""
    life = LifeSettings(workers=2, retry_first_s=0.1, drain_s=5.0)
    return Settings(store=SHARED, life=life, kafka=KafkaSettings(instance_id="night"), **more)


def page(port: int, path: str) -> tuple[int, str]:
    """What the supervisor answers; 0 where it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def wait_for(port: int, wanted: Callable[[str], bool]) -> str:
    """The front page, once it is as wanted."""
    deadline_s = time.monotonic() + LIMIT_S
    while not wanted(text := page(port, "/")[1]):
        assert time.monotonic() < deadline_s, text
        time.sleep(0.1)
    return text


def process_of(front: str, number: int) -> int:
    """The process that is a worker, as the front page tells."""
    line = next(line for line in front.splitlines() if line.startswith(f"worker {number}:"))
    return int(line.partition("process ")[2].partition(",")[0])


def test_an_embedded_store_is_for_one_process(capsys, tmp_path: Path):
    """Several workers on an embedded store are refused, with both ways out."""
    assert main(["--workers", "2", "--kafka.topics", "alerts", "--store.path", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "life.workers 2" in errors
    assert "store.kind redis" in errors


def test_a_span_is_read_by_one_process(capsys):
    """A night that is read apart goes to an embedded store, so that several workers are refused there too."""
    store = ("--store.kind", "redis", "--store.url", "redis://127.0.0.1:1/0")
    assert main(["--workers", "2", "--kafka.topics", "alerts", "--night", "20260101", *store]) == 2
    assert "set life.workers to 1" in capsys.readouterr().err


def test_the_query_interface_is_for_one_process():
    """An index that each worker would have for itself is not served as if it knew all."""
    with pytest.raises(ConfigurationError, match=r"http\.api with life\.workers 2"):
        settings_of(shared(http=HttpSettings(api=True)), 1)


def test_each_worker_has_its_own_name_and_port():
    """Workers differ in their static member, in order of their numbers, and share the cores out."""
    first, second = (settings_of(shared(), number) for number in (1, 2))
    assert (first.kafka.instance_id, second.kafka.instance_id) == ("night-1", "night-2")
    assert first.life.workers == 1
    assert (first.http.host, first.http.port, first.http.objects) == ("127.0.0.1", 0, False)
    assert first.model.threads == max((os.cpu_count() or 1) // 2, 1)


def test_transactions_have_names_that_come_back():
    """Exactly-once workers get an instance from the host where none is given, for a successor must end what is open."""
    settings = shared(output=OutputSettings(delivery="exactly_once"))
    nameless = settings.model_copy(update={"kafka": KafkaSettings()})
    names = {settings_of(nameless, number).kafka.instance_id for number in (1, 2)}
    assert len(names) == 2
    assert None not in names
    assert settings_of(shared().model_copy(update={"kafka": KafkaSettings()}), 1).kafka.instance_id is None


def test_what_is_measured_keeps_its_sum():
    """Samples of all workers stand under one family, told apart by a label, and none is lost."""
    text = '# HELP a_total Alerts.\n# TYPE a_total counter\na_total{{partition="0"}} {}\n'
    pages = [(n, list(text_string_to_metric_families(text.format(10 * n)))) for n in (1, 2)]
    (family,) = labelled(pages)
    assert {(s.labels["worker"], s.labels["partition"], s.value) for s in family.samples} == {
        ("1", "0", 10.0),
        ("2", "0", 20.0),
    }


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_all_end_in_order():
    """Two processes answer behind one port; one that is killed is started anew; the end leaves none behind."""
    port, wish, ended = free_port(), Wish(), []
    settings = shared(http=HttpSettings(port=port))
    supervisor = threading.Thread(target=lambda: ended.append(supervise(settings, wish, pretend)))
    supervisor.start()
    try:
        front = wait_for(port, lambda text: text.count(": ready;") == 2)
        assert page(port, "/healthz")[0] == page(port, "/readyz")[0] == HTTPStatus.OK
        measured = page(port, "/metrics")[1]
        assert 'ictc_alerts_read_total{partition="night-1",worker="1"} 3.0' in measured
        assert 'ictc_alerts_read_total{partition="night-2",worker="2"} 3.0' in measured
        assert measured.count("# TYPE ictc_alerts_read_total counter") == 1
        victim = process_of(front, 2)
        os.kill(victim, signal.SIGKILL)
        again = wait_for(port, lambda text: text.count(": ready;") == 2 and "start 2" in text)
        assert process_of(again, 2) != victim
    finally:
        wish.requested = True
        supervisor.join(LIMIT_S)
    assert ended == [0]
    for number in (1, 2):
        with pytest.raises(ProcessLookupError):
            os.kill(process_of(again, number), 0)


@pytest.mark.slow
def test_a_worker_that_cannot_go_on_ends_all():
    """The exit status of the worker that was refused is that of the whole."""
    settings = shared(http=HttpSettings(port=None))
    assert supervise(settings, Wish(), refuse) == 2
