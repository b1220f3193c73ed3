"""Main scores of an evaluation as plain text. It measures nothing."""

from collections.abc import Mapping
from typing import Any


def plain_table(table: Mapping[str, Any]) -> str:
    """The main scores as text."""
    scores, ranges = table["scores"], table["intervals"]
    lines = [
        f"{table['weights']['name']} {table['weights']['version']} on {table['data']['folder']}, "
        f"{scores['objects']} objects",
        "macro-F1 {value:.3f} [{low:.3f}, {high:.3f}]".format(**ranges["macro_f1"]),
        "balanced accuracy {value:.3f} [{low:.3f}, {high:.3f}]".format(**ranges["balanced_accuracy"]),
        f"accuracy {scores['accuracy']:.3f}  AUC {scores['auc']:.3f}  AP {scores['average_precision']:.3f}  "
        f"MCC {scores['mcc']:.3f}",
        f"log loss {scores['log_loss']:.3f}  Brier {scores['brier']:.3f}  ECE {scores['ece']:.3f}",
        "",
        f"{'class':<10} recall              precision",
    ]
    lines += [
        f"{name:<10} {ranges['recall'][name]['value']:.2f} [{ranges['recall'][name]['low']:.2f}, "
        f"{ranges['recall'][name]['high']:.2f}]   {scores['precision'][name]:.2f}"
        for name in scores["recall"]
    ]
    lines += ["", "nights since detection  macro-F1  balanced accuracy  AUC"]
    lines += [
        f"{night:>22}  {entry['macro_f1']:.3f}     {entry['balanced_accuracy']:.3f}              {entry['auc']:.3f}"
        for night, entry in table["early"]["by_night"].items()
    ]
    lines += ["", f"{'decided when p >= 0.8':<30}  objects  median d  right  later another class  last word another"]
    lines += [
        f"{words:<30}  {entry['decided_share']:>7.0%}  {entry['median_days']:>8.1f}  {entry['right_share']:>5.0%}  "
        f"{entry['changed_share']:>19.0%}  {entry['revoked_share']:>17.0%}"
        for words, entry in zip(("on one alert", "on two alerts in a row"), table["decisions"], strict=True)
    ]
    sure = table["confidence"]
    lines += [f"{'for good (known afterwards)':<30}  {sure['confident_share']:>7.0%}  {sure['median_days']:>8.1f}  "
              f"{sure['accuracy_when_confident']:>5.0%}"]  # fmt: skip
    lines += ["", "purity of SN Ia before peak at half completeness, alerts of AGN and variables called supernovae:"]
    mixes = [("this test set" + ", balanced" * table["classes"]["balanced"], table)]
    mixes += [("the survey's labelled mix", table["natural_mix"])] if table["natural_mix"] else []
    for words, entry in mixes:
        purity = entry["before_peak_purity_snia"]
        shown = "no SN Ia" if purity is None else f"{purity:.2f}"
        lines.append(f"{words:<30}  {shown:>7}  {entry['false_alarms_per_1000']:.0f} per 1,000")
    return "\n".join(lines) + "\n"
