"""Tables of single simulated alerts: what decides, and what each input, training and draw is worth."""

from typing import Any

from benchmarks.results.tables.measured import OF_SINGLE_ALERTS, RESULTS, of_single_alerts, read, with_range
from model.training.comparison.markdown import table_of

ERUPTIVE = {"DwarfNova": "dwarf novae", "Nova": "novae", "Flare": "flares"}
GATE = ("0.89", "0.97", "0.93", "5 %", "", "10 %")  # what the issue asked for, line by line


def gate() -> str:
    """Single simulated alerts: weights shipped before and now, and what the issue asked for."""
    scores = read(RESULTS / "real_ztf" / "scores.json") or {}
    if (now := scores.get("simulated_gate")) is None:
        return "Not measured.\n"
    before = read(RESULTS / "real_ztf" / "gate_before.json") or {}
    of_weights = {**before, f"{scores['weights']['version']}, shipped": now}
    columns = [_gate_lines(content) for content in of_weights.values()]
    head = ["simulated single alerts", *of_weights, "gate of issue"]
    return table_of([head, *[[name, *[of[name] for of in columns], GATE[i]] for i, name in enumerate(columns[-1])]])


def _gate_lines(content: dict[str, Any]) -> dict[str, str]:
    """What one set of weights reaches, by the name of the line."""
    erupts = content["taken_for_supernovae"]
    return {
        "Ia among supernovae, AUC": with_range(content["ia_among_supernovae"]),
        "supernovae found at 1 % false": f"{content['supernova_recall_at_1_percent']:.3f}",
        "the same against AGN alone": f"{content['against_agn_alone']:.3f}",
        **{
            f"{words} ({erupts[kind]['alerts']}) called supernovae": f"{erupts[kind]['share']:.0%}".replace("%", " %")
            for kind, words in ERUPTIVE.items()
        },
    }


def curve() -> str:
    """What more simulated objects bring, and what the last step gained."""
    table_read = read(RESULTS / "real_ztf" / "curve.json")
    if table_read is None:
        return "Not measured.\n"
    rows = [["weights", "trained on", "epochs", *OF_SINGLE_ALERTS.values()]]
    for step in table_read["steps"]:
        head = [step["version"], f"{step['trained_on']:,}", str(step["epochs"])]
        rows.append([*head, *of_single_alerts(step["scores"])])
        if gained := step.get("less_the_one_before"):
            rows.append(["gained", "", "", *of_single_alerts(gained)])
    return table_of(rows)


def variants(name: str, folder: str = "real_ztf") -> str:
    """Weights of other trainings, or averages, against the first."""
    table_read = read(RESULTS / folder / f"{name}.json")
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
    table_read = read(RESULTS / "real_ztf" / "ablations.json")
    if table_read is None:
        return "Not measured.\n"
    whole, *others = table_read["lines"]
    rows = [["", *OF_SINGLE_ALERTS.values()], [whole["name"], *of_single_alerts(whole["scores"])]]
    rows += [[line["name"], *of_single_alerts(line["less_the_whole"], "+.3f")] for line in others]
    return table_of(rows)


def skies() -> str:
    """Real alerts that nobody labelled beside simulated ones."""
    table_read = read(RESULTS / "real_ztf" / "skies.json")
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
    table_read = read(RESULTS / "real_ztf" / "trees.json")
    if table_read is None:
        return "Not measured.\n"
    strata = next(iter(table_read["auc"].values()))
    rows = [["", *[f"{name.replace('-', '–')} ({of['alerts']})" for name, of in strata.items()]]]
    rows += [[name, *[f"{of['auc']:.3f}" for of in scores.values()]] for name, scores in table_read["auc"].items()]
    return table_of(rows)
