"""Limits of weights: the sentences of a model card that warn of what was measured. It measures nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.data.format import DatasetError, read_json
from model.serving.card import ModelCard
from model.training.evaluation.scorecard import Scorecard, Strangers

HOST_ONLY, UNCHANGED, ALL_MODES = "host only", "unchanged", "all"  # as benchmarks.controls calls them
MOST_UNEQUAL = 1.5  # between the largest and the smallest class of a set that counts as balanced
NEVER_SEEN_REAL = "no real one of {survey} with a known class was ever classified: how they hold on the sky is unknown"
ON_THE_SKY = {
    "ztf": "on labelled real alerts, which the weights never met in training, they are lower (docs/results.md, "
    "python -m benchmarks.real_ztf)"
}


class _Interval(BaseModel):
    model_config = ConfigDict(strict=True)
    value: float
    low: float


class _Line(BaseModel):
    model_config = ConfigDict(strict=True)
    control: str
    mode: str
    macro_f1: _Interval
    recall: Annotated[dict[str, Any], Field(min_length=1)]


class _Weights(BaseModel):
    model_config = ConfigDict(strict=True)
    version: str


class _Controls(BaseModel):
    """What a card's limits read of controls; the rest is for people."""

    model_config = ConfigDict(strict=True)
    weights: _Weights
    controls: Annotated[list[_Line], Field(min_length=1)]

    @model_validator(mode="after")
    def _compare(self) -> Self:
        modes = [{line.mode for line in self.controls if line.control == name} for name in (HOST_ONLY, UNCHANGED)]
        if alone := modes[0] - modes[1] - {ALL_MODES}:
            raise ValueError(f"mode {min(alone)} has {HOST_ONLY!r} and no {UNCHANGED!r} to compare it with")
        return self


def read_controls(path: Path) -> dict[str, Any]:
    """What ``benchmarks.controls`` found, as :func:`limits` takes it.

    Raises
    ------
    DatasetError
        When the file cannot be read, or holds something else.
    """
    content = read_json(path, "is not the JSON of controls")
    try:
        _Controls.model_validate(content if isinstance(content, dict) else {})
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        where = "".join(f"{step}: " for step in fault["loc"])
        raise DatasetError(
            f"{path} is not the JSON of controls, make it with benchmarks.controls --out: {where}{fault['msg']}"
        ) from exc
    checked: dict[str, Any] = content
    return checked


def limits(card: ModelCard, scorecard: Scorecard, controls: Mapping[str, Any] | None = None) -> list[str]:
    """What a user must know before believing the scores.

    Parameters
    ----------
    scorecard
        What an evaluation found.
    controls
        What ``benchmarks.controls`` found, as its JSON holds it; None: nothing is said of it.
    """
    mix, strangers = _mix(scorecard.classes.objects), _strangers(scorecard.unknown)
    sentences = [mix, _sky(card, scorecard), _early(scorecard), strangers]
    if (seed := card.provenance.get("seed")) is not None:
        sentences.append(f"One training, of seed {seed}: what another seed would have given was not measured.")
    if controls is not None:
        sentences.append(_host(controls))
    return sentences


def is_balanced(counts: Mapping[str, int]) -> bool:
    """Whether every class has about as many objects as the others."""
    return max(counts.values()) <= MOST_UNEQUAL * max(min(counts.values()), 1)


def _mix(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    scored = "a balanced test set" if is_balanced(counts) else "an unbalanced test set"
    return (f"Calibrated with all classes of equal weight and scored on {scored} ({listed}): probabilities and "
            "purities for a survey's own mix of classes need that mix as a prior.")  # fmt: skip


def _sky(card: ModelCard, scorecard: Scorecard) -> str:
    if not scorecard.data.simulated:
        return f"Scores hold for objects like those of {scorecard.data.folder}."
    otherwise = ON_THE_SKY.get(card.survey, NEVER_SEEN_REAL.format(survey=card.survey.upper()))
    return f"Scores are of simulated objects; {otherwise}."


def _early(scorecard: Scorecard) -> str:
    nights = scorecard.early.by_night
    return (f"Answers begin weak: macro-F1 {nights[min(nights)].macro_f1:.2f} after the first night, "
            f"{scorecard.scores.macro_f1:.2f} at the last alert.")  # fmt: skip


def _strangers(unknown: Strangers | None) -> str:
    sentence = "Classes that are not listed, such as tidal disruptions, get one of the listed names; "
    if unknown is None:
        return sentence + "how well an unknown score tells them was not measured."
    worst = min(unknown.auroc_by_class, key=unknown.auroc_by_class.__getitem__)
    sentence += f"the unknown score tells them from known ones with an AUROC of {unknown.auroc:.2f} at the last alert "
    sentence += f"(worst {worst}: {unknown.auroc_by_class[worst]:.2f})"
    if not unknown.by_night:
        return sentence + "; at the first alerts it was not measured."
    return sentence + f" and {unknown.by_night[min(unknown.by_night)].auroc:.2f} after the first night."


def _host(controls: Mapping[str, Any]) -> str:
    """What the controls say of hosts: where the host alone does better than chance, the weights lean on it."""
    f1_of = {(line["control"], line["mode"]): line["macro_f1"] for line in controls["controls"]}
    chance = 1 / len(controls["controls"][0]["recall"])
    leaning: list[str] = []
    free: list[str] = []
    for (control, mode), alone in f1_of.items():
        if control == HOST_ONLY and mode != ALL_MODES:
            words = f"{mode}: macro-F1 {alone['value']:.2f} of {f1_of[UNCHANGED, mode]['value']:.2f}"
            (leaning if alone["low"] > chance else free).append(words)
    sentences = (
        [f"they lean on the host, which alone gives much of the score ({'; '.join(leaning)})"] if leaning else []
    )
    sentences += [f"they do not lean on the host where it tells no class ({'; '.join(free)})"] if free else []
    return f"What benchmarks.controls found of the weights {controls['weights']['version']}: {'; '.join(sentences)}."
