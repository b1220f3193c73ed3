"""The records that travel between rooms: frozen, typed, units in names. They know nothing of Kafka, Avro or torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from broker_filter.errors import NotClassified, Rejection
from model.past_photometry import NO_HISTORY, History

LONGEST_KEY_BYTES = 200  # an object's key; LMDB allows 511 bytes for key, order and rank together
LOWEST_ALERT_ID, HIGHEST_ALERT_ID = -(1 << 63), (1 << 63) - 1
STAMPS_EVIDENCE, PACKET_EVIDENCE = EVIDENCE = ("stamps", "packet")  # a network read the stamps; the survey says so
ASTEROID, BOGUS = PACKET_CLASSES = ("Asteroid", "Bogus")  # classes that only packets tell of
STRANGE_SCORE = 5.0  # robust standard deviations of the unknown score over objects of known classes
STAMP_KINDS = ("science", "template", "difference")


def object_key(survey: str, object_id: str) -> str:
    """The name of an object among those of all surveys, which number theirs independently."""
    return f"{survey}/{object_id}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where bytes came from: a Kafka position, or a file and the index of the record in it."""

    source: str  # topic, or path (``archive.tar.gz::member.avro`` inside an archive)
    partition: int = 0
    offset: int = 0  # Kafka offset, or index of the record within the file

    def __str__(self) -> str:
        return f"{self.source}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class PacketMetadata:
    """Numbers of an alert's packet that a network may read beside its frames, in a compact form.

    ``layout`` numbers the list of fields that the values follow, so that lists can change while rows are kept; 0 is
    the empty list.
    """

    layout: int = 0  # 0 to 255
    values_M: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))  # NaN unknown


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes as they arrived, before anybody has trusted them."""

    value: bytes
    origin: Origin
    timestamp_ms: int | None = None  # Kafka's own, Unix milliseconds
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None  # Kafka's
    tombstone: bool = False  # its value was null, which in a compacted topic says that its key is gone


class Withdrawal(NamedTuple):
    """A source of an object that its survey took back, as a later packet of the object tells."""

    alert_id: int
    time_mjd: float  # TAI, of the exposure
    band: int  # index in model.series.BANDS
    flux_njy: float  # that was measured, NaN unknown


@dataclass(frozen=True, slots=True)
class MovingObject:
    """The known Solar-system object that a packet names for its source; None where it does not say."""

    designation: str | None
    distance_arcsec: float | None  # of its predicted position from the source
    magnitude: float | None  # predicted


@dataclass(frozen=True, slots=True)
class SolarSystemMatch:
    """A known Solar-system object near a source, and the probability that the source is it."""

    known: MovingObject
    probability: float

    @property
    def moves(self) -> bool:
        """More probably so than not."""
        return self.probability >= 0.5

    @property
    def words(self) -> str:
        """For people."""
        k = self.known
        place = "linked by the survey with" if k.distance_arcsec is None else f"{k.distance_arcsec:.1f} arcsec from"
        magnitude = "" if k.magnitude is None else f", predicted at magnitude {k.magnitude:.1f}"
        return f"{place} Solar-system object {k.designation or 'without a name'}{magnitude}"


@dataclass(frozen=True, slots=True)
class Alert:
    """The fields that we use of one alert of any survey."""

    survey: str  # "ztf" | "lsst"
    schema: str  # version of the packet, e.g. "4.02" or "10.0"
    object_id: str
    alert_id: int  # candid | diaSourceId
    time_mjd: float  # TAI, mid-exposure where the survey gives it
    band: str  # one of model.series.BANDS
    ra_deg: float
    dec_deg: float
    flux_njy: float  # difference flux of the point source, negative when fainter than the template; NaN unknown
    flux_error_njy: float
    real_bogus: float | None
    zero_point_mag: float | None  # AB magnitude of 1 DN (ZTF); None where pixels are in nJy already
    stamps: Mapping[str, bytes | None]  # kind -> bytes as published, keys STAMP_KINDS
    difference_sign: float = 1.0  # -1 where the published difference is template minus science (ZTF's negative sources)
    position_px: tuple[float, float] | None = None  # x, y on the detector, where stamps are cut off at its edge (ZTF)
    history: History = NO_HISTORY  # epochs before time_mjd of which the packet tells, where a network reads them
    withdrawn: tuple[Withdrawal, ...] = ()  # sources of the object that the survey took back, this one among them
    match: SolarSystemMatch | None = None  # the known Solar-system object near it, where the packet names one

    @property
    def solar_system(self) -> bool:
        """The source is more probably that object than anything else."""
        return self.match is not None and self.match.moves


NO_METADATA = PacketMetadata()


@dataclass(frozen=True, slots=True)
class Observation:
    """One frame of a series, calibrated, cropped and in the compact form in which it is kept.

    ``pixels`` * ``scale_njy[:, None, None]`` is the flux density in nJy per pixel; NaN marks masked or padded pixels.
    Every classification reads this form, also of the alert that has just arrived, so that a series read back from the
    store gives the same answer.
    """

    alert_id: int
    time_mjd: float  # TAI
    band: int  # index in model.series.BANDS
    flux_njy: float
    flux_error_njy: float
    pixels: NDArray[np.float16]  # [C, H, W]
    scale_njy: NDArray[np.float32]  # [C]
    history: History = NO_HISTORY  # epochs before time_mjd of which the alert's packet tells
    origin: Origin | None = None  # of the message that brought it
    ra_deg: float = math.nan
    dec_deg: float = math.nan
    magnitude: float = math.nan  # AB, of the size of the difference flux
    magnitude_error: float = math.nan
    real_bogus: float = math.nan  # the survey's own score, NaN where it gives none
    metadata: PacketMetadata = NO_METADATA

    @property
    def order(self) -> tuple[float, int]:
        """Total order within a series: time, then alert id, so that equal times cannot depend on arrival."""
        return (self.time_mjd, self.alert_id)


@dataclass(frozen=True, slots=True)
class Detection:
    """What a packet says of its own source, as it is published with the classification; None where unknown."""

    ra_deg: float | None
    dec_deg: float | None
    flux_njy: float | None  # of the difference, negative when fainter than the template
    flux_error_njy: float | None
    real_bogus: float | None  # the survey's own score, 0 bogus to 1 real

    @staticmethod
    def of(alert: Alert) -> "Detection":
        """Those fields of an alert."""
        fluxes = _as_stored(alert.flux_njy), _as_stored(alert.flux_error_njy)
        score = None if alert.real_bogus is None else _as_stored(alert.real_bogus)
        return Detection(alert.ra_deg, alert.dec_deg, *fluxes, score)


def _as_stored(number: float) -> float | None:
    """A number in the precision in which stores keep it, so that revisions repeat first answers; None for NaN."""
    number = float(np.float32(number))
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Classification:
    """What is published of one alert: classified, or not classified with the reason."""

    survey: str
    object_id: str
    alert_id: int
    time_mjd: float
    band: str
    observation_count: int
    probabilities: Mapping[str, float]  # class -> probability, sums to 1; empty when not classified
    classifier: str
    classifier_version: str
    taxonomy_version: str
    unknown_score: float | None = None  # larger is less like anything in training; None where not calibrated
    reason: NotClassified | None = None
    history_count: int = 0  # epochs without stamp, of which the packets of the observations tell, that were read too
    known_count: int = 0  # observations of the object up to time_mjd that were known; the newest of them were used
    revision: bool = False  # published again because an earlier observation arrived late
    detection: Detection | None = None  # None where nothing of it is known
    night: int | None = None  # MJD (UTC) of the local midnight
    broad_probabilities: Mapping[str, float] | None = None  # of the first level (supernova or not ...), sums to 1
    prediction_set: tuple[str, ...] | None = None  # classes that hold the true one with probability ``coverage``
    coverage: float | None = None
    evidence: str | None = None  # EVIDENCE: what the answer rests on; None when there is no answer
    explanation: str | None = None  # in words, where the packet itself is the evidence
    moving_object: MovingObject | None = None
    previous_class: str | None = None  # most probable after the object's alert before, where that is remembered
    days_since_first: float | None = None  # since the first detection among the epochs that were read
    days_since_brightest: float | None = None  # since the brightest epoch in the alert's band; 0: it is this one
    alert_time_ms: int | None = None  # when the survey says it published or exposed, Unix ms
    ingest_time_ms: int = 0
    publication_time_ms: int = 0

    @property
    def status(self) -> str:
        return "classified" if self.reason is None else "not_classified"

    @property
    def best(self) -> str | None:
        """The most probable class; None when not classified."""
        return max(self.probabilities, key=self.probabilities.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes that never became an alert."""

    message: Message
    reason: Rejection
    detail: str
    exception: str = ""  # type of what was raised, where the reason is INTERNAL


@dataclass(slots=True)
class Accounts:
    """In = classified + not classified (reason) + rejected (reason), always. Revisions are counted apart."""

    read: int = 0
    classified: int = 0
    not_classified: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    revisions: int = 0
    pasts_refused: int = 0  # classified without the past that their packets tell, for its times cannot be true
    lost: int = 0  # left Kafka's log before we read them: known to have been there, not part of the balance

    @property
    def balanced(self) -> bool:
        return self.read == self.classified + sum(self.not_classified.values()) + sum(self.rejected.values())

    def add(self, other: "Accounts") -> None:
        """Enter another account, for instance of one batch, into this one."""
        self.read += other.read
        self.classified += other.classified
        self.revisions += other.revisions
        self.pasts_refused += other.pasts_refused
        self.lost += other.lost
        for counts, other_counts in ((self.not_classified, other.not_classified), (self.rejected, other.rejected)):
            for reason, count in other_counts.items():
                counts[reason] = counts.get(reason, 0) + count


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


def partition_of(message: Message) -> Partition:
    """Where a message came from."""
    return Partition(message.origin.source, message.origin.partition)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing to publish, and the message that asked for it."""

    message: Message
    result: Classification | Rejected
    past_refused: bool = False  # its packet's past has impossible times, and was not read


def rejections_by_message(outcomes: Iterable[Outcome]) -> list[tuple[Rejected, int]]:
    """The first rejection of each message and how many it has: a message of many bad records is one dead letter."""
    firsts: dict[int, tuple[Rejected, int]] = {}
    for outcome in outcomes:
        if isinstance(outcome.result, Rejected):
            first, count = firsts.get(id(outcome.message), (outcome.result, 0))
            firsts[id(outcome.message)] = first, count + 1
    return list(firsts.values())


def account(outcomes: Sequence[Outcome]) -> Accounts:
    """Counts of outcomes: one for each alert and each rejection; revisions apart."""
    accounts = Accounts()
    for outcome in outcomes:
        result = outcome.result
        if isinstance(result, Classification) and result.revision:
            accounts.revisions += 1
            continue
        accounts.read += 1
        accounts.pasts_refused += outcome.past_refused
        if isinstance(result, Rejected):
            _count(accounts.rejected, result.reason)
        elif result.reason is not None:
            _count(accounts.not_classified, result.reason)
        else:
            accounts.classified += 1
    return accounts


def _count(by_reason: dict[str, int], reason: Rejection | NotClassified) -> None:
    by_reason[str(reason)] = by_reason.get(str(reason), 0) + 1


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch of messages."""

    outcomes: tuple[Outcome, ...]  # in message order; revisions follow the alert that caused them
    accounts: Accounts  # of this batch alone
    durations_s: Mapping[str, float]  # by stage


@dataclass(frozen=True, slots=True)
class FinishedBatch:
    """A batch that was delivered and settled, for whoever looks on."""

    report: BatchReport
    messages: int
    partitions: int
    stages_s: Mapping[str, float]  # wall time by stage, in the order in which the batch went through them
    waited_s: float  # in the queue, from its first message on
    total_s: float


NO_STAMPS: Mapping[str, bytes | None] = MappingProxyType(dict.fromkeys(STAMP_KINDS))
