"""AMPEL: T2 units that answer the state of a light curve from our topic or service, a supplier of alerts.

``T2ImageSequenceClass`` gives a compound the classification of the newest of its photopoints that our topic has, and
never one of a later alert: the answer belongs to the state. ``T2StoredSequenceClass`` gives the same from the index of
a running service, asked through its query interface. ``ClassificationSupplier`` hands classifications to an alert
consumer, for channels that filter on what we say. Alerts are known by the survey's ids, which are AMPEL's datapoint
ids too, so that no mapping of object names is needed.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from ictc import Classification, ServedObjects, TopicReader
from ictc.adapters import required

required("ampel.abstract.AbsLightCurveT2Unit", "ampel")
from ampel.abstract.AbsAlertSupplier import AbsAlertSupplier  # noqa: E402
from ampel.abstract.AbsLightCurveT2Unit import AbsLightCurveT2Unit  # noqa: E402
from ampel.alert.AmpelAlert import AmpelAlert  # noqa: E402
from ampel.enum.DocumentCode import DocumentCode  # noqa: E402
from ampel.protocol.AmpelAlertProtocol import AmpelAlertProtocol  # noqa: E402
from ampel.struct.UnitResult import UnitResult  # noqa: E402
from ampel.types import UBson  # noqa: E402
from ampel.view.LightCurve import LightCurve  # noqa: E402

POLL_S = 0.5


class TopicAnswers:
    """What our topic said of each alert, gathered by a thread of its own; the longest unasked leave first.

    Parameters
    ----------
    brokers, topics, group, settings
        As of ``ictc.TopicReader``. Offsets are never committed: a restart reads the topic again.
    alert_limit
        Most alerts that are kept.
    """

    def __init__(
        self, brokers: str, topics: Sequence[str], group: str, settings: dict[str, Any], alert_limit: int
    ) -> None:
        self._reader = TopicReader(brokers, topics, group, settings)
        self._alert_limit = alert_limit
        self._of_alert: OrderedDict[int, Classification] = OrderedDict()
        self._changed = threading.Condition()
        self._ends = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._gather, name="ictc-answers", daemon=True)
        self._thread.start()

    def newest_of(self, alert_ids: Iterable[int], wait_s: float = 0.0) -> Classification | None:
        """The classification of the newest of these alerts that has one.

        Raises
        ------
        RuntimeError
            When the topic cannot be read any more.
        """
        wanted, until_s = set(alert_ids), time.monotonic() + wait_s
        with self._changed:
            while True:
                if self._error is not None:
                    raise RuntimeError(f"the topic of classifications cannot be read: {self._error}") from self._error
                known = [self._of_alert[one] for one in wanted if one in self._of_alert]
                left_s = until_s - time.monotonic()
                if len(known) == len(wanted) or left_s <= 0:
                    for one in known:
                        self._of_alert.move_to_end(one.alert_id)
                    return max(known, key=lambda one: (one.time_mjd, one.alert_id), default=None)
                self._changed.wait(min(left_s, POLL_S))

    def close(self) -> None:
        """End the thread and leave the group."""
        self._ends = True
        self._thread.join()

    def _gather(self) -> None:
        try:
            for batch in self._reader.batches(wait_s=POLL_S, idle_limit_s=0.0, commits=False):
                self._enter(batch)
                if self._ends:
                    return
            while not self._ends:
                for batch in self._reader.batches(wait_s=POLL_S, idle_limit_s=0.0, commits=False):
                    self._enter(batch)
        except Exception as error:  # told to whoever asks next, and the thread ends
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            self._reader.close()

    def _enter(self, batch: Iterable[Classification]) -> None:
        with self._changed:
            for one in batch:
                before = self._of_alert.get(one.alert_id)
                if before is None or one.known_count >= before.known_count:
                    self._of_alert[one.alert_id] = one
                    self._of_alert.move_to_end(one.alert_id)
            while len(self._of_alert) > self._alert_limit:
                self._of_alert.popitem(last=False)
            self._changed.notify_all()


class T2ImageSequenceClass(AbsLightCurveT2Unit):
    """Class of an object from the sequence of its image stamps, as of the newest photopoint of the state."""

    brokers: str
    topics: Sequence[str]
    group: str = "ictc-ampel-t2"
    kafka: dict[str, Any] = {}  # noqa: RUF012 - AMPEL's units declare their parameters so
    alert_limit: int = 1_000_000
    wait_s: float = 0.0
    """For an answer that is still to come; without one the document is tried again later."""

    def post_init(self) -> None:
        """Begin to read the topic; AMPEL calls this once a unit is made."""
        self._answers = TopicAnswers(self.brokers, self.topics, self.group, self.kafka, self.alert_limit)

    def process(self, light_curve: LightCurve) -> UBson | UnitResult:
        """The answer to this state, or a request to ask again.

        Returns
        -------
        Class, probabilities, unknown score and what they rest on; tagged ``ICTC_<CLASS>``.
        """
        alert_ids = alerts_of(light_curve)
        if not alert_ids:
            return UnitResult(code=DocumentCode.T2_MISSING_INFO)
        return result_of(self._answers.newest_of(alert_ids, self.wait_s))

    def close(self) -> None:
        """Leave Kafka."""
        self._answers.close()


class T2StoredSequenceClass(AbsLightCurveT2Unit):
    """The same as ``T2ImageSequenceClass``, from the index of a running service (``http.api: true``), without Kafka."""

    service: str
    """Address of its pages, ``http://HOST:PORT``."""

    def post_init(self) -> None:
        """Make the client; AMPEL calls this once a unit is made."""
        self._service = ServedObjects(self.service)

    def process(self, light_curve: LightCurve) -> UBson | UnitResult:
        """The answer to this state, or a request to ask again; as ``T2ImageSequenceClass``."""
        alert_ids = alerts_of(light_curve)
        if not alert_ids:
            return UnitResult(code=DocumentCode.T2_MISSING_INFO)
        known = self._service.answers_to(alert_ids)
        return result_of(known[-1] if known else None)


class ClassificationSupplier(AbsAlertSupplier):
    """Classifications of our topic as AMPEL alerts; each is committed once AMPEL has acknowledged it.

    ``stock`` says what an object is called: ``name`` as the survey does (ZTF), ``number`` its id (LSST).
    """

    brokers: str
    topics: Sequence[str]
    group: str = "ictc-ampel-t0"
    kafka: dict[str, Any] = {}  # noqa: RUF012 - AMPEL's units declare their parameters so
    stock: Literal["name", "number"] = "name"
    idle_limit_s: float | None = None
    """End after so long without a message; None: never."""

    def __iter__(self) -> Iterator[AmpelAlertProtocol]:
        self._unacknowledged = 0
        with TopicReader(self.brokers, self.topics, self.group, self.kafka) as reader:
            self._reader: TopicReader | None = reader
            for batch in reader.batches(size=100, wait_s=1.0, idle_limit_s=self.idle_limit_s, commits=False):
                self._left_in_batch = len(batch)
                for one in batch:
                    self._left_in_batch -= 1
                    self._unacknowledged += 1
                    yield self._alert_of(one)
            self._reader = None

    def acknowledge(self, alerts: Iterator[AmpelAlertProtocol]) -> None:
        """AMPEL is done with these; when none of a batch is left, its offsets are committed."""
        self._unacknowledged -= sum(1 for _ in alerts)
        if self._unacknowledged == 0 and self._left_in_batch == 0 and self._reader is not None:
            self._reader.commit()

    def _alert_of(self, classification: Classification) -> AmpelAlert:
        c = classification
        detection = c.detection
        datapoint = {
            "id": c.alert_id,
            "mjd": c.time_mjd,
            "jd": c.time_mjd + 2_400_000.5,
            "band": c.band,
            "ra": None if detection is None else detection.ra_deg,
            "dec": None if detection is None else detection.dec_deg,
            **body_of(c),
        }
        stock = c.object_id if self.stock == "name" else int(c.object_id)
        return AmpelAlert(id=c.alert_id, stock=stock, datapoints=(datapoint,), tag=f"ICTC_{c.survey.upper()}")


def alerts_of(light_curve: LightCurve) -> list[int]:
    """Ids of the alerts of a state's photopoints."""
    return [int(point["id"]) for point in light_curve.photopoints or ()]


def result_of(answer: Classification | None) -> UBson | UnitResult:
    """What a T2 document says of an answer; without one it is tried again."""
    if answer is None:
        return UnitResult(code=DocumentCode.RERUN_REQUESTED)
    if answer.best is None:
        return {**body_of(answer), "reason": str(answer.reason)}
    return UnitResult(body=body_of(answer), tag=f"ICTC_{answer.best.upper()}")


def body_of(classification: Classification) -> dict[str, Any]:
    """A classification as MongoDB keeps it."""
    c = classification
    return {
        "class": c.best,
        "probabilities": dict(c.probabilities),
        "unknown_score": c.unknown_score,
        "alert_id": c.alert_id,
        "mjd": c.time_mjd,
        "n_observations": c.observation_count,
        "n_history": c.history_count,
        "model": c.classifier,
        "model_version": c.classifier_version,
        "taxonomy_version": c.taxonomy_version,
    }
