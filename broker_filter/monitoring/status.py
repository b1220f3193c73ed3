"""The status page: what the service knows of itself, for people. Measures nothing, and holds nobody up.

The page is drawn when it is asked for, in the thread that asks, by one thread at a time. Then it is served again for
as long as keeps the drawing below a twentieth of one core, and never less than two seconds.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from broker_filter.alerts.packet_schema import Schemas
from broker_filter.monitoring import status_view, thumbnail
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.monitoring.recent import Recent, Shown
from broker_filter.page_templates import page_environment
from model.serving.card import ModelCard

FRESH_S = 2.0
LARGEST_SHARE = 1 / 20  # of one core's time that may go into drawing
MINUTE_S = 60
PARTITIONS_SHOWN = 16
NIGHTS_SHOWN = 8
STAGES = ("decode", "store_read", "embed", "classify", "report", "deliver", "settle")

Lines = Sequence[tuple[str, str]]


class StatusPage:
    """The page at ``/``.

    Parameters
    ----------
    lines
        Names and words about this process: what it reads, as whom, where it writes.
    has_objects
        Whether there are pages of objects, to link to.
    clock
        Seconds that never go back.
    """

    def __init__(
        self,
        lines: Lines,
        metrics: Metrics,
        health: Health,
        ledger: Ledger,
        recent: Recent,
        clock: Callable[[], float] = time.monotonic,
        *,
        has_objects: bool = False,
    ) -> None:
        self._lines, self._metrics, self._health, self._ledger = tuple(lines), metrics, health, ledger
        self._recent, self._has_objects, self._clock = recent, has_objects, clock
        self._begun_s = clock()
        self._cards: tuple[ModelCard, ...] = ()
        self._schemas: Schemas | None = None
        self._drawn: dict[tuple[str, int], Mapping[str, str]] = {}
        self._lock = threading.Lock()
        self._page, self._fresh_until_s = b"", float("-inf")
        environment = page_environment()
        environment.filters |= {
            "number": status_view.number,
            "size": status_view.size,
            "duration": status_view.duration,
        }
        self._template = environment.get_template("status.html")

    def introduce(self, cards: Sequence[ModelCard], schemas: Schemas) -> None:
        """From now on there are networks, and the schemas with which packets are read."""
        with self._lock:
            self._cards, self._schemas = tuple(cards), schemas

    def page(self) -> bytes:
        """The page in UTF-8; not older than it is allowed to be."""
        with self._lock:
            begun_s = self._clock()
            if begun_s >= self._fresh_until_s:
                self._page = self._draw().encode("utf-8", "replace")
                done_s = self._clock()
                self._fresh_until_s = done_s + max(FRESH_S, (done_s - begun_s) / LARGEST_SHARE)
            return self._page

    def _draw(self) -> str:
        colours = status_view.colours_of(self._cards)
        shown = self._recent.shown()
        pictures = {(one.newest.survey, one.newest.alert_id): self._pictures(one) for one in shown}
        self._drawn = pictures
        per_second = self._recent.per_second()
        rate_path, rate_top = status_view.rate_path(per_second)
        samples = self._metrics.samples
        lag = {labels["partition"]: int(value) for _, labels, value in samples("ictc_consumer_lag_alerts")}
        return self._template.render(
            program_version=version("ictc"),
            has_objects=self._has_objects,
            lines=self._lines,
            uptime_s=self._clock() - self._begun_s,
            now=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            able=self._health.able(),
            alive=self._health.alive(),
            accounts=self._ledger.total(),
            nights=list(self._ledger.of_nights().items())[-NIGHTS_SHOWN:],
            rate=sum(per_second[-MINUTE_S:]) / MINUTE_S,
            rate_path=rate_path,
            rate_top=rate_top,
            lag=sum(lag.values()),
            lag_by_partition=sorted(lag.items(), key=lambda item: (-item[1], int(item[0])))[:PARTITIONS_SHOWN],
            partitions=len(lag),
            paused=self._value("ictc_paused") > 0,
            retries=self._value("ictc_batch_retries", "_total"),
            series=self._value("ictc_series_held"),
            series_bytes=self._value("ictc_series_bytes"),
            stages=self._stages(),
            devices=[labels["device"] for _, labels, _ in samples("ictc_device_info")],
            cards=[status_view.card_view(card) for card in self._cards],
            colours=colours,
            objects=[
                status_view.object_view(one, colours, pictures[one.newest.survey, one.newest.alert_id]) for one in shown
            ],
            chart=status_view,
        )

    def _pictures(self, one: Shown) -> Mapping[str, str]:
        before = self._drawn.get((one.newest.survey, one.newest.alert_id))
        if before is not None or one.packet is None or self._schemas is None:
            return before or {}
        drawn = thumbnail.pictures(one.packet, one.newest.alert_id, self._schemas)
        return {kind: thumbnail.as_address(png) for kind, png in drawn.items()}

    def _stages(self) -> list[tuple[str, float]]:
        """Mean time of one batch in each room, milliseconds."""
        seen = {
            (name.rpartition("_")[2], labels["stage"]): value
            for name, labels, value in self._metrics.samples("ictc_stage_duration_seconds")
            if name.endswith(("_sum", "_count"))
        }
        return [
            (stage.replace("_", " "), 1000 * seen["sum", stage] / seen["count", stage])
            for stage in STAGES
            if seen.get(("count", stage), 0) > 0
        ]

    def _value(self, name: str, suffix: str = "") -> float:
        """Of a row without labels."""
        return next((value for full, _, value in self._metrics.samples(name) if full == name + suffix), 0.0)
