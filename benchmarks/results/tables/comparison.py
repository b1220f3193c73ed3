"""Tables that commands wrote whole: controls, comparisons and the published experiment."""

from itertools import pairwise

from benchmarks.results.tables.measured import RESULTS, SURVEYS, read
from model.training.comparison.markdown import CURVE_NIGHTS, NIGHTS, shown, systems_table, table_of, worst_to_best
from model.training.comparison.pairs import PUBLISHED

THREE = {  # the systems between which the published experiment decides, by what they are
    "convention-sampled-reduced": "ConvEntion, its authors' last version",
    "convention-whole-reduced": "ICT's stages without the second branch",
    "ict-convention-reduced": "ICT-ConvEntion",
}
OF_THEIR_AUTHORS = {
    "macro_f1": f"{PUBLISHED['convention']:.3f}, {PUBLISHED['ict-convention']:.3f}",
    "accuracy": "0.798, 0.822",
    "recall": "0.67 – 0.81, 0.77 – 0.83",
}


def controls() -> str:
    """What the controls found, survey by survey."""
    texts = [(survey, RESULTS / "controls" / f"{survey}.md") for survey in SURVEYS]
    sections = [f"## {survey}\n\n{path.read_text('utf-8')}" for survey, path in texts if path.is_file()]
    return "".join(sections) or "Not run yet.\n"


def compared(folder: str, name: str = "table") -> str:
    """The tables of a comparison."""
    path = RESULTS / folder / f"{name}.md"
    return path.read_text("utf-8") if path.is_file() else "Not run yet.\n"


def first_table(folder: str) -> str:
    """The scores of a comparison on one split alone, without recalls, pairs and nights."""
    table = read(RESULTS / folder / "table.json")
    return "Not run yet.\n" if table is None else systems_table(table["systems"])


def three_systems() -> str:
    """ConvEntion, ICT-ConvEntion, and its stages without the second branch, one column each."""
    line_of = {line["system"]: line for line in read(RESULTS / "convention" / "table.json")["systems"]}
    lines = [line_of[system] for system in THREE]
    scores = {
        "macro_f1": "macro-F1",
        "accuracy": "accuracy",
        "accuracy_with_prior": "accuracy, class prior put back",
        "auc": "AUC",
        "log_loss": "log loss",
    }
    rows = [["", *THREE.values(), "published: ConvEntion, ICT"]]
    rows += [["run", *[f"`{system}`" for system in THREE], ""], ["seeds", *[str(line["seeds"]) for line in lines], ""]]
    rows += [[words, *[shown(line[name]) for line in lines], OF_THEIR_AUTHORS.get(name, "")]
             for name, words in scores.items()]  # fmt: skip
    rows += [
        [
            f"{name} of the classes, from – to",
            *[worst_to_best(line[of]) for line in lines],
            OF_THEIR_AUTHORS.get(of, ""),
        ]
        for of, name in (("recall", "recall"), ("f1", "F1"))
    ]
    early = [", ".join(shown(line["macro_f1_by_night"].get(night)) for night in CURVE_NIGHTS) for line in lines]
    return table_of([*rows, [f"macro-F1 after nights {NIGHTS}", *early, ""]])


def published() -> str:
    """The published experiment so far: the tables of its runs, and its embeddings as training goes on."""
    runs = {path.stem: read(path) for path in sorted((RESULTS / "convention" / "runs").glob("*.json"))}
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
