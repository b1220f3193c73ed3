"""Earliness: curves and delays of right answers, from the probabilities of every prefix. It knows no network.

Legend: ``N`` objects, ``T`` frames of the longest, ``K`` classes. Row t of an object is what the network says when it
has seen frames 0..t and nothing later; it is NaN beyond an object's last frame.

References
----------
Schafer and Leser 2020, "TEASER", for the harmonic mean of earliness and accuracy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from model.training.evaluation import scoring
from model.training.evaluation.scorecard import Confidence, Decisions, EarlyCurves, EarlyScores

NIGHTS = (1, 2, 3, 5, 8, 12, 20)
DAYS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
DETECTION_SIGMA = 5.0
CONFIDENT = 0.8
NIGHT_D = 0.5  # frames closer than this are of one night
AREA_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class PrefixPredictions:
    """Every object's classification after every frame."""

    label_N: NDArray[np.int64]
    probability_NTK: NDArray[np.float64]
    time_NT: NDArray[np.float64]  # days since the first frame; NaN beyond the last
    detected_N: NDArray[np.int64]  # frame of the first detection; the last frame where there is none
    peak_day_N: NDArray[np.float64]  # days since the first frame, NaN where unknown or meaningless
    unknown_NT: NDArray[np.float64] | None = None  # how strange the network finds them, where it was asked

    @property
    def last_frame(self) -> NDArray[np.int64]:
        return np.isfinite(self.time_NT).sum(1) - 1

    @property
    def night(self) -> NDArray[np.float64]:
        """Nights since the first detection, counted from 1; 0 or less before it."""
        new_NT = np.zeros_like(self.time_NT)
        new_NT[:, 1:] = np.nan_to_num(np.diff(self.time_NT, axis=1)) > NIGHT_D
        count_NT = new_NT.cumsum(1)
        return count_NT - np.take_along_axis(count_NT, self.detected_N[:, None], 1) + 1


def first_detection(flux_T: NDArray, error_T: NDArray) -> int:
    """The first frame at which the source stands out by ``DETECTION_SIGMA``; the last frame where it never does."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bright = np.flatnonzero(np.abs(flux_T) > DETECTION_SIGMA * error_T)
    return int(bright[0]) if len(bright) else len(flux_T) - 1


def at_frames(predictions: PrefixPredictions, frame_N: NDArray) -> NDArray[np.float64]:
    """Probabilities of every object at one frame each. Returns [N, K]."""
    return predictions.probability_NTK[np.arange(len(frame_N)), frame_N]


def unknown_at(predictions: PrefixPredictions, frame_N: NDArray) -> NDArray[np.float64]:
    """The unknown score of every object at one frame each. Returns [N].

    Raises
    ------
    ValueError
        When nobody asked the network for it.
    """
    if predictions.unknown_NT is None:
        raise ValueError("these predictions hold no unknown score: make them with one")
    return predictions.unknown_NT[np.arange(len(frame_N)), frame_N]


def _last_where(allowed_NT: NDArray) -> NDArray[np.int64]:
    """The last frame that is allowed; 0 where none is."""
    length = allowed_NT.shape[1]
    return np.where(allowed_NT.any(1), length - 1 - allowed_NT[:, ::-1].argmax(1), 0)


def frame_after_nights(predictions: PrefixPredictions, nights: int) -> NDArray[np.int64]:
    """The last frame of the n-th night since first detection, or an object's last one."""
    real_NT = np.isfinite(predictions.time_NT)
    return _last_where(real_NT & (predictions.night <= nights))


def frames_by_night(time_NT: NDArray[np.float64], detected_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last frame of every object after each of ``NIGHTS``, [V, N]; other arguments as in `PrefixPredictions`."""
    count = len(detected_N)
    at = PrefixPredictions(np.zeros(count, np.int64), np.empty((count, 0, 1)), time_NT, detected_N, np.empty(0))
    return np.stack([frame_after_nights(at, nights) for nights in NIGHTS])


def frame_after_days(predictions: PrefixPredictions, days: float) -> NDArray[np.int64]:
    """The last frame within this many days after first detection."""
    since_NT = predictions.time_NT - np.take_along_axis(predictions.time_NT, predictions.detected_N[:, None], 1)
    return _last_where(np.isfinite(since_NT) & (since_NT <= days))


def scores_at(predictions: PrefixPredictions, frame_N: NDArray) -> EarlyScores:
    """The scores of an early curve, of all objects at one frame each."""
    probability_NK = at_frames(predictions, frame_N)
    classes = probability_NK.shape[1]
    reached = scoring.score(predictions.label_N, probability_NK, tuple(str(k) for k in range(classes)))
    return EarlyScores(*(getattr(reached, field.name) for field in fields(EarlyScores)))


def curves(predictions: PrefixPredictions) -> EarlyCurves:
    """Scores against nights and against days since first detection, and what sums them up."""
    by_night = {n: scores_at(predictions, frame_after_nights(predictions, n)) for n in NIGHTS}
    by_day = {d: scores_at(predictions, frame_after_days(predictions, d)) for d in DAYS}
    final = scores_at(predictions, predictions.last_frame)
    f1 = {d: entry.macro_f1 for d, entry in by_day.items()}
    days = np.array([d for d in DAYS if d <= AREA_DAYS])
    at = np.log1p(days)
    area = float(np.trapezoid([f1[d] for d in days], at) / (at[-1] - at[0]))
    days_to = (next((d for d in DAYS if f1[d] >= share * final.macro_f1), float("inf")) for share in (0.8, 0.9))
    return EarlyCurves(by_night, by_day, final, area, *days_to)


def _since_detection(predictions: PrefixPredictions) -> Iterator[tuple[int, NDArray[np.int64], NDArray, NDArray]]:
    """Of each object its label, and of each frame since detection the choice, its probability, and the day."""
    last_N = predictions.last_frame
    for n, (label, start) in enumerate(zip(predictions.label_N.tolist(), predictions.detected_N.tolist(), strict=True)):
        probability_TK = predictions.probability_NTK[n, start : last_N[n] + 1]
        time_T = predictions.time_NT[n, start : last_N[n] + 1]
        yield label, probability_TK.argmax(1), probability_TK.max(1), time_T - time_T[0]


def decisions(predictions: PrefixPredictions, threshold: float = CONFIDENT, in_a_row: int = 1) -> Decisions:
    """What comes of acting as soon as one class has reached ``threshold`` on ``in_a_row`` alerts in a row.

    A broker can follow this rule, for it looks at nothing later. Shares of right and of revoked decisions are of the
    decided objects; one that is changed at any later alert counts as changed, one that is not the last word as revoked.
    """
    days, right, changed, revoked = [], [], [], []
    for label, choice_T, best_T, day_T in _since_detection(predictions):
        run = 0
        for t, sure in enumerate(best_T >= threshold):
            run = (run + 1 if run and choice_T[t] == choice_T[t - 1] else 1) if sure else 0
            if run == in_a_row:
                days.append(day_T[t])
                right.append(choice_T[t] == label)
                changed.append((choice_T[t:] != choice_T[t]).any())
                revoked.append(choice_T[-1] != choice_T[t])
                break

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else float("nan")

    return Decisions(
        threshold,
        in_a_row,
        decided_share=len(days) / len(predictions.label_N),
        median_days=float(np.median(days)) if days else float("nan"),
        right_share=mean(right),
        changed_share=mean(changed),
        revoked_share=mean(revoked),
    )


def confidence(predictions: PrefixPredictions, threshold: float = CONFIDENT) -> Confidence:
    """When each object is classed with confidence for good, and how often it changed its mind.

    A decision is the first frame since detection at which the largest probability reaches ``threshold`` and from
    which on the choice never changes: known only afterwards, see :func:`decisions` for a rule that can be followed.
    Earliness counts undecided objects as decided at their last frame.
    """
    decided, delay, earliness, flips, right = [], [], [], [], []
    for label, choice_T, best_T, day_T in _since_detection(predictions):
        changes = np.flatnonzero(np.diff(choice_T))
        flips.append(len(changes))
        settled = int(changes[-1]) + 1 if len(changes) else 0
        sure = np.flatnonzero(best_T[settled:] >= threshold)
        decided.append(len(sure) > 0)
        frame = settled + int(sure[0]) if len(sure) else len(day_T) - 1
        delay.append(day_T[frame])
        earliness.append((frame + 1) / len(day_T))
        right.append(choice_T[-1] == label)
    sure_N = np.array(decided)
    accuracy = float(np.mean(right))
    early = float(np.mean(earliness))
    return Confidence(
        threshold,
        confident_share=float(sure_N.mean()),
        median_days=float(np.median(np.array(delay)[sure_N])) if sure_N.any() else float("nan"),
        accuracy_when_confident=float(np.array(right)[sure_N].mean()) if sure_N.any() else float("nan"),
        flips_per_object=float(np.mean(flips)),
        earliness=early,
        harmonic_mean=2 * accuracy * (1 - early) / (accuracy + 1 - early) if accuracy + 1 - early > 0 else 0.0,
    )


def in_mix(label_N: NDArray[np.int64], share_K: Sequence[float]) -> NDArray[np.float64]:
    """Weights [N] with which objects stand for a mix of classes that is not theirs; of mean 1."""
    count_K = np.bincount(label_N, minlength=len(share_K))
    weight_N = (np.asarray(share_K, float) / np.maximum(count_K, 1))[label_N]
    return np.asarray(weight_N / weight_N.mean())


def purity_at(score_N: NDArray, member_N: NDArray, completeness: float = 0.5, weight_N: NDArray | None = None) -> float:
    """Purity of the sample that the highest scores give when it holds this share of the members; NaN without any."""
    if not member_N.any():
        return float("nan")
    order = np.argsort(-score_N, kind="stable")
    weight_N = np.ones(len(order)) if weight_N is None else weight_N[order]
    taken, members = np.cumsum(weight_N), np.cumsum(weight_N * member_N[order])
    cut = int(np.searchsorted(members, completeness * members[-1]))
    return float(members[cut] / taken[cut])


def before_peak_purity(
    predictions: PrefixPredictions, kind: int, completeness: float = 0.5, weight_N: NDArray | None = None
) -> float:
    """Purity of class ``kind`` by its probability at the last frame before peak light; objects count by their weight.

    Objects without a peak are judged at the median frame (after detection) of those that have one.
    """
    real_NT = np.isfinite(predictions.time_NT)
    before = _last_where(real_NT & (predictions.time_NT <= np.nan_to_num(predictions.peak_day_N, nan=-1.0)[:, None]))
    has_peak = np.isfinite(predictions.peak_day_N) & (before >= predictions.detected_N)
    if not has_peak.any():
        return float("nan")
    typical = int(np.median((before - predictions.detected_N)[has_peak]))
    frame_N = np.where(has_peak, before, np.minimum(predictions.detected_N + typical, predictions.last_frame))
    usable = has_peak | ~np.isfinite(predictions.peak_day_N)
    score_N = at_frames(predictions, frame_N)[:, kind]
    usable_weight_N = None if weight_N is None else weight_N[usable]
    return purity_at(score_N[usable], (predictions.label_N == kind)[usable], completeness, usable_weight_N)


def false_alarms(
    predictions: PrefixPredictions, alarm: tuple[int, ...], quiet: tuple[int, ...], weight_N: NDArray | None = None
) -> float:
    """Alerts classed as one of ``alarm``, per 1,000 alerts of objects that are one of ``quiet``, each by its weight."""
    choice_NT = np.argmax(np.nan_to_num(predictions.probability_NTK, nan=-1.0), 2)
    frame_NT = np.arange(predictions.time_NT.shape[1])[None]
    alert_NT = np.isfinite(predictions.time_NT) & (frame_NT >= predictions.detected_N[:, None])
    alert_NT &= np.isin(predictions.label_N, quiet)[:, None]
    if not alert_NT.any():
        return float("nan")
    of_object_NT = np.broadcast_to(1.0 if weight_N is None else weight_N[:, None], alert_NT.shape)
    return float(1000 * np.average(np.isin(choice_NT, alarm)[alert_NT], weights=of_object_NT[alert_NT]))
