"""One object in a batch of alerts: its series as it stands now, and which classifications are wanted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from broker_filter.alerts.decode import Arrival
from broker_filter.classify.class_memory import ClassMemory
from broker_filter.records import Withdrawal
from broker_filter.series.store import FrameKey, HeldSeries
from broker_filter.series.window import Target, Window, WindowRule, targets_of, window_of, without
from model.past_photometry import History
from model.series import Photometry


@dataclass(frozen=True, slots=True)
class FrameGroup:
    """Frames of one object that one embedding covers."""

    key: str
    start: int  # rank
    stop: int


@dataclass(frozen=True, slots=True)
class ObjectUpdate:
    """One object of a batch; ranks count its observations from the first ever, also those no longer held."""

    key: str
    survey: str
    series: HeldSeries
    rule: WindowRule
    alert_ids: tuple[int, ...]  # that arrived with the batch
    targets: tuple[Target, ...]
    withdrawn: tuple[Withdrawal, ...] = ()  # sources that the survey took back: no longer in the series ...
    leaving: tuple[int, ...] = ()  # ... and the alert ids of those that the store still holds
    recalled: tuple[Target, ...] = ()  # alerts before the targets, whose classes are wanted too

    @staticmethod
    def of(arrivals: Sequence[Arrival], series: HeldSeries, rule: WindowRule) -> "ObjectUpdate":
        """The update that the arrivals of one object make, those without a frame among them."""
        alert_ids = tuple(dict.fromkeys(a.alert_id for a in arrivals if a.observation is not None))
        withdrawn = tuple(dict.fromkeys(source for arrival in arrivals for source in arrival.withdrawn))
        leaving: tuple[int, ...] = ()
        changed_from = None
        if withdrawn:
            leaving = tuple({source.alert_id for source in withdrawn}.intersection(series.alert_ids.tolist()))
            series, changed_from = without(series, leaving)
        targets = tuple(targets_of(series, set(alert_ids), rule, changed_from))
        return ObjectUpdate(arrivals[0].key, arrivals[0].survey, series, rule, alert_ids, targets, withdrawn, leaving)

    @property
    def questions(self) -> tuple[Target, ...]:
        """Everything that the network is asked about the object."""
        return self.targets + self.recalled

    def recall(self, memory: ClassMemory) -> "ObjectUpdate":
        """The same, asking again about alerts before its targets that another process answered, or this one forgot."""
        answered = {target.index for target in self.targets}
        before = sorted({index - 1 for index in answered} - answered - {-1})
        forgotten = [n for n in before if not memory.knows(self.key, self._order(n), self._order(n + 1))]
        if not forgotten:
            return self
        dropped = self.series.dropped
        targets = [Target(n, window_of(dropped + n, dropped, self.rule), revision=False) for n in forgotten]
        return replace(self, recalled=tuple(target for target in targets if target.window.size > 0))

    def _order(self, index: int) -> tuple[float, int]:
        head = self.series.heads[index]
        return float(head["time_mjd"]), int(head["alert_id"])

    def groups(self, target: Target) -> list[FrameGroup]:
        """The groups of frames of which a classification is made."""
        return [FrameGroup(self.key, *ranks) for ranks in target.window.groups(self.rule.group_size)]

    def full_groups(self) -> Iterator[FrameGroup]:
        """Those that no later alert will change; a short one will be another with the next."""
        size, first = self.rule.group_size, self.series.dropped
        for rank in range(-(-first // size) * size, first + len(self.series.heads) - size + 1, size):
            yield FrameGroup(self.key, rank, rank + size)

    def ids(self, group: FrameGroup) -> NDArray[np.int64]:
        """Of its alerts."""
        return self.series.alert_ids[self._held(group)]

    def frame_keys(self, group: FrameGroup) -> list[FrameKey]:
        """Under which the store keeps the pixels of a group."""
        return self.series.frame_keys(self._held(group))

    def photometry(self, ranks: FrameGroup | Window) -> Photometry:
        """The light curve of some of its frames."""
        return self.series.photometry(self._held(ranks))

    def past(self, window: Window) -> History:
        """Epochs that the packets of a window's observations tell, in the order of the observations."""
        held = self._held(window)
        epochs = self.series.history_of(held.start, held.stop)
        return epochs if not self.withdrawn else epochs[~self._is_withdrawn(epochs)]

    def _is_withdrawn(self, epochs: History) -> NDArray[np.bool_]:
        """Which epochs are withdrawn sources, of which packets told that came before the withdrawal."""
        gone_P = np.zeros(len(epochs), bool)
        for source in self.withdrawn:
            same_P = (epochs.time_P == source.time_mjd) & (epochs.band_P == source.band)
            gone_P |= same_P & (epochs.flux_P == np.float32(source.flux_njy))
        return gone_P

    def _held(self, ranks: FrameGroup | Window) -> slice:
        return slice(ranks.start - self.series.dropped, ranks.stop - self.series.dropped)
