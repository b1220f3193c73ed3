"""Tables that commands wrote whole: controls, comparisons and the published experiment."""

from itertools import pairwise

from benchmarks.results.tables.measured import RESULTS, SURVEYS, read
from model.training.comparison.markdown import table_of


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
    """The scores of a comparison alone, without recalls, pairs and nights."""
    return compared(folder).split("\n\n")[0].rstrip("\n") + "\n"


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
