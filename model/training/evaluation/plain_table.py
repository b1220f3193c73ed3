"""Main scores of an evaluation as plain text. It measures nothing."""

from model.training.evaluation.intervals import Interval
from model.training.evaluation.scorecard import FollowUp, NaturalMix, Scorecard


def plain_table(scorecard: Scorecard) -> str:
    """The main scores as text."""
    weights, scores, ranges, mix = scorecard.weights, scorecard.scores, scorecard.intervals, scorecard.natural_mix
    lines = [
        f"{weights.name} {weights.version} on {scorecard.data.folder}, {scores.objects} objects",
        f"macro-F1 {_with_range(ranges.macro_f1, 3)}",
        f"balanced accuracy {_with_range(ranges.balanced_accuracy, 3)}",
        f"accuracy {scores.accuracy:.3f}  AUC {scores.auc:.3f}  AP {scores.average_precision:.3f}  "
        f"MCC {scores.mcc:.3f}",
        f"log loss {scores.log_loss:.3f}  Brier {scores.brier:.3f}  ECE {scores.ece:.3f}",
        "",
        f"{'class':<10} recall              precision",
    ]
    lines += [
        f"{name:<10} {_with_range(ranges.recall[name], 2)}   {scores.precision[name]:.2f}" for name in scores.recall
    ]
    lines += ["", "nights since detection  macro-F1  balanced accuracy  AUC"]
    lines += [
        f"{night:>22}  {entry.macro_f1:.3f}     {entry.balanced_accuracy:.3f}              {entry.auc:.3f}"
        for night, entry in scorecard.early.by_night.items()
    ]
    lines += ["", f"{'decided when p >= 0.8':<30}  objects  median d  right  later another class  last word another"]
    lines += [
        f"{words:<30}  {entry.decided_share:>7.0%}  {entry.median_days:>8.1f}  {entry.right_share:>5.0%}  "
        f"{entry.changed_share:>19.0%}  {entry.revoked_share:>17.0%}"
        for words, entry in zip(("on one alert", "on two alerts in a row"), scorecard.decisions, strict=True)
    ]
    sure = scorecard.confidence
    lines += [f"{'for good (known afterwards)':<30}  {sure.confident_share:>7.0%}  {sure.median_days:>8.1f}  "
              f"{sure.accuracy_when_confident:>5.0%}"]  # fmt: skip
    lines += ["", "purity of SN Ia before peak at half completeness, alerts of AGN and variables called supernovae:"]
    mixes: list[tuple[str, FollowUp | NaturalMix]] = [
        ("this test set" + ", balanced" * scorecard.classes.balanced, scorecard.follow_up)
    ]
    mixes += [("the survey's labelled mix", mix)] if mix is not None else []
    for words, of in mixes:
        purity = of.before_peak_purity_snia
        shown = "no SN Ia" if purity is None else f"{purity:.2f}"
        lines.append(f"{words:<30}  {shown:>7}  {of.false_alarms_per_1000:.0f} per 1,000")
    return "\n".join(lines) + "\n"


def _with_range(of: Interval, digits: int) -> str:
    return f"{of.value:.{digits}f} [{of.low:.{digits}f}, {of.high:.{digits}f}]"
