"""The README's two tables: shipped weights on simulated objects, and on real alerts."""

from benchmarks.results.tables.measured import RESULTS, SURVEYS, read
from model.training.comparison.markdown import table_of, value_and_range


def front_page() -> dict[str, str]:
    """The two tables of the README: shipped weights on simulated objects, and on real alerts."""
    simulated = [["survey", "macro-F1", "trees", "AUC", "ECE", "F1 after 1 night", "3 nights", "8 nights"]]
    for survey in SURVEYS:
        scores, trees_of = read(RESULTS / survey / "scores.json"), read(RESULTS / "trees" / survey / "table.json")
        f1, reached = scores["intervals"]["macro_f1"], scores["scores"]
        by_trees = {line["system"]: line["macro_f1"] for line in trees_of["systems"]}["photometry-trees"]
        nights = [f"{scores['early']['by_night'][night]['macro_f1']:.2f}" for night in ("1", "3", "8")]
        value = value_and_range(f1, ".2f")
        simulated.append(
            [survey.upper(), value, f"{by_trees:.2f}", f"{reached['auc']:.2f}", f"{reached['ece']:.3f}", *nights]
        )
    measured = read(RESULTS / "real_ztf" / "scores.json")
    lines = {
        "last_alert": "real, last alert of each",
        "first_alert": "real, first alert of each",
        "simulated_single_alerts_real_mix": "simulated, one alert, in the real mix",
    }
    observed = [["ZTF", "objects", "macro-F1", "AUC", "SN or not, AUC", "recall AGN / SNIa / Variable / SNOther"]]
    for key, name in lines.items():
        if (line := measured.get(key)) is None:
            continue
        recalls = " / ".join(f"{recall['value']:.2f}" for recall in line["recall_interval"].values())
        observed.append(
            [name, str(line["objects"]), value_and_range(line["macro_f1_interval"], ".2f"), f"{line['auc']:.2f}",
             f"{line['supernova_auroc']:.2f}", recalls]
        )  # fmt: skip
    return {"SIMULATED": table_of(simulated), "REAL": table_of(observed)}
