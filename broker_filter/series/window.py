"""Window of a classification: the observations that it reads, and the alerts that get one. Pure; knows no network.

The *rank* of an observation counts all that came before it in its series, dropped ones too. Group boundaries lie at
multiples of the network's group size in rank, so that a series that loses its oldest groups keeps the others whole.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from broker_filter.series.store import HeldSeries


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How long a series a network reads, and in what steps.

    ``hold_limit`` is how many observations the store keeps: more than the network reads, so that an alert delivered
    twice is still classified from the same observations after newer ones have come.
    """

    frame_limit: int
    group_size: int
    hold_limit: int

    @staticmethod
    def of(frame_limit: int, group_size: int, spare: float = 1 / 3) -> "WindowRule":
        """A rule that holds ``spare`` times more than the network reads, at least one group."""
        return WindowRule(frame_limit, group_size, frame_limit + max(group_size, int(spare * frame_limit)))


@dataclass(frozen=True, slots=True)
class Window:
    """The observations with ranks ``start`` to ``stop - 1``: those that a classification of the last one reads."""

    start: int
    stop: int
    whole: bool  # False when older observations belong to it that have left the store

    @property
    def size(self) -> int:
        return self.stop - self.start

    def groups(self, group_size: int) -> list[tuple[int, int]]:
        """(start, stop) ranks of its groups; only the last can be short."""
        return [(rank, min(rank + group_size, self.stop)) for rank in range(self.start, self.stop, group_size)]


def window_of(rank: int, dropped: int, rule: WindowRule) -> Window:
    """The window that ends with the observation of ``rank``; a function of the rank alone while it is whole."""
    step = rule.group_size
    wanted = -(-max(rank + 1 - rule.frame_limit, 0) // step) * step
    first_held = -(-dropped // step) * step
    return Window(max(wanted, first_held), rank + 1, whole=wanted >= dropped)


@dataclass(frozen=True, slots=True)
class Target:
    """An alert of a held series that gets a classification."""

    index: int  # in HeldSeries.heads
    window: Window
    revision: bool  # published again because an earlier observation arrived, or was withdrawn


def without(held: HeldSeries, alert_ids: Collection[int]) -> tuple[HeldSeries, int | None]:
    """A series without these observations, and the index in it from which on the series has changed (None: nowhere).

    Ranks are counted anew, so that embeddings of groups behind a gap no longer fit; their tags say so.
    """
    gone_T = np.isin(held.heads["alert_id"], np.fromiter(alert_ids, np.int64, len(alert_ids)))
    if not gone_T.any():
        return held, None
    epochs_left = np.repeat(~gone_T, held.heads["history"])
    metadata_left = np.repeat(~gone_T, held.heads["metadata"])
    shorter = replace(
        held, heads=held.heads[~gone_T], epochs=held.epochs[epochs_left], metadata_M=held.metadata_M[metadata_left]
    )
    return shorter, int(np.flatnonzero(gone_T)[0])


def targets_of(
    held: HeldSeries, arrived: Collection[int], rule: WindowRule, changed_from: int | None = None
) -> list[Target]:
    """Everything to classify after a batch: what arrived, and what lies later than an unsettled arrival or a gap.

    Parameters
    ----------
    held
        The series with the batch merged in.
    arrived
        Alert ids of this batch, duplicates of settled ones among them.
    changed_from
        Index from which on an observation before it has left the series; None: none has.

    Returns
    -------
    In order of the series. An arrival that is missing was too late for the series.
    """
    ids, settled = held.heads["alert_id"], held.heads["settled"]
    is_arrival = np.isin(ids, np.fromiter(arrived, np.int64, len(arrived)))
    new = np.flatnonzero(is_arrival & (settled == 0))
    first_new = int(new[0]) if len(new) else len(ids)
    first_revised = min(first_new + 1, len(ids) if changed_from is None else changed_from)
    targets = []
    for index in sorted({*np.flatnonzero(is_arrival).tolist(), *range(first_revised, len(ids))}):
        window = window_of(held.dropped + index, held.dropped, rule)
        revision = not is_arrival[index]
        if window.size > 0 and (window.whole or not revision):
            targets.append(Target(index, window, revision))
    return targets
