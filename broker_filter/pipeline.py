"""Messages in, outcomes out, accounts exact: the rooms from bytes to classifications in one line. Knows no Kafka.

``process`` decides and computes; ``settle``, called once the outcomes are delivered, makes the series lasting. Until
then the same messages can be processed again with the same result.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from broker_filter import alert, stamp
from broker_filter.buffer import Change, Embedding, FrameKey, HeldSeries, Pixels, SeriesStore
from broker_filter.buffer_rows import group_tag
from broker_filter.classifier import Classifier, Verdict
from broker_filter.decode import Arrival, Decoder
from broker_filter.errors import FatalError, RetryableError
from broker_filter.outcome import BatchResult, Reporter, account
from broker_filter.records import Message, Rejected
from broker_filter.schema import Schemas
from broker_filter.window import Target, Window, WindowRule, targets_of
from model.history import History, lacking
from model.series import Series

FRAMES_AT_ONCE = 4096  # pixels in memory at a time; 100 MB of three 63 x 63 channels


def connect(schemas: Schemas, classifiers: Mapping[str, Classifier], threads: int = 2) -> Decoder:
    """The real decoder: alert and stamp rooms, set to what each survey's network reads."""
    observers = {
        survey: partial(
            stamp.observe,
            channels=tuple(c.card.channels),
            size=c.card.size_px,
            bands=tuple(c.card.bands),
        )
        for survey, c in classifiers.items()
    }
    histories = {survey: "".join(c.card.bands) for survey, c in classifiers.items() if c.card.history_limit}
    return Decoder(partial(alert.read_alerts, schemas=schemas, histories=histories), observers, threads)


@dataclass(frozen=True, slots=True)
class _Group:
    """Frames of one object that one embedding covers."""

    key: str
    start: int  # rank
    stop: int


class Pipeline:
    """The stream core.

    Parameters
    ----------
    decoder
        Messages to arrivals.
    classifiers
        By survey; each of the decoder's surveys has one.
    store
        Where series are kept.
    frame_limit
        Most observations that a classification reads; each network has its own limit too.
    clock
        Unix time, seconds.
    """

    def __init__(
        self,
        decoder: Decoder,
        classifiers: Mapping[str, Classifier],
        store: SeriesStore,
        frame_limit: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._decoder, self._classifiers, self._store, self._clock = decoder, classifiers, store, clock
        self._rules = {
            survey: WindowRule.of(min(c.card.frame_limit, frame_limit or c.card.frame_limit), c.card.group_size)
            for survey, c in classifiers.items()
        }

    def process(self, messages: Sequence[Message]) -> BatchResult:
        """Decode and classify a batch.

        Raises
        ------
        RetryableError
            Try the same messages again.
        FatalError
            Stop, and commit nothing.
        """
        start = time.perf_counter()
        decoded = self._decoder.decode(messages)
        decode_s = time.perf_counter() - start
        result = self.classify(decoded)
        return replace(result, durations_s={"decode": decode_s, **result.durations_s})

    def settle(self, result: BatchResult) -> None:
        """Make the batch lasting, after its outcomes were delivered."""
        self._store.settle(result.changes)

    def classify(self, decoded: Sequence[Arrival | Rejected]) -> BatchResult:
        """The second half of ``process``, for what was decoded elsewhere."""
        stages = _Stopwatch()
        ingest_ms = int(1000 * self._clock())
        seen = [a for a in decoded if isinstance(a, Arrival) and a.observation is not None]
        held = self._store.add([(a.key, a.observation) for a in seen if a.observation is not None])
        stages.lap("store_read")
        by_key: dict[str, list[Arrival]] = {}
        for arrival in seen:
            by_key.setdefault(arrival.key, []).append(arrival)
        survey_of = {key: arrivals[0].survey for key, arrivals in by_key.items()}
        targets = {
            key: targets_of(held[key], {a.alert_id for a in arrivals}, self._rules[survey_of[key]])
            for key, arrivals in by_key.items()
        }
        embedded = self._embed(held, targets, survey_of, stages)
        verdicts = self._verdicts(held, targets, survey_of, embedded)
        stages.lap("classify")
        publication_ms = int(1000 * self._clock())
        outcomes = Reporter(self._classifiers, held, targets, verdicts, (ingest_ms, publication_ms)).report(decoded)
        changes = tuple(
            Change(
                key,
                tuple({a.alert_id: None for a in arrivals}),
                self._rules[survey_of[key]].hold_limit,
                self._rules[survey_of[key]].group_size,
                self._lasting(held[key], survey_of[key], embedded),
            )
            for key, arrivals in by_key.items()
        )
        stages.lap("report")
        return BatchResult(tuple(outcomes), account(outcomes), stages.laps_s, changes)

    def _embed(
        self,
        held: Mapping[str, HeldSeries],
        targets: Mapping[str, list[Target]],
        survey_of: Mapping[str, str],
        stages: "_Stopwatch",
    ) -> dict[_Group, NDArray[np.float32]]:
        """Embeddings of all groups that the targets read, from the store where it has them."""
        embedded: dict[_Group, NDArray[np.float32]] = {}
        missing: dict[str, list[_Group]] = {}
        for key, of_object in targets.items():
            survey, series = survey_of[key], held[key]
            for group in self._groups(key, of_object, survey):
                kept = series.embeddings.get(group.start)
                if kept is not None and kept.tag == self._tag(series, survey, group):
                    embedded[group] = kept.values
                else:
                    missing.setdefault(survey, []).append(group)
        for survey, groups in missing.items():
            step = max(FRAMES_AT_ONCE // self._rules[survey].group_size, 1)
            for start in range(0, len(groups), step):
                some = groups[start : start + step]
                series_of_groups = self._read_frames(held, some, survey)
                stages.lap("store_read")
                embedded.update(zip(some, self._classifiers[survey].embed(series_of_groups), strict=True))
                stages.lap("embed")
        return embedded

    def _groups(self, key: str, targets: Sequence[Target], survey: str) -> list[_Group]:
        size = self._rules[survey].group_size
        return list(dict.fromkeys(_Group(key, *ranks) for t in targets for ranks in t.window.groups(size)))

    def _tag(self, series: HeldSeries, survey: str, group: _Group) -> bytes:
        card = self._classifiers[survey].card
        ids = series.heads["alert_id"][group.start - series.dropped : group.stop - series.dropped]
        return group_tag(f"{card.name} {card.version}", ids)

    def _read_frames(self, held: Mapping[str, HeldSeries], groups: Sequence[_Group], survey: str) -> list[Series]:
        names = {group: _frame_keys(held[group.key], group) for group in groups}
        pixels = self._store.pixels(list(dict.fromkeys(name for of_group in names.values() for name in of_group)))
        series = []
        for group in groups:
            if any(name not in pixels for name in names[group]):
                raise RetryableError(f"frames of {group.key} left the store while a batch read them: try again")
            frames = [pixels[name] for name in names[group]]
            self._check_shape(group, survey, frames)
            curve = _curve(held[group.key], group.start, group.stop)
            series.append(
                replace(
                    curve,
                    pixels_TCHW=np.stack([f.pixels for f in frames]),
                    scale_TC=np.stack([f.scale_njy for f in frames]),
                )
            )
        return series

    def _check_shape(self, group: _Group, survey: str, frames: Sequence[Pixels]) -> None:
        card = self._classifiers[survey].card
        wanted = (len(card.channels), card.size_px, card.size_px)
        for frame in frames:
            if frame.pixels.shape != wanted:
                raise FatalError(
                    f"the store holds frames of {frame.pixels.shape} for {group.key}, but {card.name} {card.version} "
                    f"reads {wanted}: give this network a store of its own, and fill it with ictc-replay --store"
                )

    def _verdicts(
        self,
        held: Mapping[str, HeldSeries],
        targets: Mapping[str, list[Target]],
        survey_of: Mapping[str, str],
        embedded: Mapping[_Group, NDArray[np.float32]],
    ) -> dict[tuple[str, int], Verdict]:
        verdicts: dict[tuple[str, int], Verdict] = {}
        for survey, classifier in self._classifiers.items():
            asked = [(key, t) for key, of_object in targets.items() if survey_of[key] == survey for t in of_object]
            if not asked:
                continue
            size = self._rules[survey].group_size
            embeddings = [
                np.stack([embedded[_Group(key, *ranks)] for ranks in target.window.groups(size)])
                for key, target in asked
            ]
            curves = [_curve(held[key], target.window.start, target.window.stop) for key, target in asked]
            histories = None
            if (limit := classifier.card.history_limit) > 0:
                histories = [
                    lacking([_told(held[key], target.window)], curve, limit)
                    for (key, target), curve in zip(asked, curves, strict=True)
                ]
            answers = classifier.classify(embeddings, curves, histories)
            verdicts.update({(key, t.index): answer for (key, t), answer in zip(asked, answers, strict=True)})
        return verdicts

    def _lasting(
        self, series: HeldSeries, survey: str, embedded: Mapping[_Group, NDArray[np.float32]]
    ) -> dict[int, Embedding]:
        """New embeddings of full groups; a short group will be another one with the next alert."""
        size, last = self._rules[survey].group_size, series.dropped + len(series.heads)
        lasting = {}
        for rank in range(-(-series.dropped // size) * size, last - size + 1, size):
            group = _Group(series.key, rank, rank + size)
            kept = series.embeddings.get(rank)
            if group in embedded and (kept is None or kept.values is not embedded[group]):
                lasting[rank] = Embedding(self._tag(series, survey, group), embedded[group])
        return lasting


class _Stopwatch:
    """Wall time by stage, seconds."""

    def __init__(self) -> None:
        self.laps_s: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps_s[stage] = self.laps_s.get(stage, 0.0) + now - self._last
        self._last = now


def _frame_keys(series: HeldSeries, group: _Group) -> list[FrameKey]:
    heads = series.heads[group.start - series.dropped : group.stop - series.dropped]
    return [
        FrameKey(series.key, time_mjd, alert_id)
        for time_mjd, alert_id in zip(heads["time_mjd"].tolist(), heads["alert_id"].tolist(), strict=True)
    ]


def _told(series: HeldSeries, window: Window) -> History:
    """What the packets of a window's observations tell, in the order of the observations."""
    return series.told(window.start - series.dropped, window.stop - series.dropped)


def _curve(series: HeldSeries, start: int, stop: int) -> Series:
    """The frames of ranks ``start`` to ``stop - 1`` without their pixels."""
    heads = series.heads[start - series.dropped : stop - series.dropped]
    return Series(
        pixels_TCHW=np.empty((len(heads), 0, 0, 0), np.float16),
        scale_TC=np.empty((len(heads), 0), np.float32),
        band_T=heads["band"],
        time_T=heads["time_mjd"],
        flux_T=heads["flux_njy"],
        flux_error_T=heads["flux_error_njy"],
    )
