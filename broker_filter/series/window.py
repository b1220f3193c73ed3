"""Which observations a classification reads and which alerts get one: heads in, ranks out. Pure; knows no network.

The *rank* of an observation counts all that came before it in its series, dropped ones too. Group boundaries lie at
multiples of the network's group size in rank, so that a series that loses its oldest groups keeps the others whole.
"""

from collections.abc import Collection
from dataclasses import dataclass

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
    revision: bool  # published again because an earlier observation arrived


def targets_of(held: HeldSeries, arrived: Collection[int], rule: WindowRule) -> list[Target]:
    """Everything to classify after a batch: what arrived, and what lies later than an unsettled arrival.

    Parameters
    ----------
    held
        The series with the batch merged in.
    arrived
        Alert ids of this batch, duplicates of settled ones among them.

    Returns
    -------
    In order of the series. An arrival that is missing was too late for the series.
    """
    ids, settled = held.heads["alert_id"], held.heads["settled"]
    is_arrival = np.isin(ids, np.fromiter(arrived, np.int64, len(arrived)))
    new = np.flatnonzero(is_arrival & (settled == 0))
    first_new = int(new[0]) if len(new) else len(ids)
    targets = []
    for index in sorted({*np.flatnonzero(is_arrival).tolist(), *range(first_new + 1, len(ids))}):
        window = window_of(held.dropped + index, held.dropped, rule)
        revision = not is_arrival[index]
        if window.size > 0 and (window.whole or not revision):
            targets.append(Target(index, window, revision))
    return targets
