"""What a series store promises: observations in, merged series out, nothing half-written. Knows no storage engine.

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
from broker_filter.records import Observation
from model.past_photometry import History

HEAD = np.dtype(
    [
        ("version", "u1"),
        ("settled", "u1"),
        ("band", "i1"),  # index in model.series.BANDS
        ("channels", "u1"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("alert_id", "<i8"),
        ("time_mjd", "<f8"),
        ("flux_njy", "<f4"),
        ("flux_error_njy", "<f4"),
        ("history", "<u2"),  # epochs of which its packet tells
    ]
)
"""The head of a stored observation: everything but its pixels and its history; on disk and in ``HeldSeries.heads``."""


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
    embeddings: Mapping[int, Embedding] = field(default_factory=dict)  # rank of the group's first frame ->

    def told(self, start: int, stop: int) -> History:
        """The epochs of which the packets of ``heads[start:stop]`` tell."""
        counts = self.heads["history"]
        first = int(counts[:start].sum())
        return self.epochs[first : first + int(counts[start:stop].sum())]


@dataclass(frozen=True, slots=True)
class Change:
    """What a delivered batch makes lasting about one object."""

    key: str
    settled: tuple[int, ...]  # alert ids whose outputs were delivered
    hold_limit: int  # when more observations are held, the oldest leave ...
    group_size: int  # ... in whole groups of this many, so that the other groups stay what they are
    embeddings: Mapping[int, Embedding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How full a store is."""

    objects: int
    observations: int
    bytes: int
    evicted_objects: int  # since the store was opened


def surplus(held: int, hold_limit: int, group_size: int) -> int:
    """How many of ``held`` observations must leave: whole groups, never all."""
    over = max(held - hold_limit, 0)
    return min(-(-over // group_size) * group_size, max(held - 1, 0))


class SeriesStore(Protocol):
    """One door for every engine. All methods may raise FatalError; a remote store also RetryableError."""

    def add(self, arrivals: Sequence[tuple[str, Observation]]) -> dict[str, HeldSeries]:
        """Merge what arrived with what is held, by object; observations older than the horizon are left out."""
        ...

    def pixels(self, frames: Sequence[FrameKey]) -> dict[FrameKey, Pixels]:
        """Read pixels of observations that ``add`` has shown; one that has left meanwhile is missing."""
        ...

    def settle(self, changes: Sequence[Change]) -> None:
        """Make a delivered batch lasting: all of it or nothing, on disk when this returns."""
        ...

    def stats(self) -> StoreStats:
        """Count what is held."""
        ...

    def close(self) -> None:
        """Give the engine back; closing twice does nothing."""
        ...
