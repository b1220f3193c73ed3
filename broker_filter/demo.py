"""``make demo``: a broker, a small simulated night, the real service, and its classifications as they come.

Everything runs on loopback and ends by itself. With ICTC_BROKERS=host:port a real Kafka takes the local broker's place.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker_filter.config import KafkaSettings
from broker_filter.errors import FatalError, RetryableError
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG, common_configuration
from broker_filter.kafka.local_broker import BROKERS_VARIABLE, QUICK_GROUP, free_port, local_broker
from model.serving.card import WeightsError, find, load_card
from model.simulation.alerts.night import write_night

OBJECTS, NIGHTS, SEED = 30, 20, 7
PARTITIONS = 4
BROKEN = (b"", b"neither Avro nor anything else", b"Obj\x01 that breaks off")  # what also comes along in real life
DEMO_LIMIT_S = 110.0
STOP_LIMIT_S = 20.0
BAR_WIDTH = 20

Packet = tuple[bytes, dict[str, Any]]
Look = Callable[[str], None]


def main(objects: int = OBJECTS, nights: int = NIGHTS, look: Look | None = None) -> int:
    """Run the demo; 0 when every alert came back classified or with a reason.

    Parameters
    ----------
    look
        Called with the address of the status page when all is classified, before the service is told to end.
    """
    console = Console()
    begun_s = time.monotonic()
    try:
        with ExitStack() as stack:
            brokers = os.environ.get(BROKERS_VARIABLE)
            if brokers is None:
                brokers = stack.enter_context(local_broker()).address
                console.print(f"A Kafka-protocol broker listens on {brokers}.")
            good = Demo(console, brokers, stack).run(objects, nights, begun_s + DEMO_LIMIT_S, look)
    except (FatalError, RetryableError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    console.print(f"Done in {time.monotonic() - begun_s:.0f} s.")
    return 0 if good else 1


class Demo:
    """One demonstration under way."""

    def __init__(self, console: Console, brokers: str, stack: ExitStack) -> None:
        self._console, self._brokers, self._stack = console, brokers, stack
        name = f"ictc-demo-{os.getpid()}"
        self._alerts, self._outputs, self._dead_letters = (f"{name}-{kind}" for kind in ("alerts", "out", "dead"))
        self._metrics_port = free_port()
        self._truth: dict[int, str] = {}

    def run(self, objects: int, nights: int, deadline_s: float, look: Look | None = None) -> bool:
        """Publish, classify, show; True when the accounts agree."""
        topics = (self._alerts, self._outputs, self._dead_letters)
        admin = Admin(KafkaSettings(brokers=self._brokers))
        admin.create(topics, PARTITIONS)
        self._stack.callback(admin.delete, topics)
        night = self._make_night(objects, nights)
        published = self._publish(night)
        service = self._stack.enter_context(self._service())
        seen = self._show(published, service, deadline_s)
        exposed = self._read_metrics(published)
        if look is not None:
            look(f"http://127.0.0.1:{self._metrics_port}/")
        service.send_signal(signal.SIGTERM)
        code = service.wait(STOP_LIMIT_S)
        self._compare(seen)
        return self._conclude(published, seen, exposed, code)

    def _make_night(self, objects: int, nights: int) -> list[Packet]:
        self._console.print(f"Simulating what ZTF would send of {objects} objects within {nights} nights ...")
        night = list(write_night("ztf", objects, nights, SEED))
        self._truth = {truth["alert_id"]: truth["label"] for _, truth in night}
        return night

    def _publish(self, night: Sequence[Packet]) -> int:
        producer = Producer(self._configuration() | {"linger.ms": 20}, logger=LIBRARY_LOG)
        reports: list[KafkaError | None] = []

        def report(error: KafkaError | None, _message: Message) -> None:
            reports.append(error)

        for packet, truth in night:
            producer.produce(self._alerts, packet, key=truth["object_id"], on_delivery=report)
        for rubbish in BROKEN:
            producer.produce(self._alerts, rubbish, on_delivery=report)
        producer.flush(STOP_LIMIT_S)
        count = len(night) + len(BROKEN)
        if (taken := reports.count(None)) < count:
            raise RetryableError(f"Kafka at {self._brokers} took {taken} of {count} alerts in {STOP_LIMIT_S:g} s")
        self._console.print(f"Published {count} messages to {self._alerts}, {len(BROKEN)} of them broken.")
        return count

    @contextmanager
    def _service(self) -> Iterator[subprocess.Popen[bytes]]:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-demo-")))
        group = " ".join(f"--kafka.consumer {key}={value}" for key, value in QUICK_GROUP.items())
        flags = (
            f"--kafka.brokers {self._brokers} --kafka.topics {self._alerts} --kafka.group {self._alerts} {group} "
            f"--output.topic {self._outputs} --dead-letter.topic {self._dead_letters} --batch.alert-limit 16 "
            f"--model.weights ztf {'' if _is_trained() else '--allow-untrained '}--store.path {folder / 'store'} "
            f"--http.port {self._metrics_port} --log.format json"
        )
        self._console.print(f"\n[bold]ictc-broker {flags}[/bold]\n", soft_wrap=True)
        log_path = folder / "service.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "broker_filter.service.main", *flags.split()], stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.returncode != 0:
                self._console.print(log_path.read_text("utf-8", "replace")[-3000:], markup=False)

    def _show(self, published: int, service: subprocess.Popen[bytes], deadline_s: float) -> list[dict[str, Any]]:
        """Print classifications as they come, until there is one for each good alert."""
        consumer = Consumer(
            self._configuration() | {"group.id": "none", "enable.auto.commit": False}, logger=LIBRARY_LOG
        )
        self._stack.callback(consumer.close)
        consumer.assign([TopicPartition(self._outputs, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
        wanted, alerts = published - len(BROKEN), set[int]()
        seen: list[dict[str, Any]] = []
        while len(alerts) < wanted and time.monotonic() < deadline_s and service.poll() is None:
            for message in consumer.consume(100, 0.2):
                if message.error() is not None:
                    continue
                (record,) = fastavro.reader(io.BytesIO(message.value() or b""))
                assert isinstance(record, dict)
                if not record["revision"]:
                    alerts.add(record["alertId"])
                seen.append(record)
                self._console.print(self._line(record), soft_wrap=True)
        return seen

    def _line(self, record: dict[str, Any]) -> Text:
        truth = self._truth.get(record["alertId"], "?")
        line = Text(f"{record['objectId']}  MJD {record['mjd']:.4f} {record['band']}  ")
        line.append(f"{record['nObservations']:3} observations  ")
        if not record["probabilities"]:
            return line.append(f"{'not classified: ' + record['reason']:44}", "yellow").append(f"  simulated: {truth}")
        best, probability = max(record["probabilities"].items(), key=lambda item: item[1])
        bar = "█" * round(BAR_WIDTH * probability)
        line.append(f"{best:9} {probability:4.2f} ", "bold").append(f"{bar:{BAR_WIDTH}}", "cyan")
        return line.append(f"  simulated: {truth}{', revised' if record['revision'] else ''}")

    def _read_metrics(self, published: int) -> dict[str, float]:
        """Counters by name and reason, as soon as they hold what was published."""
        address = f"http://127.0.0.1:{self._metrics_port}/metrics"
        patience_s = time.monotonic() + STOP_LIMIT_S
        while True:
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    text = answer.read().decode()
            except OSError as error:
                limit = f"{DEMO_LIMIT_S:.0f} s"
                raise RetryableError(
                    f"the service did not begin within {limit}: is this machine busy? {error}"
                ) from error
            totals: dict[str, float] = {}
            trained = True
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    trained = trained and sample.labels.get("trained", "true") == "true"
                    reason = sample.labels.get("reason")
                    name = sample.name if reason is None else f"{sample.name}: {reason}"
                    totals[name] = totals.get(name, 0.0) + sample.value
            if totals.get("ictc_alerts_read_total", 0) >= published or time.monotonic() > patience_s:
                break
            time.sleep(0.2)
        if not trained:
            self._console.print("\n[yellow]These weights were never trained: the classes above mean nothing.[/yellow]")
        self._console.print(f"\nMetrics: {address}, with /healthz, /readyz and a page for people at / beside them.")
        return totals

    def _conclude(self, published: int, seen: list[dict[str, Any]], exposed: dict[str, float], code: int) -> bool:
        table = Table("", "alerts", title="accounts")
        table.add_row("messages published", str(published))
        counted = 0.0
        for name, value in sorted(exposed.items()):
            counts = name.partition(":")[0].endswith("_total") and name.startswith("ictc_alerts_")
            if counts and value and not name.startswith("ictc_alerts_read"):
                table.add_row(name, f"{value:.0f}")
                counted += value
        table.add_row("ictc_alerts_read_total", f"{exposed['ictc_alerts_read_total']:.0f}", style="bold")
        self._console.print(table)
        distinct = {record["alertId"] for record in seen}
        good = counted == exposed["ictc_alerts_read_total"] == published and code == 0
        good = good and len(distinct) == published - len(BROKEN)
        self._console.print(
            f"{len(distinct)} alerts came back, {len(BROKEN)} broken messages went to the dead letters; "
            f"the service ended with {code}. " + ("[green]In = out.[/green]" if good else "[red]Accounts differ![/red]")
        )
        return good

    def _compare(self, seen: list[dict[str, Any]]) -> None:
        """The last word on each object beside what was simulated."""
        last = {
            record["objectId"]: record for record in sorted(seen, key=lambda r: r["mjd"]) if record["probabilities"]
        }
        classes = list(next(iter(last.values()))["probabilities"]) if last else []
        counted = Counter(
            (self._truth.get(record["alertId"], "?"), max(classes, key=record["probabilities"].__getitem__))
            for record in last.values()
        )
        truths = sorted({truth for truth, _ in counted}, key=lambda t: (classes.index(t) if t in classes else 99, t))
        table = Table("simulated", *classes, title="last class of each object")
        for truth in truths:
            cells = [str(counted[truth, given] or "") for given in classes]
            cells = [f"[green]{n}[/green]" if given == truth else n for n, given in zip(cells, classes, strict=True)]
            table.add_row(truth, *cells)
        self._console.print(table)
        right = sum(counted[name, name] for name in classes)
        known = sum(count for (truth, _), count in counted.items() if truth in classes)
        self._console.print(f"{right} of {known} objects of the four classes are right at their last alert.")

    def _configuration(self) -> dict[str, Any]:
        return common_configuration(KafkaSettings(brokers=self._brokers))


def _is_trained() -> bool:
    """Whether the package ships weights for ZTF that were trained."""
    try:
        return load_card(find("ztf")).trained
    except WeightsError:
        return False


def command(arguments: Sequence[str] | None = None) -> int:
    """``python -m broker_filter.demo [--keep SECONDS]``."""
    parser = argparse.ArgumentParser(
        prog="python -m broker_filter.demo", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--keep", type=float, default=0.0, metavar="SECONDS", help="leave the status page up so long")
    keep_s = parser.parse_args(arguments).keep

    def look(address: str) -> None:
        Console().print(f"Status page: {address} for {keep_s:.0f} s more.")
        time.sleep(keep_s)

    return main(look=look if keep_s > 0 else None)


if __name__ == "__main__":
    sys.exit(command())
