"""The results pages and README's two tables, from what was measured: ``python benchmarks/results/write_page.py``.

Every number of their tables is read from a file that a command wrote; the page names the command. The words stand in
``benchmarks/results/pages/``.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from model.training.comparison.markdown import shown, table_of, value_and_range

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SURVEYS = ("ztf", "lsst", "sdss")
OF_SINGLE_ALERTS = {  # scores of weights on single simulated alerts, in the order of their columns
    "macro_f1": "macro-F1",
    "ia_among_supernovae": "Ia among SN, AUC",
    "supernova_recall_at_1_percent": "SN at 1 % false",
    "against_agn_alone": "against AGN alone",
}


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def shipped_weights() -> str:
    """The cards of the shipped weights and their scores on simulated test objects."""
    head = [
        "survey",
        "version",
        "commit",
        "parameters' file",
        "trained on",
        "macro-F1",
        "balanced accuracy",
        "AUC",
        "log loss",
    ]
    head += ["ECE", "night 1", "night 3", "night 8", "unknown AUROC"]
    rows = []
    for survey in SURVEYS:
        card, scores = read(ROOT / "model" / "weights" / f"{survey}.json"), read(HERE / survey / "scores.json")
        if card is None or scores is None:
            continue
        reached, f1 = scores["scores"], scores["intervals"]["macro_f1"]
        nights = {night: entry["macro_f1"] for night, entry in scores["early"]["by_night"].items()}
        kilobytes = (ROOT / "model" / "weights" / f"{survey}.safetensors").stat().st_size / 1000
        rows.append(
            [survey, card["version"], card["provenance"]["commit"][:7], f"{kilobytes:.0f} kB",
             str(card["provenance"]["trained_on"]),
             value_and_range(f1), f"{reached['balanced_accuracy']:.3f}", f"{reached['auc']:.3f}",
             f"{reached['log_loss']:.3f}", f"{reached['ece']:.3f}",
             *[f"{nights[night]:.3f}" for night in ("1", "3", "8")],
             f"{scores['unknown']['auroc']:.3f}" if "unknown" in scores else "–"]
        )  # fmt: skip
    return table_of([head, *rows])


def early() -> str:
    head = ["survey", "area under F1, 0–30 d", "days to 90 %", "confident (p ≥ 0.8)", "after, median d", "right then"]
    head += ["flips/object", "harmonic mean", "pre-peak SN Ia purity", "false SNe per 1,000"]
    rows = []
    for survey in SURVEYS:
        scores = read(HERE / survey / "scores.json")
        if scores is None:
            continue
        sure, curve = scores["confidence"], scores["early"]
        rows.append(
            [survey, f"{curve['area_under_macro_f1']:.3f}",
             f"{curve['days_to_90_percent']}".replace("inf", "never in the series' days"),
             f"{sure['confident_share']:.0%}", f"{sure['median_days']:.1f}", f"{sure['accuracy_when_confident']:.0%}",
             f"{sure['flips_per_object']:.2f}", f"{sure['harmonic_mean']:.3f}",
             f"{scores['before_peak_purity_snia']:.2f}", f"{scores['false_alarms_per_1000']:.0f}"]
        )  # fmt: skip
    return table_of([head, *rows])


def unknown() -> str:
    scores = {survey: read(HERE / survey / "scores.json") for survey in SURVEYS}
    measured = {survey: of["unknown"] for survey, of in scores.items() if of}
    kinds = sorted({kind for entry in measured.values() for kind in entry["auroc_by_class"]})
    rows = [
        [survey, *[shown(of["auroc_by_class"].get(kind), ".2f") for kind in kinds],
         *[shown(of["auroc_of_parts"].get(part), ".2f") for part in ("energy", "distance")]]
        for survey, of in measured.items()
    ]  # fmt: skip
    return table_of([["survey", *kinds, "all, energy alone", "all, distance alone"], *rows])


def unknown_by_night() -> str:
    """The unknown score while series grow."""
    measured = {survey: of["unknown"]["by_night"] for survey in SURVEYS if (of := read(HERE / survey / "scores.json"))}
    nights = list(next(iter(measured.values()), {}))
    rows = [["survey", *[f"night {night}" for night in nights]]]
    rows += [
        [survey, *[f"{entry[night]['auroc']:.2f} ({entry[night]['median_of_known']:+.2f})" for night in nights]]
        for survey, entry in measured.items()
    ]
    return table_of(rows)


def decisions() -> str:
    """What follows from acting as soon as an answer is sure."""
    rows = [["survey", "act on", "objects", "after, median d", "right then", "other class later", "last word another"]]
    for survey in SURVEYS:
        scores = read(HERE / survey / "scores.json")
        for rule in scores["decisions"] if scores else []:
            in_a_row = rule["alerts_in_a_row"]
            rows.append(
                [survey, "one alert" if in_a_row == 1 else f"{in_a_row} alerts in a row",
                 f"{rule['decided_share']:.0%}", f"{rule['median_days']:.1f}", f"{rule['right_share']:.0%}",
                 f"{rule['changed_share']:.0%}", f"{rule['revoked_share']:.0%}"]
            )  # fmt: skip
    return table_of(rows)


def real_unknown() -> str:
    unknown = (read(HERE / "real_ztf" / "scores.json") or {}).get("unknown")
    if not unknown:
        return "\n"
    tidal = unknown.get("tidal_disruptions")
    text = f"those of known kinds have a median of {unknown['median_of_known']:+.2f}"
    if tidal:
        text += f"; {tidal['unknown']} real tidal disruptions are told from them with an AUROC of {tidal['auroc']:.2f}"
    return text + ".\n"


def trees() -> str:
    """Boosted trees on the same objects, beside the shipped network."""
    rows = [["survey", "shipped network", "trees on photometry", "trees on number and times of observations"]]
    for survey in SURVEYS:
        reached_by, scores = read(HERE / "trees" / survey / "table.json"), read(HERE / survey / "scores.json")
        if reached_by is None or scores is None:
            continue
        of = {line["system"]: line["macro_f1"] for line in reached_by["systems"]}
        reached = scores["scores"]["macro_f1"]
        rows.append([survey, *[f"{f1:.3f}" for f1 in (reached, of["photometry-trees"], of["metadata-trees"])]])
    return table_of(rows)


def real() -> str:
    scores = read(HERE / "real_ztf" / "scores.json")
    if scores is None:
        return "Not measured: no real alerts at hand.\n"
    names = {
        "last_alert": "real, last alert of each object",
        "first_alert": "real, first alert",
        "last_alert_clocks_as_given": "real, last alert, broken clocks left broken",
        "objects_with_several_alerts": "real, objects with several alerts",
        "simulated_single_alerts": "simulated, one alert at random",
        "simulated_single_alerts_real_mix": "the same, weighted to the class mix of the real ones",
        "simulated_single_stamps": "simulated, one alert whose packet tells nothing of the past",
    }
    head = ["", "objects", "macro-F1", "balanced accuracy", "AUC", "SN against rest", "AGN", "SNIa", "Variable"]
    rows = [[*head, "SNOther"]]
    for key, name in names.items():
        if key not in scores:
            continue
        line = scores[key]
        rows.append(
            [name, str(line["objects"]), value_and_range(line["macro_f1_interval"]),
             f"{line['balanced_accuracy']:.3f}", f"{line['auc']:.3f}", f"{line['supernova_auroc']:.3f}",
             *[value_and_range(recall, ".2f") for recall in line["recall_interval"].values()]]
        )  # fmt: skip
    return table_of(rows)


def with_range(interval: dict[str, float] | None) -> str:
    """A value with its 95 % interval."""
    return "" if interval is None else f"{interval['value']:.3f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def real_strata() -> str:
    """Supernova or not, and type Ia among supernovae, by what an alert could know."""
    scores = read(HERE / "real_ztf" / "scores.json")
    if scores is None:
        return "Not measured: no real alerts at hand.\n"
    rows = [["", "supernovae (Ia)", "others", "SN against rest, AUC", "p10", "Ia among SN, AUC"]]
    for when in ("last", "first"):
        for name, stratum in scores[f"strata_{when}_alert"].items():
            classes, sn, ia = stratum["classes"], stratum["supernova"], stratum["ia_among_supernovae"]
            rows.append(
                [f"{when} alert, {name}".replace("|b|", "abs(b)"),
                 f"{sn['positive']} ({classes['SNIa']})", str(sn["negative"]),
                 *[with_range(value) for value in (sn.get("auc"), sn.get("p10"), ia.get("auc"))]]
            )  # fmt: skip
    return table_of(rows)


def real_peers() -> str:
    """Other brokers' networks beside ours, with paired differences."""
    scores = read(HERE / "real_ztf" / "scores.json") or {}
    rows = [["", "network", "value", "ours less theirs"]]
    for stratum, by_score in scores.get("peers", {}).items():
        for what, score, name in (
            ("supernova", "p10", "SN against rest, p10"),
            ("supernova", "auc", "SN against rest, AUC"),
            ("ia_among_supernovae", "auc", "Ia among SN, AUC"),
        ):
            rows += [
                [
                    f"{stratum}: {name}",
                    peer,
                    with_range(line.get(score)),
                    with_range(line["ours_less_theirs"][score]),
                ]
                for peer, line in by_score[what].items()
            ]
    return table_of(rows) if len(rows) > 1 else "Not measured.\n"


def real_weights() -> str:
    """Every set of weights that was ever scored on real labels."""
    every = read(HERE / "real_ztf" / "scored_weights.json") or {}
    names = ["macro_f1", "balanced_accuracy", "supernova_auc", "p10_in_flight", "ia_auc_in_flight"]
    heads = ["weights", "macro-F1", "balanced accuracy", "SN against rest", "p10, in flight", "Ia among SN in flight"]
    return table_of([heads, *[[version, *[f"{line[name]:.3f}" for name in names]] for version, line in every.items()]])


BEFORE = {  # of weights shipped before, as their commits' pages have it: Ia, SN at 1 %, AGN alone, eruptive stars
    "ztf-1d43eaf1c0": ["0.787 [0.76, 0.81]", "0.911", "0.939", "29 %", "54 %", "23 %"],
    "ztf-de868eb385": ["0.809 [0.79, 0.83]", "0.947", "0.905", "15 %", "11 %", "1 %"],
}


def gate() -> str:
    """Single simulated alerts: weights shipped before and now, and what the issue asked for."""
    scores = read(HERE / "real_ztf" / "scores.json") or {}
    if (content := scores.get("simulated_gate")) is None:
        return "Not measured.\n"
    erupts = content["taken_for_supernovae"]
    now = [
        with_range(content["ia_among_supernovae"]),
        f"{content['supernova_recall_at_1_percent']:.3f}",
        f"{content['against_agn_alone']:.3f}",
        *[f"{erupts[kind]['share']:.0%}".replace("%", " %") for kind in ("DwarfNova", "Nova", "Flare")],
    ]
    names = ["Ia among supernovae, AUC", "supernovae found at 1 % false", "the same against AGN alone"]
    names += [f"{words} ({erupts[kind]['alerts']}) called supernovae" for words, kind in
              (("dwarf novae", "DwarfNova"), ("novae", "Nova"), ("flares", "Flare"))]  # fmt: skip
    goals = ["0.89", "0.97", "0.93", "5 %", "", "10 %"]
    head = ["simulated single alerts", *BEFORE, f"{scores['weights']['version']}, shipped", "gate of issue"]
    return table_of(
        [head, *[[name, *[of[i] for of in BEFORE.values()], now[i], goals[i]] for i, name in enumerate(names)]]
    )


def curve() -> str:
    """What more simulated objects bring, and what the last step gained."""
    table_read = read(HERE / "real_ztf" / "curve.json")
    if table_read is None:
        return "Not measured.\n"
    rows = [["weights", "trained on", "epochs", *OF_SINGLE_ALERTS.values()]]
    for step in table_read["steps"]:
        head = [step["version"], f"{step['trained_on']:,}", str(step["epochs"])]
        rows.append([*head, *of_single_alerts(step["scores"])])
        if gained := step.get("less_the_one_before"):
            rows.append(["gained", "", "", *of_single_alerts(gained)])
    return table_of(rows)


def of_single_alerts(scores: dict[str, Any], how: str = ".3f") -> list[str]:
    """A row's cells under ``OF_SINGLE_ALERTS``."""
    return [value_and_range(scores[name], how) for name in OF_SINGLE_ALERTS]


def variants(name: str, folder: str = "real_ztf") -> str:
    """Weights of other trainings, or averages, against the first."""
    table_read = read(HERE / folder / f"{name}.json")
    if table_read is None:
        return "Not measured.\n"
    rows = [["weights", "recipe", *OF_SINGLE_ALERTS.values()]]
    for row in table_read["rows"]:
        head = [" and ".join(row["networks"]), " and ".join(dict.fromkeys(row["recipes"]))]
        rows.append([*head, *of_single_alerts(row["scores"])])
        if row is not table_read["rows"][0]:
            rows.append(["less the first", "", *of_single_alerts(row["less_the_first"], "+.3f")])
    return table_of(rows)


def ablations() -> str:
    """What each input of the shipped network is worth on single simulated alerts."""
    table_read = read(HERE / "real_ztf" / "ablations.json")
    if table_read is None:
        return "Not measured.\n"
    whole, *others = table_read["lines"]
    rows = [["", *OF_SINGLE_ALERTS.values()], [whole["name"], *of_single_alerts(whole["scores"])]]
    rows += [[line["name"], *of_single_alerts(line["less_the_whole"], "+.3f")] for line in others]
    return table_of(rows)


def skies() -> str:
    """Real alerts that nobody labelled beside simulated ones."""
    table_read = read(HERE / "real_ztf" / "skies.json")
    if table_read is None:
        return "Not measured.\n"
    rows = [["kind", "number", "real: 5, 50, 95 %", "simulated: 5, 50, 95 %", "KS"]]
    for kind, of in table_read.items():
        for name, line in of["lines"].items():
            real, simulated = (", ".join(f"{line[sky][i]:.2f}" for i in (0, 2, 4)) for sky in ("real", "simulated"))
            rows.append(
                [f"{kind} ({line['objects'][0]}, {line['objects'][1]})", name, real, simulated, f"{line['ks']:.2f}"]
            )
    return table_of(rows)


def type_trees() -> str:
    """Type Ia among simulated supernovae by trees on the network's own numbers, beside it."""
    table_read = read(HERE / "real_ztf" / "trees.json")
    if table_read is None:
        return "Not measured.\n"
    strata = next(iter(table_read["auc"].values()))
    rows = [["", *[f"{name.replace('-', '–')} ({of['alerts']})" for name, of in strata.items()]]]
    rows += [[name, *[f"{of['auc']:.3f}" for of in scores.values()]] for name, scores in table_read["auc"].items()]
    return table_of(rows)


def real_threshold() -> str:
    """What a threshold that simulation fixed does on real alerts, and how wrong confidence is."""
    scores = read(HERE / "real_ztf" / "scores.json") or {}
    text = ""
    for name, line in scores.get("threshold_of_simulation", {}).items():
        text += (
            f"Above the p(supernova) of {line['threshold']:.3f} that 1 % of the simulated others exceed in the real "
            f"mix ({name}): recall {with_range(line['recall'])}, {line['false_objects']} false. "
        )
    if "honest_calibration_error" in scores:
        honest = scores["honest_calibration_error"]
        text += (
            f"Calibration error {scores['last_alert']['ece']:.3f}; a forecaster with exact probabilities would have "
            f"{honest['median']:.3f} on as many objects, at most {honest['high']:.3f} in 95 % of draws. "
        )
    if sets := scores.get("prediction_sets"):
        text += (
            f"Prediction sets that promise {sets['promised']:.0%} hold the true class of {sets['covered']:.0%} of "
            f"them (supernovae {sets['of_supernovae']:.0%}), with {sets['mean_size']:.2f} classes on average."
        )
    return text + "\n"


def real_flat() -> str:
    """How often type Ia is said of alerts whose light curve does not rise."""
    scores = read(HERE / "real_ztf" / "scores.json") or {}
    rows = [["", "class", "flat, of", "called type Ia"]]
    simulated = scores.get("simulated_gate", {}).get("ia_without_rise", {})
    for where, by_class in (("real", scores.get("ia_without_rise", {})), ("simulated", simulated)):
        rows += [
            [where, name, f"{line['flat']}, {line['of']}", with_range(line.get("said_ia"))]
            for name, line in by_class.items()
        ]
    return table_of(rows) if len(rows) > 1 else "Not measured.\n"


def brightest() -> str:
    scores = read(HERE / "real_ztf" / "scores.json")
    if scores is None or "brightest_mag" not in scores:
        return "\n"
    mag = scores["brightest_mag"]
    return (
        f"SN 2021rhu, one of the brightest of its year (brightest alert {mag['ZTF21abiuvdk']:.1f} mag; brightest of "
        f"{mag['simulated_supernovae']} simulated supernovae {mag['simulated']:.1f}), is drawn above.\n"
    )


def controls() -> str:
    """What the controls found, survey by survey."""
    texts = [(survey, HERE / "controls" / f"{survey}.md") for survey in SURVEYS]
    sections = [f"## {survey}\n\n{path.read_text('utf-8')}" for survey, path in texts if path.is_file()]
    return "".join(sections) or "Not run yet.\n"


def compared(folder: str) -> str:
    """The tables of a comparison."""
    path = HERE / folder / "table.md"
    return path.read_text("utf-8") if path.is_file() else "Not run yet.\n"


def published() -> str:
    """The published experiment so far: the tables of its runs, and its embeddings as training goes on."""
    runs = {path.stem: read(path) for path in sorted((HERE / "convention" / "runs").glob("*.json"))}
    if not runs:
        return "No run is done yet.\n"
    rows = [["run", "stage", "epoch", "macro-F1", "within", "between", "between / within", "silhouette"]]
    for name, run in runs.items():
        history = [entry for entry in run.get("history", []) if "validation_within" in entry]
        ends = [entry for entry, after in pairwise(history) if after["stage"] != entry["stage"]]
        for entry in (*history[:1], *ends, *history[-1:]):
            within, between = entry["validation_within"], entry["validation_between"]
            rows.append(
                [name, str(entry["stage"] + 1), str(entry["epoch"] + 1), f"{entry['validation_macro_f1']:.3f}",
                 f"{within:.3f}", f"{between:.3f}", f"{between / within:.2f}", f"{entry['validation_silhouette']:.3f}"]
            )  # fmt: skip
    apart = f"\nClasses in the space of the features, validation objects:\n\n{table_of(rows)}" if len(rows) > 1 else ""
    return compared("convention") + apart


def convention_on_alerts() -> str:
    """ICT-ConvEntion on ZTF's alerts, the same without its second branch, and the weights that ship as first choice."""
    ways = {
        "`convention-alerts`, the same without the second branch": HERE / "convention" / "convention-ztf",
        "`ict-convention-alerts`, shipped as `ict-convention-ztf`": HERE / "convention" / "ict-convention-ztf",
        "Vigil, shipped as `ztf`": HERE / "real_ztf",
    }
    head = ["real, last alerts (areas: in flight)", "macro-F1", "balanced accuracy"]
    rows = [[*head, "SN against rest, AUC", "SN against rest, p10", "Ia among SN, AUC"]]
    for name, folder in ways.items():
        path = folder / ("scores.json" if folder.name == "real_ztf" else "real.json")
        if (scores := read(path)) is None:
            continue
        flight = scores["strata_last_alert"]["in flight"]
        told = [flight["supernova"]["auc"], flight["supernova"]["p10"], flight["ia_among_supernovae"]["auc"]]
        of_all = [f"{scores['last_alert'][score]:.3f}" for score in ("macro_f1", "balanced_accuracy")]
        rows.append([name, *of_all, *[value_and_range(one) for one in told]])
    return table_of(rows)


def front_page() -> dict[str, str]:
    """The two tables of the README: shipped weights on simulated objects, and on real alerts."""
    simulated = [["survey", "macro-F1", "trees", "AUC", "ECE", "F1 after 1 night", "3 nights", "8 nights"]]
    for survey in SURVEYS:
        scores, trees_of = read(HERE / survey / "scores.json"), read(HERE / "trees" / survey / "table.json")
        f1, reached = scores["intervals"]["macro_f1"], scores["scores"]
        by_trees = {line["system"]: line["macro_f1"] for line in trees_of["systems"]}["photometry-trees"]
        nights = [f"{scores['early']['by_night'][night]['macro_f1']:.2f}" for night in ("1", "3", "8")]
        value = value_and_range(f1, ".2f")
        simulated.append(
            [survey.upper(), value, f"{by_trees:.2f}", f"{reached['auc']:.2f}", f"{reached['ece']:.3f}", *nights]
        )
    measured = read(HERE / "real_ztf" / "scores.json")
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


def between_marks(page: str, name: str, text: str) -> str:
    """The page with what stands between ``<!-- name -->`` and the next ``<!-- end -->`` replaced."""
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not mark or not end:
        raise ValueError(f"no place for {name}: <!-- {name} --> ... <!-- end -->")
    return f"{before}{mark}{text}{end}{after}"


def main() -> int:
    tables = {
        "SHIPPED": shipped_weights(),
        "EARLY": early(),
        "UNKNOWN": unknown(),
        "UNKNOWN BY NIGHT": unknown_by_night(),
        "DECISIONS": decisions(),
        "REAL UNKNOWN": real_unknown(),
        "TREES": trees(),
        "REAL": real(),
        "REAL STRATA": real_strata(),
        "REAL PEERS": real_peers(),
        "REAL WEIGHTS": real_weights(),
        "REAL THRESHOLD": real_threshold(),
        "REAL FLAT": real_flat(),
        "GATE": gate(),
        "CURVE": curve(),
        "AVERAGES": variants("averages"),
        "TRAININGS": variants("trainings"),
        "ABLATIONS": ablations(),
        "SKIES": skies(),
        "TYPE TREES": type_trees(),
        "BRIGHTEST": brightest(),
        "CONTROLS": controls(),
        "COMPARISON": compared("table"),
        "MIX": compared("mix"),
        "PHYSICAL": compared("physical"),
        "PUBLISHED": published(),
        "CONVENTION ON ALERTS": convention_on_alerts(),
        "LSST SINGLE ALERTS": variants("single_alerts", "lsst"),
        "SECOND BRANCH": variants("ict_on_alerts"),
    }
    folder = ROOT / "docs" / "results"
    folder.mkdir(exist_ok=True)
    for words in sorted((HERE / "pages").glob("*.md")):
        page = words.read_text("utf-8")
        for name, text in tables.items():
            page = page.replace(f"@{name}@\n", text)
        (folder / words.name).write_text(page, "utf-8")
    readme = ROOT / "README.md"
    page = readme.read_text("utf-8")
    for name, text in front_page().items():
        page = between_marks(page, name, text)
    readme.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
