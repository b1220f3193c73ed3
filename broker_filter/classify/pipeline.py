"""Classification of a batch of messages, from bytes to outcomes, with exact accounts. Knows no Kafka.

``process`` decides and computes; ``settle``, called once the outcomes are delivered, makes the series lasting. Until
then the same messages can be processed again with the same result.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from broker_filter.alerts.decode import Arrival, Decoder
from broker_filter.alerts.units import magnitude_of_flux
from broker_filter.classify.class_memory import ClassMemory
from broker_filter.classify.classifier import StreamClassifier, Verdict
from broker_filter.classify.object_update import FrameGroup, ObjectUpdate
from broker_filter.classify.outcome import BatchResult, Reporter
from broker_filter.errors import FatalError, RetryableError
from broker_filter.records import Classification, Message, Observation, Rejected, account
from broker_filter.series.rows import group_tag
from broker_filter.series.store import Change, Embedding, Pixels, SeriesStore
from broker_filter.series.window import WindowRule
from model.past_photometry import lacking
from model.series import Series

FRAMES_AT_ONCE = 4096  # pixels in memory at a time; 100 MB of three 63 x 63 channels


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
        classifiers: Mapping[str, StreamClassifier],
        store: SeriesStore,
        frame_limit: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._decoder, self._classifiers, self._store, self._clock = decoder, classifiers, store, clock
        self.memory = ClassMemory()
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

    def refuse_without_room(self, result: BatchResult) -> None:
        """See, before the outcomes are delivered, that the store has room for the batch; RetryableError otherwise."""
        self._store.refuse_without_room(result.changes)

    def prepare(self, result: BatchResult) -> None:
        """Write the batch's observations, unsettled, before a delivery that commits offsets."""
        self._store.prepare(result.changes)

    def settle(self, result: BatchResult) -> None:
        """Make the batch lasting, after its outcomes were delivered."""
        self._store.settle(result.changes)
        results = (outcome.result for outcome in result.outcomes)
        self.memory.enter(one for one in results if isinstance(one, Classification))

    def classify(self, decoded: Sequence[Arrival | Rejected]) -> BatchResult:
        """The second half of ``process``, for what was decoded elsewhere."""
        stages = _Stopwatch()
        ingest_ms = int(1000 * self._clock())
        # 1. arrivals by object
        seen = [a for a in decoded if isinstance(a, Arrival) and (a.observation is not None or a.withdrawn)]
        by_key: dict[str, list[Arrival]] = {}
        for arrival in seen:
            by_key.setdefault(arrival.key, []).append(arrival)
        # 2. series from store
        held = self._store.add([(a.key, _to_store(a, a.observation)) for a in seen if a.observation is not None])
        if frameless := [key for key in by_key if key not in held]:  # their packets only tell of withdrawals
            held |= self._store.read(frameless)
        stages.lap("store_read")
        updates = {
            key: ObjectUpdate.of(arrivals, held[key], self._rules[arrivals[0].survey]).recall(self.memory)
            for key, arrivals in by_key.items()
            if key in held
        }
        # 3. embeddings, then classes
        embedded = self._embed(updates, stages)
        verdicts = self._verdicts(updates, embedded)
        stages.lap("classify")
        # 4. outcomes and changes
        publication_ms = int(1000 * self._clock())
        reporter = Reporter(self._classifiers, updates, verdicts, (ingest_ms, publication_ms), self.memory)
        outcomes = reporter.report(decoded)
        changes = tuple(
            Change(
                update.key,
                update.alert_ids,
                update.rule.hold_limit,
                update.rule.group_size,
                self._lasting(update, embedded),
                update.leaving,
            )
            for update in updates.values()
        )
        stages.lap("report")
        return BatchResult(tuple(outcomes), account(outcomes), stages.laps_s, changes)

    def _embed(
        self, updates: Mapping[str, ObjectUpdate], stages: "_Stopwatch"
    ) -> dict[FrameGroup, NDArray[np.float32]]:
        """Embeddings of all groups that the targets read, from the store where it has them."""
        embedded: dict[FrameGroup, NDArray[np.float32]] = {}
        missing: dict[str, list[FrameGroup]] = {}
        for update in updates.values():
            for group in dict.fromkeys(group for target in update.questions for group in update.groups(target)):
                stored = update.series.embeddings.get(group.start)
                if stored is not None and stored.tag == self._tag(update, group):
                    embedded[group] = stored.values
                else:
                    missing.setdefault(update.survey, []).append(group)
        for survey, groups in missing.items():
            step = max(FRAMES_AT_ONCE // self._rules[survey].group_size, 1)
            for start in range(0, len(groups), step):
                some = groups[start : start + step]
                series_of_groups = self._read_frames(updates, some)
                stages.lap("store_read")
                embedded.update(zip(some, self._classifiers[survey].embed(series_of_groups), strict=True))
                stages.lap("embed")
        return embedded

    def _tag(self, update: ObjectUpdate, group: FrameGroup) -> bytes:
        card = self._classifiers[update.survey].card
        return group_tag(f"{card.name} {card.version}", update.ids(group))

    def _read_frames(self, updates: Mapping[str, ObjectUpdate], groups: Sequence[FrameGroup]) -> list[Series]:
        names = {group: updates[group.key].frame_keys(group) for group in groups}
        pixels = self._store.pixels(list(dict.fromkeys(name for of_group in names.values() for name in of_group)))
        series = []
        for group in groups:
            if any(name not in pixels for name in names[group]):
                raise RetryableError(f"frames of {group.key} left the store while a batch read them: try again")
            update, frames = updates[group.key], [pixels[name] for name in names[group]]
            self._check_shape(update, frames)
            pixels_TCHW = np.stack([frame.pixels for frame in frames])
            scale_TC = np.stack([frame.scale_njy for frame in frames])
            series.append(update.photometry(group).with_images(pixels_TCHW, scale_TC))
        return series

    def _check_shape(self, update: ObjectUpdate, frames: Sequence[Pixels]) -> None:
        card = self._classifiers[update.survey].card
        wanted = (len(card.channels), card.size_px, card.size_px)
        for frame in frames:
            if frame.pixels.shape != wanted:
                raise FatalError(
                    f"the store holds frames of {frame.pixels.shape} for {update.key}, but {card.name} {card.version} "
                    f"reads {wanted}: give this network a store of its own, and fill it with ictc-replay --store"
                )

    def _verdicts(
        self, updates: Mapping[str, ObjectUpdate], embedded: Mapping[FrameGroup, NDArray[np.float32]]
    ) -> dict[tuple[str, int], Verdict]:
        """By key and index of the target."""
        verdicts: dict[tuple[str, int], Verdict] = {}
        for survey, classifier in self._classifiers.items():
            of_survey = [update for update in updates.values() if update.survey == survey]
            pairs = [(update, target) for update in of_survey for target in update.questions]
            if not pairs:
                continue
            embeddings = [_rows([embedded[group] for group in update.groups(target)]) for update, target in pairs]
            curves = [update.photometry(target.window) for update, target in pairs]
            histories = None
            if (limit := classifier.card.history_limit) > 0:
                histories = [
                    lacking([update.past(target.window)], curve, limit)
                    for (update, target), curve in zip(pairs, curves, strict=True)
                ]
            answers = classifier.classify(embeddings, curves, histories)
            verdicts |= {(update.key, t.index): answer for (update, t), answer in zip(pairs, answers, strict=True)}
        return verdicts

    def _lasting(
        self, update: ObjectUpdate, embedded: Mapping[FrameGroup, NDArray[np.float32]]
    ) -> dict[int, Embedding]:
        """New embeddings of full groups."""
        lasting = {}
        for group in update.full_groups():
            stored = update.series.embeddings.get(group.start)
            if group in embedded and (stored is None or stored.values is not embedded[group]):
                lasting[group.start] = Embedding(self._tag(update, group), embedded[group])
        return lasting


def _to_store(arrival: Arrival, observation: Observation) -> Observation:
    """The frame of an alert with what stores keep beside it: its message's position, what its packet says of it."""
    source = arrival.detection
    if source is None:
        return replace(observation, origin=arrival.message.origin)
    magnitude, magnitude_error = magnitude_of_flux(source.flux_njy, source.flux_error_njy)
    return replace(
        observation,
        origin=arrival.message.origin,
        ra_deg=_or_nan(source.ra_deg),
        dec_deg=_or_nan(source.dec_deg),
        magnitude=_or_nan(magnitude),
        magnitude_error=_or_nan(magnitude_error),
        real_bogus=_or_nan(source.real_bogus),
    )


def _rows(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(vectors).reshape(len(vectors), -1)  # np.stack takes four times as long


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


class _Stopwatch:
    """Wall time by stage, seconds."""

    def __init__(self) -> None:
        self.laps_s: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps_s[stage] = self.laps_s.get(stage, 0.0) + now - self._last
        self._last = now
