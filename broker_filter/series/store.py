"""Contract of a series store: observations are merged into series, nothing half-written. Knows no storage engine.

An observation is *settled* once its outputs were delivered. ``add`` shows what a batch brings together with what is
held; ``settle``, called after delivery, makes it last. A crash in between costs nothing: the messages come again, and
writing an observation twice changes nothing, because it is identified by its alert id.

A store keeps the newest observations of an object. ``HeldSeries.dropped`` counts those that have left at the old end,
so ``dropped + index`` is the *rank* of an observation, which stays the same when the old end moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from broker_filter.errors import FatalError
from broker_filter.records import Observation, PacketMetadata
from model.past_photometry import History
from model.series import Photometry

DAMAGE_LINES = 100  # of an Inspection

HEAD = np.dtype(
    [
        ("version", "u1"),
        ("settled", "u1"),
        ("front_check", "<u4"),  # of what follows, up to the pixels
        ("body_check", "<u4"),  # of scale and pixels
        ("band", "i1"),  # index in model.series.BANDS
        ("channels", "u1"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("alert_id", "<i8"),
        ("time_mjd", "<f8"),
        ("flux_njy", "<f4"),
        ("flux_error_njy", "<f4"),
        ("ra_deg", "<f8"),  # these five NaN where unknown
        ("dec_deg", "<f8"),
        ("magnitude", "<f4"),
        ("magnitude_error", "<f4"),
        ("real_bogus", "<f4"),
        ("source", "<u8"),  # rows.source_number of the topic; 0 unknown
        ("partition", "<i4"),  # -1 unknown
        ("offset", "<i8"),  # -1 unknown
        ("layout", "u1"),  # records.PacketMetadata.layout
        ("metadata", "u1"),  # values of it
        ("history", "<u2"),  # epochs of which its packet tells
    ]
)
"""The head of a stored observation: everything but its pixels, its history and its packet's metadata; on disk and in
``HeldSeries.heads``, where ``settled`` is 0 or 1."""


class CorruptStoreError(FatalError):
    """A row of the store does not have the layout that its version says."""


class FrameKey(NamedTuple):
    """Names one observation of one object."""

    key: str
    time_mjd: float
    alert_id: int


class Pixels(NamedTuple):
    """The pixels of one observation, as in records.Observation."""

    pixels: NDArray[np.float16]  # [C, H, W], in units of scale, NaN where masked
    scale_njy: NDArray[np.float32]  # [C]


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of one full group of frames, and the tag of what it was computed from."""

    tag: bytes  # digest of the model's version and the group's alert ids
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeldSeries:
    """What is known of one object: stored observations and those of batches in flight, in order.

    Without pixels: most updates do not need them, because embeddings of full groups are kept.
    """

    key: str
    dropped: int  # observations that left at the old end
    horizon: tuple[float, int] | None  # order of the newest of those
    heads: NDArray  # [T] of HEAD, by (time, alert id)
    epochs: History  # of which the packets of the heads tell, one packet after the other
    metadata_M: NDArray[np.float32]  # of the packets of the heads, one packet after the other
    embeddings: Mapping[int, Embedding] = field(default_factory=dict)  # rank of the group's first frame ->

    @property
    def alert_ids(self) -> NDArray[np.int64]:
        """Of its observations, [T]."""
        return self.heads["alert_id"]

    def frame_keys(self, held: slice) -> list[FrameKey]:
        """Under which the store keeps the pixels of some observations."""
        heads = self.heads[held]
        times = zip(heads["time_mjd"].tolist(), heads["alert_id"].tolist(), strict=True)
        return [FrameKey(self.key, time_mjd, alert_id) for time_mjd, alert_id in times]

    def photometry(self, held: slice = slice(None)) -> Photometry:
        """The light curve of some observations."""
        heads = self.heads[held]
        return Photometry(heads["band"], heads["time_mjd"], heads["flux_njy"], heads["flux_error_njy"])

    def history_of(self, start: int, stop: int) -> History:
        """The epochs of which the packets of ``heads[start:stop]`` tell."""
        counts = self.heads["history"]
        first = int(counts[:start].sum())
        return self.epochs[first : first + int(counts[start:stop].sum())]

    def metadata(self, index: int) -> PacketMetadata:
        """The metadata of the packet of ``heads[index]``."""
        counts = self.heads["metadata"]
        first = int(counts[:index].sum())
        return PacketMetadata(int(self.heads["layout"][index]), self.metadata_M[first : first + int(counts[index])])


@dataclass(frozen=True, slots=True)
class Change:
    """What a delivered batch makes lasting about one object."""

    key: str
    settled: tuple[int, ...]  # alert ids whose outputs were delivered
    hold_limit: int  # when more observations are held, the oldest leave ...
    group_size: int  # ... in whole groups of this many, so that the other groups stay what they are
    embeddings: Mapping[int, Embedding] = field(default_factory=dict)
    withdrawn: tuple[int, ...] = ()  # alert ids that the survey took back: they leave


@dataclass(frozen=True, slots=True)
class WholeSeries:
    """All that is kept of one object, as rows of this version of the store: what one store hands to another."""

    key: str
    dropped: int
    horizon: tuple[float, int] | None
    newest_mjd: float  # of all that were ever held
    rows: tuple[bytes, ...]  # settled, by (time, alert id)
    embeddings: Mapping[int, bytes]  # rank of the group's first frame ->


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How full a store is, and how sound."""

    objects: int
    observations: int
    bytes: int
    evicted_objects: int  # since the store was opened
    damaged_rows: int = 0  # dropped since the store was opened, because they failed their check


@dataclass(frozen=True, slots=True)
class Unsettled:
    """An observation whose outputs are not known to be delivered."""

    offset: int  # in the topic and partition that brought it
    key: str
    alert_id: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What reading every row of a store has shown."""

    objects: int
    observations: int
    unsettled: int
    embeddings: int
    damaged: tuple[str, ...]  # one line for each damaged row or object, at most DAMAGE_LINES
    damaged_count: int


def surplus(held: int, hold_limit: int, group_size: int) -> int:
    """How many of ``held`` observations must leave: whole groups, never all."""
    over = max(held - hold_limit, 0)
    return min(-(-over // group_size) * group_size, max(held - 1, 0))


class SeriesStore(Protocol):
    """One door for every engine. All methods may raise FatalError; a remote store also RetryableError."""

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Merge what arrived with what is held, by object; observations older than the horizon are left out."""
        ...

    def read(self, keys: Sequence[str]) -> dict[str, HeldSeries]:
        """Series as they are held, of those of the objects that are; changes nothing."""
        ...

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Read pixels of observations that ``add`` has shown; one that has left meanwhile is missing."""
        ...

    @property
    def incarnation(self) -> str:
        """Name of this store's contents, as last seen: another name means that they were lost and begin anew.

        Empty for a shared store into which nobody has put anything yet.
        """
        ...

    def refuse_without_room(self, changes: Sequence[Change]) -> None:
        """See, before a batch is delivered, that there is room to settle it; RetryableError where there is not."""
        ...

    def prepare(self, changes: Sequence[Change]) -> None:
        """Write the arrivals of a batch unsettled, on disk when this returns: for deliveries that commit offsets.

        ``settle`` follows. A crash in between leaves them for ``settle_below``.
        """
        ...

    def settle(self, changes: Sequence[Change]) -> None:
        """Make a delivered batch lasting: all of it or nothing, on disk when this returns."""
        ...

    def unsettled(self, topic: str, partition: int) -> list[Unsettled]:
        """Unsettled observations that a partition brought, by offset; found without a scan of the store."""
        ...

    def settle_below(self, topic: str, partition: int, offset: int) -> int:
        """Settle what a partition brought before ``offset``, for instance the committed one; returns how many."""
        ...

    def put_whole(self, series: Sequence[WholeSeries]) -> None:
        """Keep whole series that another store hands over, in the place of what is held of their objects.

        Putting the same again changes nothing. Beyond its limits the longest-silent objects leave.
        """
        ...

    def inspect(self) -> Inspection:
        """Read and check every row; changes nothing."""
        ...

    def stats(self) -> StoreStats:
        """Count what is held."""
        ...

    def close(self) -> None:
        """Give the engine back; closing twice does nothing."""
        ...
