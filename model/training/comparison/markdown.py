"""Tables of a comparison as Markdown. It computes nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model.training.comparison.pooling import FOLDS, SPLIT

CURVE_NIGHTS = ("1", "3", "8")  # as they are keys of JSON
NIGHTS = " / ".join(CURVE_NIGHTS)
Line = Mapping[str, Any]


def markdown(table: Line) -> str:
    """The tables for reading, one protocol after the other."""
    protocols = [name for name in (SPLIT, FOLDS) if any(line["protocol"] == name for line in table["systems"])]
    parts = []
    for protocol in protocols:
        lines, tests = ([one for one in table[of] if one["protocol"] == protocol] for of in ("systems", "pairs"))
        text = systems_table(lines)
        if (agreement := table["agreement_with_published_ranking"][protocol]) is not None:
            text += (
                f"\nKendall's τ between this ranking and the published one over {len(agreement['systems'])} systems: "
                f"{agreement['tau']:.2f} (p {agreement['p']:.2g}); a stand-in for the published size would need 0.7.\n"
            )
        for of, name in (("recall", "Recall"), ("f1", "F1")):
            text += f"\n{name} of each class, mean over seeds ± their standard deviation:\n\n" + by_class(lines, of)
        if tests:
            text += "\nPairs, the second being the control:\n\n" + pairs_table(tests)
        if early := [line for line in lines if line["intervals_by_night"]]:
            text += f"\nAfter {NIGHTS} nights since the first detection:\n\n" + early_table(early)
        if early := [test for test in tests if test["differences_by_night"]]:
            text += "\nPairs after so many nights, 95 % intervals not adjusted for their number:\n\n"
            text += early_pairs_table(early)
        parts.append(text if len(protocols) == 1 else f"{protocol.capitalize()}:\n\n{text}")
    return "\n".join(parts)


def systems_table(lines: Sequence[Line]) -> str:
    modes = sorted({mode for line in lines for mode in line["by_label_mode"]})
    head = ["system", "parameters", "runs", "accuracy", "with prior", "macro-F1", "95 %", "± over seeds"]
    head += [f"F1 {mode}" for mode in modes]
    head += ["AUC", "log loss", "ECE", *[f"F1 night {night}" for night in CURVE_NIGHTS], "best epoch on test", "min"]
    rows = [head]
    for line in reversed(lines):
        curve = line["macro_f1_by_night"] or {}
        rows.append(
            [line["system"], shown(line["parameters"], ",d"), str(line["runs"]), shown(line["accuracy"]),
             shown(line["accuracy_with_prior"]), shown(line["macro_f1"]), between(line["macro_f1_interval"]),
             shown(line["macro_f1_sd_over_seeds"]), *[shown(line["by_label_mode"].get(mode)) for mode in modes],
             shown(line["auc"]), shown(line["log_loss"]), shown(line["ece"]),
             *[shown(curve.get(night)) for night in CURVE_NIGHTS],
             shown(line["authors_habit_macro_f1"]), shown(line["train_minutes"], ".1f")]
        )  # fmt: skip
    return table_of(rows)


def by_class(lines: Sequence[Line], of: str) -> str:
    """A score of each class, and from the worst to the best of these."""
    classes = list(lines[0][of])
    rows = [["system", *classes, "from – to"]]
    for line in reversed(lines):
        deviation = line[f"{of}_sd_over_seeds"]
        reached = [
            shown(line[of][name]) + ("" if deviation is None else f" ± {shown(deviation[name])}") for name in classes
        ]
        rows.append([line["system"], *reached, worst_to_best(line[of])])
    return table_of(rows)


def worst_to_best(of_class: Mapping[str, float]) -> str:
    return f"{min(of_class.values()):.2f} – {max(of_class.values()):.2f}"


def pairs_table(tests: Sequence[Line]) -> str:
    head = ["pair", "runs", "Δ macro-F1", "95 %", "p bootstrap", "p Holm"]
    rows = [[*head, "p McNemar, mean answers", "p Nadeau–Bengio, folds"]]
    for test in tests:
        rows.append(
            [pair(test), str(test["runs"]), shown(test["macro_f1_difference"], "+.3f"),
             between(test["difference_interval"], "+.3f"), shown(test["p_bootstrap"], ".3g"),
             shown(test["p_holm"], ".3g"), shown(test["mcnemar_of_mean_answers"]["p"], ".3g"),
             shown(test["p_nadeau_bengio"], ".3g")]
        )  # fmt: skip
    return table_of(rows)


def early_table(lines: Sequence[Line]) -> str:
    """Macro-F1 after some nights with intervals, the other scores in one cell each."""
    names = {"balanced_accuracy": "balanced accuracy", "auc": "AUC", "log_loss": "log loss", "ece": "ECE"}
    head = ["system", *[f"macro-F1, night {night}" for night in CURVE_NIGHTS]]
    rows = [head + [f"{name}, {NIGHTS}" for name in names.values()]]
    for line in reversed(lines):
        f1 = [value_and_range(line["intervals_by_night"].get(night, {}).get("macro_f1")) for night in CURVE_NIGHTS]
        others = [" / ".join(shown(line[f"{name}_by_night"].get(night)) for night in CURVE_NIGHTS) for name in names]
        rows.append([line["system"], *f1, *others])
    return table_of(rows)


def early_pairs_table(tests: Sequence[Line]) -> str:
    rows = [["pair", "runs", *[f"Δ macro-F1, night {night}" for night in CURVE_NIGHTS]]]
    rows[0] += [f"Δ AUC, night {night}" for night in CURVE_NIGHTS]
    for test in tests:
        cells = [
            value_and_range(test["differences_by_night"].get(night, {}).get(name), "+.3f")
            for name in ("macro_f1", "auc")
            for night in CURVE_NIGHTS
        ]
        rows.append([pair(test), str(test["runs"]), *cells])
    return table_of(rows)


def pair(test: Line) -> str:
    return f"{test['first']} − {test['second']}"


def between(interval: Mapping[str, float], how: str = ".3f") -> str:
    return f"[{shown(interval['low'], how)}, {shown(interval['high'], how)}]"


def value_and_range(interval: Mapping[str, float] | None, how: str = ".3f") -> str:
    return "–" if interval is None else f"{shown(interval['value'], how)} {between(interval, how)}"


def shown(value: float | None, how: str = ".3f") -> str:
    return "–" if value is None or math.isnan(value) else format(value, how)


def table_of(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first one being its head."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]) + "\n"
