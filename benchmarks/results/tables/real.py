"""Tables of the page of real alerts: scores on labelled ones of ZTF, by stratum, peer and threshold."""

from benchmarks.results.tables.measured import RESULTS, read, with_range
from model.training.comparison.markdown import table_of, value_and_range


def real() -> str:
    scores = read(RESULTS / "real_ztf" / "scores.json")
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


def real_strata() -> str:
    """Supernova or not, and type Ia among supernovae, by what an alert could know."""
    scores = read(RESULTS / "real_ztf" / "scores.json")
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
    scores = read(RESULTS / "real_ztf" / "scores.json") or {}
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
    every = read(RESULTS / "real_ztf" / "scored_weights.json") or {}
    names = ["macro_f1", "balanced_accuracy", "supernova_auc", "p10_in_flight", "ia_auc_in_flight"]
    heads = ["weights", "macro-F1", "balanced accuracy", "SN against rest", "p10, in flight", "Ia among SN in flight"]
    return table_of([heads, *[[version, *[f"{line[name]:.3f}" for name in names]] for version, line in every.items()]])


def real_threshold() -> str:
    """What a threshold that simulation fixed does on real alerts, and how wrong confidence is."""
    scores = read(RESULTS / "real_ztf" / "scores.json") or {}
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
    scores = read(RESULTS / "real_ztf" / "scores.json") or {}
    rows = [["", "class", "flat, of", "called type Ia"]]
    simulated = scores.get("simulated_gate", {}).get("ia_without_rise", {})
    for where, by_class in (("real", scores.get("ia_without_rise", {})), ("simulated", simulated)):
        rows += [
            [where, name, f"{line['flat']}, {line['of']}", with_range(line.get("said_ia"))]
            for name, line in by_class.items()
        ]
    return table_of(rows) if len(rows) > 1 else "Not measured.\n"


def real_unknown() -> str:
    unknown = (read(RESULTS / "real_ztf" / "scores.json") or {}).get("unknown")
    if not unknown:
        return "\n"
    tidal = unknown.get("tidal_disruptions")
    text = f"those of known kinds have a median of {unknown['median_of_known']:+.2f}"
    if tidal:
        text += f"; {tidal['unknown']} real tidal disruptions are told from them with an AUROC of {tidal['auroc']:.2f}"
    return text + ".\n"


def brightest() -> str:
    scores = read(RESULTS / "real_ztf" / "scores.json")
    if scores is None or "brightest_mag" not in scores:
        return "\n"
    mag = scores["brightest_mag"]
    return (
        f"SN 2021rhu, one of the brightest of its year (brightest alert {mag['ZTF21abiuvdk']:.1f} mag; brightest of "
        f"{mag['simulated_supernovae']} simulated supernovae {mag['simulated']:.1f}), is drawn above.\n"
    )


VIGIL_OF_THE_SAME_SKY = "ztf-6a2fff7b62"  # as ICT-ConvEntion on alerts


def convention_on_alerts() -> str:
    """ICT-ConvEntion on ZTF's alerts, the same without its second branch, and the weights that ship as first choice."""
    ways = {
        "`convention-alerts`, the same without the second branch": RESULTS / "convention" / "convention-ztf",
        "`ict-convention-alerts`, shipped as `ict-convention-ztf`": RESULTS / "convention" / "ict-convention-ztf",
        "Vigil, shipped as `ztf`": RESULTS / "real_ztf",
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
    if (like := (read(RESULTS / "real_ztf" / "scored_weights.json") or {}).get(VIGIL_OF_THE_SAME_SKY)) is not None:
        figures = [
            f"{like[name]:.3f}" for name in ("macro_f1", "balanced_accuracy", "p10_in_flight", "ia_auc_in_flight")
        ]
        rows.append([f"Vigil of the same sky and objects, `{VIGIL_OF_THE_SAME_SKY}`", *figures[:2], "–", *figures[2:]])
    return table_of(rows)
