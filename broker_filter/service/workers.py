"""A supervisor of several services: ``ictc broker --workers N``.

Each worker is a whole service in a process of its own: its consumer, its instance and its transactional id, on the
store that all share. Kafka deals the partitions out among them. One port serves what they measure together, with the
label ``worker``, and their health. A worker that was killed is started anew; one that cannot go on ends all.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from multiprocessing.connection import Connection

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from broker_filter.config import Settings
from broker_filter.errors import ConfigurationError
from broker_filter.logs import facts, logger
from broker_filter.monitoring.http import HttpServer, Page, Routes, application, is_loopback
from broker_filter.monitoring.metrics import METRICS
from broker_filter.service.cores import usable_cores
from broker_filter.service.retries import wait_s
from broker_filter.service.stop import Stop

LOOK_EVERY_S = 1.0
ANSWER_LIMIT_S = 5.0  # of a worker that is asked for a page
END_MARGIN_S = 15.0  # beyond life.drain_s, to leave the group and close the store
STEADY_S = 60.0  # a worker that ran so long is started anew without a longer wait
LOOPBACK = "127.0.0.1"
_METRIC = next(row for row in METRICS if row.name == "ictc_worker_up")
log = logger("workers")

Run = Callable[[Settings, Callable[[str], None]], int]  # a worker: settings, who is told its address -> exit status


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker said of itself, and when it did not answer, why."""

    good: bool
    text: str


def settings_of(settings: Settings, number: int) -> Settings:
    """What worker ``number`` (from 1) is told: its own name and a port of its own on loopback.

    Raises
    ------
    ConfigurationError
        For what several processes cannot do: the query interface, over an index that each would have for itself.
    """
    life, kafka = settings.life, settings.kafka
    if settings.http.api:
        raise ConfigurationError(
            f"http.api with life.workers {life.workers}: the index of objects belongs to one process; "
            "leave one of the two out"
        )
    instance = kafka.instance_id
    if instance is None and settings.output.delivery == "exactly_once":
        instance = socket.gethostname()  # a worker that is started anew ends the transactions that it left open
    # Cores are shared out, unless somebody has decided.
    threads = settings.model.threads or max(usable_cores() // life.workers, 1)
    http = {"host": LOOPBACK, "port": 0, "objects": False}
    return settings.model_copy(
        update={
            "life": life.model_copy(update={"workers": 1}),
            "kafka": kafka.model_copy(update={"instance_id": instance and f"{instance}-{number}"}),
            "http": settings.http.model_copy(update=http),
            "model": settings.model.model_copy(update={"threads": threads}),
        }
    )


class WorkerProcess:
    """One process, and the next one in its place.

    Parameters
    ----------
    number
        From 1.
    settings
        Its own.
    run
        What it does; a function of a module, for it is called in another process.
    """

    def __init__(self, number: int, settings: Settings, run: Run) -> None:
        self.number, self._settings, self._run = number, settings, run
        self.address: str | None = None
        self.health = self.readiness = Answer(False, "not started")
        self.starts = 0
        self._kills, self._due_s, self._begun_s = 0, 0.0, 0.0  # kills since one that lasted
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs or before it was started."""
        return None if self._process is None else self._process.exitcode

    @property
    def pid(self) -> int | None:
        """Of the newest process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin, in a fresh interpreter."""
        context = multiprocessing.get_context("spawn")  # librdkafka, torch and threads do not survive a fork
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_worker, args=(self._run, self._settings, theirs))
        self._process.start()
        theirs.close()
        self._pipe, self.address = ours, None
        self.health = self.readiness = Answer(False, "starts")
        self.starts, self._begun_s = self.starts + 1, time.monotonic()
        log.info("worker begins", extra=facts(worker=self.number, pid=self._process.pid, starts=self.starts))

    def start_anew(self) -> None:
        """After a kill: begin once more, later each time that it did not last."""
        now_s = time.monotonic()
        if self._due_s == 0.0:
            self._kills = 1 if now_s - self._begun_s > STEADY_S else self._kills + 1
            pause_s = wait_s(self._settings.life, self._kills)
            log.warning(
                "worker was killed, the next one begins in %.1f s",
                pause_s,
                extra=facts(worker=self.number, signal=-(self.status or 0)),
            )
            self.health = self.readiness = Answer(False, f"was killed by signal {-(self.status or 0)}")
            self._due_s = now_s + pause_s
        elif now_s >= self._due_s:
            self._due_s = 0.0
            self.start()

    def look(self) -> None:
        """Ask it how it is."""
        self._hear()
        if self.status is None:
            self.health, self.readiness = self._verdict("/healthz"), self._verdict("/readyz")

    def metrics(self) -> list[Family]:
        """What it measures; nothing where it does not answer."""
        try:
            return list(text_string_to_metric_families(self._page("/metrics")[1]))
        except (OSError, HTTPException, ValueError):
            return []

    def end(self) -> None:
        """Ask for an orderly end."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()

    def wait(self, limit_s: float) -> None:
        """Until it has ended; killed after the limit."""
        if self._process is None:
            return
        self._process.join(max(limit_s, 0.0))
        if self._process.is_alive():
            log.error("worker does not end and is killed", extra=facts(worker=self.number, pid=self._process.pid))
            self._process.kill()
            self._process.join()

    def _hear(self) -> None:
        """The address of its pages, which it tells once."""
        try:
            if self.address is None and self._pipe is not None and self._pipe.poll():
                self.address = str(self._pipe.recv())
        except (EOFError, OSError):
            self._pipe = None

    def _verdict(self, path: str) -> Answer:
        if self.address is None:
            return Answer(path == "/healthz", "starts")
        try:
            status, text = self._page(path)
        except (OSError, HTTPException) as error:
            return Answer(False, f"does not answer: {error}")
        return Answer(status == HTTPStatus.OK, text.strip())

    def _page(self, path: str) -> tuple[int, str]:
        if self.address is None:
            raise ConnectionError("it has not told its address yet")
        with closing(HTTPConnection(self.address.removeprefix("http://"), timeout=ANSWER_LIMIT_S)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


class Together:
    """What the workers measure, as one page: every sample with the label ``worker``."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self._workers = workers
        self._pool = ThreadPoolExecutor(len(workers), "metrics")
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Family]:
        """For prometheus_client."""
        up = GaugeMetricFamily(_METRIC.name, _METRIC.help, labels=_METRIC.labels)
        for worker in self._workers:
            up.add_metric([str(worker.number)], float(worker.health.good and worker.status is None))
        yield up
        pages = self._pool.map(WorkerProcess.metrics, self._workers)
        yield from labelled(zip((worker.number for worker in self._workers), pages, strict=True))

    def describe(self) -> Iterable[Family]:
        """Nothing to compare names with: they are the workers'."""
        return ()

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def labelled(pages: Iterable[tuple[int, Iterable[Family]]]) -> list[Family]:
    """The families of many workers as one of each name, every sample with the label ``worker``."""
    joined: dict[str, Family] = {}
    for number, families in pages:
        for family in families:
            into = joined.setdefault(family.name, Family(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.samples.append(sample._replace(labels={**sample.labels, "worker": str(number)}))
    return list(joined.values())


def supervise(settings: Settings, stop: Stop, run: Run) -> int:
    """Run ``life.workers`` services until they end or the end is asked for; return the exit status.

    That is the one of the first worker that cannot go on, where one cannot; the others have ended in order.
    """
    workers = [
        WorkerProcess(number, settings_of(settings, number), run) for number in range(1, settings.life.workers + 1)
    ]
    if settings.http.port is not None and settings.http.objects:
        log.info("no pages of objects: their index belongs to one process", extra=facts(workers=len(workers)))
    with ExitStack() as stack:
        if settings.http.port is not None:
            together = Together(workers)
            stack.callback(together.close)
            names = settings.http.host_names if is_loopback(settings.http.host) else None
            app = application(*_routes(workers, together), host_names=names)
            server = stack.enter_context(HttpServer(settings.http.host, settings.http.port, app))
            log.info("pages", extra=facts(address=server.address))
        stack.callback(_end_all, workers, settings.life.drain_s + END_MARGIN_S)
        for worker in workers:
            worker.start()
        while not stop.requested and any(worker.status != 0 for worker in workers):
            time.sleep(LOOK_EVERY_S)
            for worker in workers:
                if worker.status is None:
                    worker.look()
                elif worker.status < 0:
                    worker.start_anew()
                elif worker.status > 0:
                    log.error("a worker cannot go on: all end", extra=facts(worker=worker.number, status=worker.status))
                    return worker.status
    return 1 if any(worker.status for worker in workers) else 0  # not all of them ended well


def _end_all(workers: Sequence[WorkerProcess], limit_s: float) -> None:
    """Orderly ends side by side."""
    for worker in workers:
        worker.end()
    until_s = time.monotonic() + limit_s
    for worker in workers:
        worker.wait(until_s - time.monotonic())


def _routes(workers: Sequence[WorkerProcess], together: Together) -> tuple[Routes, Routes]:
    """Pages that ask the workers, and those that tell what was last heard of them."""

    def page_of(of: Callable[[WorkerProcess], Answer]) -> Page:
        answers = [(worker.number, of(worker)) for worker in workers]
        good = all(answer.good for _, answer in answers)
        text = "".join(f"worker {number}: {answer.text}\n" for number, answer in answers)
        return Page(text.encode(), status=HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)

    def front() -> Page:
        lines = [f"{len(workers)} workers; what they measure together is at /metrics"]
        for w in workers:
            lines.append(f"worker {w.number}: {w.readiness.text}; process {w.pid}, start {w.starts}, pages {w.address}")
        return Page("\n".join([*lines, ""]).encode())

    pages: Routes = {"/": front, "/metrics": lambda: Page(generate_latest(together.registry), CONTENT_TYPE_LATEST)}
    return pages, {"/healthz": lambda: page_of(lambda w: w.health), "/readyz": lambda: page_of(lambda w: w.readiness)}


def _worker(run: Run, settings: Settings, pipe: Connection) -> None:
    """The process of a worker, which ends with its supervisor."""
    os.setsid()  # a ctrl-C at the terminal is the supervisor's, who asks for an orderly end
    threading.Thread(target=_end_with_supervisor, args=(pipe,), name="supervisor", daemon=True).start()
    raise SystemExit(run(settings, pipe.send))


def _end_with_supervisor(pipe: Connection) -> None:
    try:
        pipe.recv()  # nothing is ever sent: it returns when the other end is gone
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
