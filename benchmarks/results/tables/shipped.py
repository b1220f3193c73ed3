"""Tables of the page of shipped weights: scores on simulated test objects, and trees beside them."""

from benchmarks.results.tables.measured import RESULTS, ROOT, SURVEYS, read
from model.training.comparison.markdown import shown, table_of, value_and_range


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
        card, scores = read(ROOT / "model" / "weights" / f"{survey}.json"), read(RESULTS / survey / "scores.json")
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
        scores = read(RESULTS / survey / "scores.json")
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
    scores = {survey: read(RESULTS / survey / "scores.json") for survey in SURVEYS}
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
    measured = {
        survey: of["unknown"]["by_night"] for survey in SURVEYS if (of := read(RESULTS / survey / "scores.json"))
    }
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
        scores = read(RESULTS / survey / "scores.json")
        for rule in scores["decisions"] if scores else []:
            in_a_row = rule["alerts_in_a_row"]
            rows.append(
                [survey, "one alert" if in_a_row == 1 else f"{in_a_row} alerts in a row",
                 f"{rule['decided_share']:.0%}", f"{rule['median_days']:.1f}", f"{rule['right_share']:.0%}",
                 f"{rule['changed_share']:.0%}", f"{rule['revoked_share']:.0%}"]
            )  # fmt: skip
    return table_of(rows)


def trees() -> str:
    """Boosted trees on the same objects, beside the shipped network."""
    rows = [["survey", "shipped network", "trees on photometry", "trees on number and times of observations"]]
    for survey in SURVEYS:
        reached_by, scores = read(RESULTS / "trees" / survey / "table.json"), read(RESULTS / survey / "scores.json")
        if reached_by is None or scores is None:
            continue
        of = {line["system"]: line["macro_f1"] for line in reached_by["systems"]}
        reached = scores["scores"]["macro_f1"]
        rows.append([survey, *[f"{f1:.3f}" for f1 in (reached, of["photometry-trees"], of["metadata-trees"])]])
    return table_of(rows)
