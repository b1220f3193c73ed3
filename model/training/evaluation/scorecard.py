"""Scorecard of weights on one set of objects, as records and as the JSON of ``scores.json``. Measures nothing."""

from dataclasses import asdict, dataclass, field
from typing import Any

from model.training.evaluation.intervals import Interval
from model.training.evaluation.scoring import Scores


@dataclass(frozen=True, slots=True)
class ScoredWeights:
    """Which weights answered."""

    name: str
    version: str
    survey: str


@dataclass(frozen=True, slots=True)
class ScoredData:
    """The data set whose objects were asked about."""

    folder: str
    recipe: str | None
    seed: int | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """How many objects of each class there were."""

    objects: dict[str, int]
    balanced: bool


@dataclass(frozen=True, slots=True)
class ScoreIntervals:
    """Values with their 95 % ranges."""

    macro_f1: Interval
    balanced_accuracy: Interval
    recall: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class EarlyScores:
    """Scores of the answers at one age of all light curves."""

    macro_f1: float
    balanced_accuracy: float
    auc: float
    log_loss: float
    balanced_log_loss: float
    ece: float


@dataclass(frozen=True, slots=True)
class EarlyCurves:
    """Scores against nights and against days since first detection, and what sums them up."""

    by_night: dict[int, EarlyScores]
    by_day: dict[int, EarlyScores]
    final: EarlyScores
    area_under_macro_f1: float  # against log(1 + days)
    days_to_80_percent: float  # of the final macro-F1; infinite: never
    days_to_90_percent: float


@dataclass(frozen=True, slots=True)
class Confidence:
    """When objects are classed for good, which is known only afterwards; NaN where none is."""

    threshold: float
    confident_share: float
    median_days: float
    accuracy_when_confident: float
    flips_per_object: float
    earliness: float
    harmonic_mean: float  # of accuracy and what is left of the light curve


@dataclass(frozen=True, slots=True)
class Decisions:
    """What comes of acting on confident alerts; shares of right, changed and revoked are of the decided objects."""

    threshold: float
    alerts_in_a_row: int
    decided_share: float
    median_days: float
    right_share: float
    changed_share: float
    revoked_share: float


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What awaits somebody who follows up supernovae."""

    before_peak_purity_snia: float | None  # at half completeness; None: the weights know no type Ia
    false_alarms_per_1000: float


@dataclass(frozen=True, slots=True)
class NaturalMix:
    """The same in a survey's labelled mix of classes."""

    objects: dict[str, int]
    before_peak_purity_snia: float | None
    false_alarms_per_1000: float


@dataclass(frozen=True, slots=True)
class StrangersAtNight:
    """The unknown score after so many nights."""

    auroc: float
    median_of_known: float


@dataclass(frozen=True, slots=True)
class UnknownScores:
    """How well a score tells unknown objects from known ones."""

    auroc: float
    aupr: float
    fpr_at_95_tpr: float  # share of known objects above the threshold that 95 % of the unknown ones pass
    known: int  # objects
    unknown: int


@dataclass(frozen=True, slots=True)
class Strangers(UnknownScores):
    """How well the unknown score tells objects of unlisted classes from known ones, class by class and in time."""

    auroc_by_class: dict[str, float]
    auroc_of_parts: dict[str, float] = field(default_factory=dict)
    by_night: dict[int, StrangersAtNight] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scorecard:
    """All numbers of an evaluation."""

    weights: ScoredWeights
    data: ScoredData
    classes: ClassCounts
    scores: Scores
    intervals: ScoreIntervals
    reliability: list[list[float]]  # confidence, share correct and number, bin by bin
    early: EarlyCurves
    confidence: Confidence
    decisions: list[Decisions]
    follow_up: FollowUp
    natural_mix: NaturalMix | None  # None: nobody counted it
    by_label_mode: dict[str, Scores] | None = None  # None: the truth tells no modes
    unknown: Strangers | None = None  # None: not measured

    def as_json(self) -> dict[str, Any]:
        """The table that ``scores.json`` holds."""
        table: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "follow_up":
                table |= value
            elif value is not None or name == "natural_mix":
                table[name] = value
        return table
