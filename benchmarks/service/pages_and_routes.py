"""What pages of objects and routes add to an alert: processor time, and what a page costs whoever looks.

``python -m benchmarks.service.pages_and_routes [--rounds 3] [--alerts 2000]``. ZTF alerts are classified as the service
does, batch by batch with an embedded store; then the same answers go through the rules of five routes, and into an
index of objects that is empty at first, as the service does it (the index writes in a thread of its own, which is
counted). Pages and queries are asked of the store and index that this leaves, without a network. Medians over the
rounds. A route's message costs what any message to Kafka costs, which is not counted here.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from starlette.testclient import TestClient

from benchmarks.end_to_end.alerts import many
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import cards_of, load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.monitoring.http import application
from broker_filter.output.routes import Router
from broker_filter.records import Accounts, Classification, Message, Origin
from broker_filter.rules import Route
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.web.api import Api
from broker_filter.web.index import ObjectIndex
from broker_filter.web.objects import Lobby, Objects
from broker_filter.web.pages import Pages
from broker_filter.web.rate_limit import RateLimit
from model.taxonomy import load_taxonomy

BATCH = 64
PAGES_ASKED = 20
RULES = (
    'best == "SNIa" and p_SNIa > 0.5 and daysSinceFirst < 20 and daysSinceBrightest == 0 and magnitude < 19.5',
    "unknownScore > 4 and nObservations >= 3",
    "changedMind and snr > 10 and dec > -30",
    'best == "AGN" and p_AGN > 0.9',
    'survey == "ztf" and ra > 100 and ra < 140 and dec > 0',
)


class Night:
    """Alerts, and the network that classifies them."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._messages = [Message(packet, Origin("benchmark", 0, number)) for number, packet in enumerate(packets)]
        self.classifiers = load_classifiers(["ztf"])
        self._decoder = connect(Schemas(), cards_of(self.classifiers), 1)

    def classify(self, store: LmdbSeriesStore) -> list[list[Classification]]:
        """The answers, batch by batch."""
        pipeline, batches = Pipeline(self._decoder, self.classifiers, store), []
        for start in range(0, len(self._messages), BATCH):
            done = pipeline.classify(list(self._decoder.decode(self._messages[start : start + BATCH])))
            pipeline.settle(done)
            results = [outcome.result for outcome in done.outcomes]
            batches.append([result for result in results if isinstance(result, Classification)])
        return batches


def cpu_ms(act: Callable[[], object]) -> float:
    """Processor time of this process and all its threads."""
    begun_s = time.process_time()
    act()
    return 1000 * (time.process_time() - begun_s)


def route_all(router: Router, batches: Sequence[Sequence[Classification]]) -> None:
    """What the service does for its routes: topics of each answer, and the decisions that are counted."""
    for answers in batches:
        for answer in answers:
            router.topics(answer)
            router.decisions(answer)


def index_all(index: ObjectIndex, batches: Sequence[Sequence[Classification]]) -> None:
    """What the service does for its pages, until everything is written."""
    for answers in batches:
        index.enter(answers)
    index.flush()


def pages(objects: Objects) -> dict[str, Callable[[], object]]:
    """What somebody may ask for, by its name: each of the objects with most alerts in turn."""
    lobby = Lobby()
    lobby.introduce(objects)
    routes = [*Pages(lobby).routes(), *Api(lobby, Accounts, RateLimit(1e6, 10**6)).routes()]
    client = TestClient(application({}, None, routes))
    names = [one.object_id for one in objects.index.select("1", [], "alert_count DESC", PAGES_ASKED)]
    paths = {
        "page /objects": ["/objects"] * PAGES_ASKED,
        "page /object/ID": [f"/object/{name}" for name in names],
        "query /api/objects, a cone": ["/api/objects?ra=10&dec=10&radius=60"] * PAGES_ASKED,
        "query /api/objects/ID": [f"/api/objects/{name}" for name in names],
    }
    return {
        what: lambda addresses=addresses: [client.get(path).raise_for_status() for path in addresses]
        for what, addresses in paths.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alerts", type=int, default=2000)
    options = parser.parse_args(arguments)
    console = Console()
    console.print(describe("torch", "onnxruntime", "rule-engine"))
    what, packets = many("ztf", options.alerts)
    console.print(f"{what}, {options.rounds} rounds")
    night = Night([packet.content for packet in packets])
    router = Router(Route(f"r{number}", f"t{number}", rule) for number, rule in enumerate(RULES))
    ms_of: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, ms in _round(night, router, Path(folder), len(packets)):
                ms_of.setdefault(name, []).append(ms)
    table = Table("", "processor time, ms", "each round")
    for name, each in ms_of.items():
        table.add_row(name, f"{statistics.median(each):.3f}", ", ".join(f"{one:.3f}" for one in each))
    console.print(table)


def _round(night: Night, router: Router, folder: Path, count: int) -> list[tuple[str, float]]:
    """Everything once, with a store and an index of its own."""
    store, index = LmdbSeriesStore(folder / "store"), ObjectIndex(folder / "objects.sqlite")
    batches: list[list[Classification]] = []
    card = night.classifiers["ztf"].card
    took = [
        ("alert: decoded, classified, settled", cpu_ms(lambda: batches.extend(night.classify(store))) / count),
        (f"alert: {len(RULES)} routes", cpu_ms(lambda: route_all(router, batches)) / count),
        ("alert: index of objects", cpu_ms(lambda: index_all(index, batches)) / count),
    ]
    objects = Objects(index, store, {"ztf": card.channels}, card.classes, load_taxonomy())
    took += [(name, cpu_ms(ask) / PAGES_ASKED) for name, ask in pages(objects).items()]
    index.close()
    store.close()
    return took


if __name__ == "__main__":
    main()
