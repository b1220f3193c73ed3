"""Outcomes of a batch in the order of its messages, and their accounts. Knows no store and no network.

Every message gets at least one outcome: a classification, the reason why there is none, or a rejection.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from broker_filter.alerts.decode import Arrival
from broker_filter.alerts.survey import night_of
from broker_filter.classify.class_memory import ClassMemory
from broker_filter.classify.classifier import StreamClassifier, Verdict
from broker_filter.classify.light_curve_age import age_of
from broker_filter.classify.object_update import ObjectUpdate
from broker_filter.errors import NotClassified
from broker_filter.records import (
    ASTEROID,
    BOGUS,
    PACKET_EVIDENCE,
    STAMPS_EVIDENCE,
    BatchReport,
    Classification,
    Detection,
    Outcome,
    Rejected,
    SolarSystemMatch,
)
from broker_filter.series.store import Change
from broker_filter.series.window import Target
from model.clock import unix_ms
from model.series import BANDS
from model.taxonomy import Taxonomy

# Of the survey's own score, 0 bogus to 1 real: below it the survey, not the network, is asked. A choice far below the
# cuts in use (0.65 for ZTF's: Duev et al. 2019, MNRAS 489, 3582), so that doubtful detections keep their classes.
BOGUS_BELOW = 0.1


@dataclass(frozen=True, slots=True)
class BatchResult(BatchReport):
    """What became of a batch of messages, and what it changes in the store once it is delivered."""

    changes: tuple[Change, ...]  # for Pipeline.settle


def _order_of(head: np.void) -> tuple[float, int]:
    return float(head["time_mjd"]), int(head["alert_id"])


def _known(number: float) -> float | None:
    """A number of a stored row; None for NaN."""
    return None if math.isnan(number) else float(number)


class Reporter:
    """Puts verdicts back in the order of what was decoded."""

    def __init__(
        self,
        classifiers: Mapping[str, StreamClassifier],
        updates: Mapping[str, ObjectUpdate],
        verdicts: Mapping[tuple[str, int], Verdict],
        times_ms: tuple[int, int],
        memory: ClassMemory,
    ) -> None:
        self._classifiers, self._updates, self._verdicts, self._times_ms = classifiers, updates, verdicts, times_ms
        self._memory = memory
        self._taxonomies = {survey: one.card.taxonomy for survey, one in classifiers.items()}
        self._arrived = {
            (update.key, int(update.series.alert_ids[t.index])): t
            for update in updates.values()
            for t in update.targets
            if not t.revision
        }
        self._revisions = {update.key: [t for t in update.targets if t.revision] for update in updates.values()}

    def report(self, decoded: Sequence[Arrival | Rejected]) -> list[Outcome]:
        """Call once."""
        outcomes = []
        for item in decoded:
            if isinstance(item, Rejected):
                outcomes.append(Outcome(item.message, item))
                continue
            outcomes.append(Outcome(item.message, self._of_arrival(item), item.past_refused))
            if item.observation is not None or item.withdrawn:
                outcomes += [self._of_revision(item, target) for target in self._revisions.pop(item.key, ())]
        return outcomes

    def _of_arrival(self, arrival: Arrival) -> Classification:
        if arrival.observation is None:
            blank = self._blank(arrival, arrival.reason)
            if arrival.match is None or arrival.reason is not NotClassified.SOLAR_SYSTEM:
                return blank
            return _moving(blank, arrival.match, self._taxonomies[arrival.survey])
        target = self._arrived.get((arrival.key, arrival.alert_id))
        if target is None:
            gone = arrival.alert_id in self._updates[arrival.key].leaving
            return self._blank(arrival, NotClassified.WITHDRAWN if gone else NotClassified.TOO_LATE)
        return self._classified(self._blank(arrival, None), arrival.key, target)

    def _of_revision(self, cause: Arrival, target: Target) -> Outcome:
        head = self._updates[cause.key].series.heads[target.index]
        time_mjd = float(head["time_mjd"])
        later = replace(
            self._blank(cause, None),
            alert_id=int(head["alert_id"]),
            time_mjd=time_mjd,
            band=BANDS[head["band"]],
            revision=True,
            detection=Detection(
                *(_known(head[name]) for name in ("ra_deg", "dec_deg", "flux_njy", "flux_error_njy", "real_bogus"))
            ),
            moving_object=None,  # of the alert that is revised it is not stored
            night=night_of(cause.survey, time_mjd),
            alert_time_ms=unix_ms(time_mjd),
        )
        return Outcome(cause.message, self._classified(later, cause.key, target))

    def _classified(self, blank: Classification, key: str, target: Target) -> Classification:
        verdict = self._verdicts[key, target.index]
        update = self._updates[key]
        age = age_of(update.photometry(target.window), update.past(target.window))
        answer = replace(
            blank,
            observation_count=target.window.size,
            known_count=target.window.stop,
            unknown_score=verdict.unknown_score,
            history_count=verdict.history_count,
            previous_class=self._previous_class(update, target),
            days_since_first=age.days_since_first,
            days_since_brightest=age.days_since_brightest,
        )
        probabilities, taxonomy = self._probabilities(update, target.index), self._taxonomies[update.survey]
        if not probabilities:
            return replace(blank, reason=NotClassified.UNSUPPORTED_STAMP)
        if BOGUS in probabilities:
            words = f"the survey's real/bogus score is {1 - probabilities[BOGUS]:.2g} (0 bogus, 1 real)"
            return answered_by_packet(answer, probabilities, words, taxonomy)
        return replace(
            answer,
            probabilities=probabilities,
            broad_probabilities=verdict.broad_probabilities or taxonomy.broad(probabilities),
            prediction_set=verdict.prediction_set,
            coverage=verdict.coverage,
            evidence=STAMPS_EVIDENCE,
        )

    def _probabilities(self, update: ObjectUpdate, index: int) -> dict[str, float]:
        """What the network says of an alert; where the survey calls it an artefact, that comes before.

        Empty where its arithmetic left the range of float32, and the answer is no number.
        """
        verdict = self._verdicts[update.key, index].probabilities
        if not math.isfinite(verdict.sum()):
            return {}
        probabilities = dict(zip(self._classifiers[update.survey].card.classes, verdict.tolist(), strict=True))
        score = float(update.series.heads[index]["real_bogus"])
        if not 0 <= score < BOGUS_BELOW:  # NaN: unknown
            return probabilities
        return {BOGUS: 1 - score} | {name: score * p for name, p in probabilities.items()}

    def _previous_class(self, update: ObjectUpdate, target: Target) -> str | None:
        """Of the alert before: as the network was asked, or as it is remembered where that is of a later alert."""
        heads, before = update.series.heads, target.index - 1
        remembered = self._memory.before(update.key, _order_of(heads[target.index]))
        answered = (update.key, before) in self._verdicts
        if not answered or (remembered is not None and remembered[0] > _order_of(heads[before])):
            return None if remembered is None else remembered[1]
        probabilities = self._probabilities(update, before)
        return max(probabilities, key=probabilities.__getitem__, default=None)

    def _blank(self, arrival: Arrival, reason: NotClassified | None) -> Classification:
        card = self._classifiers[arrival.survey].card
        return Classification(
            survey=arrival.survey,
            object_id=arrival.object_id,
            alert_id=arrival.alert_id,
            time_mjd=arrival.time_mjd,
            band=arrival.band,
            observation_count=0,
            probabilities={},
            classifier=card.name,
            classifier_version=card.version,
            taxonomy_version=card.taxonomy_version,
            reason=reason,
            detection=arrival.detection,
            moving_object=None if arrival.match is None else arrival.match.known,
            night=night_of(arrival.survey, arrival.time_mjd),
            alert_time_ms=arrival.published_ms,
            ingest_time_ms=self._times_ms[0],
            publication_time_ms=self._times_ms[1],
        )


def _moving(blank: Classification, match: SolarSystemMatch, taxonomy: Taxonomy) -> Classification:
    """The answer of a packet whose source moves; what is left of the probability is shared by all classes alike."""
    left = (1 - match.probability) / len(taxonomy.classes)
    probabilities = {ASTEROID: match.probability, **dict.fromkeys(taxonomy.classes, left)}
    return answered_by_packet(replace(blank, reason=None), probabilities, match.words, taxonomy)


def answered_by_packet(
    answer: Classification, probabilities: Mapping[str, float], words: str, taxonomy: Taxonomy
) -> Classification:
    """The answer with a class that the survey itself tells, and why."""
    return replace(
        answer,
        probabilities=probabilities,
        broad_probabilities=taxonomy.broad(probabilities),
        evidence=PACKET_EVIDENCE,
        explanation=words,
    )
