"""Scores of the same objects with and without a change, their intervals, and the table of all controls.

It knows neither networks nor skies. Legend: ``N`` objects, ``K`` classes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from model.training.evaluation.intervals import Interval, bootstrap, compare_pair, macro_f1_interval, wilson

ALL = "all"
CHANCE_AUC = 0.55  # macro one-vs-rest AUC up to which answers count as chance
SWAP_LIMIT, CENTRE_SHARE, REAL_DATES = 0.02, 0.95, 0.40  # of the specification


@dataclass(frozen=True, slots=True)
class Control:
    """What a control does, what an honest network does then, and what was measured elsewhere."""

    name: str
    what: str
    expected: str
    reference: str = "–"
    holds: "Judgement | None" = None


@dataclass(frozen=True, slots=True)
class ControlAnswers:
    """What was said of some objects under a control, and of the same objects unchanged."""

    control: str
    mode: str  # of their labels; ``ALL``: of any
    label_N: NDArray[np.int64]
    probability_NK: NDArray[np.float64]
    unchanged_NK: NDArray[np.float64] | None = None
    host_N: NDArray[np.int64] | None = None  # class of the object whose host it was put into; -1: it stayed


@dataclass(frozen=True, slots=True)
class Result:
    """One control on the objects of one label mode."""

    control: str
    mode: str
    objects: int
    macro_f1: Interval
    auc: Interval
    recall: Mapping[str, float]
    difference: Interval | None  # of macro-F1 from that of the same objects unchanged
    flipped: Interval | None  # share whose class is another than unchanged, of those that were changed
    taken_for_host: Interval | None  # share that gets the class of the object whose host it was put into
    taken_before: Interval | None  # share that had got that class unchanged


Judgement = Callable[[Result, Result], bool | None]  # of a result and the unchanged one; None: unclear


def together(parts: Sequence[ControlAnswers], mode: str) -> ControlAnswers:
    """Answers of one control in several label modes as one."""

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    names = ("label_N", "probability_NK", "unchanged_NK", "host_N")
    return ControlAnswers(parts[0].control, mode, **{name: joined(name) for name in names})


def measure(answers: ControlAnswers, classes: Sequence[str]) -> Result:
    """Score answers, and compare them with those to the unchanged objects."""
    label_N, probability_NK = answers.label_N, answers.probability_NK
    chosen_N, count = probability_NK.argmax(1), len(classes)
    difference = flipped = taken = before = None
    if answers.unchanged_NK is not None:
        before_N = answers.unchanged_NK.argmax(1)
        difference = compare_pair(label_N, chosen_N, before_N, count).difference
        moved_N = np.ones(len(label_N), bool) if answers.host_N is None else answers.host_N >= 0
        flipped = wilson(int((chosen_N != before_N)[moved_N].sum()), int(moved_N.sum()))
        if answers.host_N is not None:
            taken, before = (
                wilson(int((of_N == answers.host_N).sum()), int(moved_N.sum())) for of_N in (chosen_N, before_N)
            )
    return Result(
        answers.control,
        answers.mode,
        len(label_N),
        macro_f1_interval(label_N, chosen_N, count),
        bootstrap(label_N, lambda rows: area(label_N[rows], probability_NK[rows])),
        {name: float((chosen_N[label_N == k] == k).mean()) for k, name in enumerate(classes) if (label_N == k).any()},
        difference,
        flipped,
        taken,
        before,
    )


def area(label_N: NDArray[np.int64], probability_NK: NDArray[np.float64]) -> float:
    """Mean area under the one-vs-rest curves of the classes present."""
    areas = []
    rank_NK = rankdata(probability_NK, axis=0)
    for k in np.unique(label_N):
        own_N = label_N == k
        own, others = int(own_N.sum()), int((~own_N).sum())
        ranks = float(rank_NK[own_N, k].sum())
        areas.append((ranks - own * (own + 1) / 2) / (own * others) if others else np.nan)
    return float(np.mean(areas))


def at_chance(changed: Result, unchanged: Result) -> bool:
    """Whether the answers say nothing of the classes."""
    return changed.auc.low <= 0.5 or changed.auc.value <= CHANCE_AUC


def seasons_of_the_sample(changed: Result, unchanged: Result) -> bool:
    """Whether dates tell nothing, or no more than in the real sample, whose seasons the labels of SDSS copy."""
    copied = changed.mode in (ALL, "sdss_label")
    return at_chance(changed, unchanged) or (copied and changed.macro_f1.value <= REAL_DATES)


def drops(changed: Result, unchanged: Result) -> bool:
    """Whether the score falls by more than chance would do."""
    return changed.difference is not None and changed.difference.high < 0


def stays(changed: Result, unchanged: Result) -> bool | None:
    """Whether the score stays within the limit of the specification; None where chance may be what took it out."""
    assert changed.difference is not None
    if abs(changed.difference.value) < SWAP_LIMIT:
        return True
    return False if changed.difference.low > SWAP_LIMIT or changed.difference.high < -SWAP_LIMIT else None


def nearly_all(changed: Result, unchanged: Result) -> bool:
    """Whether the share of the score that the centre should hold is there."""
    return changed.macro_f1.value >= CENTRE_SHARE * unchanged.macro_f1.value


def as_json(result: Result, control: Control, unchanged: Result) -> dict[str, Any]:
    holds = None if control.holds is None else control.holds(result, unchanged)
    about = {name: getattr(control, name) for name in ("what", "expected", "reference")}
    return {**dataclasses.asdict(result), **about, "judged": control.holds is not None, "as_expected": holds}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """One table for reading per label mode."""
    head = ["control", "objects", "macro-F1", "from unchanged", "AUC", "another answer", "recall by class"]
    text = ""
    for mode in dict.fromkeys(row["mode"] for row in rows):
        lines = [[*head, "if honest", "reference", "as expected"]]
        lines.append(["---"] * len(lines[0]))
        for row in rows:
            if row["mode"] != mode:
                continue
            flips = shown(row["flipped"], ".0%")
            if row["taken_for_host"] is not None:
                flips += f"; that of the host {shown(row['taken_for_host'], '.0%')}"
                flips += f", before {shown(row['taken_before'], '.0%')}"
            lines.append(
                [f"{row['control']}: {row['what']}", str(row["objects"]), shown(row["macro_f1"]),
                 shown(row["difference"], "+.3f"), shown(row["auc"]), flips,
                 " ".join(f"{name} {value:.2f}" for name, value in row["recall"].items()), row["expected"],
                 row["reference"], verdict(row)]
            )  # fmt: skip
        text += f"Labels: {mode}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n\n"
    return text


def verdict(row: Mapping[str, Any]) -> str:
    if row["as_expected"] is None:
        return "unclear" if row["judged"] else "–"
    return "yes" if row["as_expected"] else "**no**"


def shown(interval: Mapping[str, float] | None, how: str = ".3f") -> str:
    if interval is None:
        return "–"
    return f"{interval['value']:{how}} [{interval['low']:{how}}, {interval['high']:{how}}]"
