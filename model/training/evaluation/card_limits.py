"""Limits of weights: the sentences of a model card that warn of what was measured. It measures nothing."""

from collections.abc import Mapping
from typing import Any

from model.serving.card import ModelCard

MOST_UNEQUAL = 1.5  # between the largest and the smallest class of a set that counts as balanced
NEVER_SEEN_REAL = "no real one of {survey} with a known class was ever classified: how they hold on the sky is unknown"
ON_THE_SKY = {
    "ztf": "on labelled real alerts, which the weights never met in training, they are lower (docs/results.md, "
    "python -m benchmarks.real_ztf)"
}


def limits(card: ModelCard, table: Mapping[str, Any], controls: Mapping[str, Any] | None = None) -> list[str]:
    """What a user must know before believing the scores.

    Parameters
    ----------
    table
        What an evaluation found, as its scores.json holds it.
    controls
        What ``benchmarks.controls`` found, as its JSON holds it; None: nothing is said of it.
    """
    sentences = [_mix(table["classes"]["objects"]), _sky(card, table), _early(table), _strangers(table)]
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


def _sky(card: ModelCard, table: Mapping[str, Any]) -> str:
    if not table["data"].get("simulated", True):
        return f"Scores hold for objects like those of {table['data']['folder']}."
    otherwise = ON_THE_SKY.get(card.survey, NEVER_SEEN_REAL.format(survey=card.survey.upper()))
    return f"Scores are of simulated objects; {otherwise}."


def _early(table: Mapping[str, Any]) -> str:
    nights = table["early"]["by_night"]
    first = min(nights, key=int)
    return (f"Answers begin weak: macro-F1 {nights[first]['macro_f1']:.2f} after the first night, "
            f"{table['scores']['macro_f1']:.2f} at the last alert.")  # fmt: skip


def _strangers(table: Mapping[str, Any]) -> str:
    sentence = "Classes that are not listed, such as tidal disruptions, get one of the listed names; "
    unknown = table.get("unknown")
    if unknown is None:
        return sentence + "how well an unknown score tells them was not measured."
    worst = min(unknown["auroc_by_class"], key=unknown["auroc_by_class"].get)
    sentence += (
        f"the unknown score tells them from known ones with an AUROC of {unknown['auroc']:.2f} at the last alert "
    )
    sentence += f"(worst {worst}: {unknown['auroc_by_class'][worst]:.2f})"
    by_night = auroc_by_night(unknown)
    if not by_night:
        return sentence + "; at the first alerts it was not measured."
    first = min(by_night, key=int)
    return sentence + f" and {by_night[first]:.2f} after the first night."


def auroc_by_night(unknown: Mapping[str, Any]) -> dict[str, float]:
    """AUROC of the unknown score by nights since detection; empty where nobody measured it."""
    return {str(night): measured["auroc"] for night, measured in unknown.get("by_night", {}).items()}


def _host(controls: Mapping[str, Any]) -> str:
    """What the controls say of hosts: where the host alone does better than chance, the weights lean on it."""
    f1_of = {(line["control"], line["mode"]): line["macro_f1"] for line in controls["controls"]}
    chance = 1 / len(controls["controls"][0]["recall"])
    leaning: list[str] = []
    free: list[str] = []
    for (control, mode), alone in f1_of.items():
        if control == "host only" and mode != "all":
            words = f"{mode}: macro-F1 {alone['value']:.2f} of {f1_of['unchanged', mode]['value']:.2f}"
            (leaning if alone["low"] > chance else free).append(words)
    sentences = (
        [f"they lean on the host, which alone gives much of the score ({'; '.join(leaning)})"] if leaning else []
    )
    sentences += [f"they do not lean on the host where it tells no class ({'; '.join(free)})"] if free else []
    return f"What benchmarks.controls found of the weights {controls['weights']['version']}: {'; '.join(sentences)}."
