"""The results pages and README's two tables, from what was measured: ``python benchmarks/results/write_page.py``.

Every number of their tables is read from a file that a command wrote; the page names the command. The words stand in
``benchmarks/results/pages/``.
"""

import sys

from benchmarks.results.tables import comparison, real, shipped, single_alerts
from benchmarks.results.tables.front_page import front_page
from benchmarks.results.tables.measured import RESULTS, ROOT


def between_marks(page: str, name: str, text: str) -> str:
    """The page with what stands between ``<!-- name -->`` and the next ``<!-- end -->`` replaced."""
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not mark or not end:
        raise ValueError(f"no place for {name}: <!-- {name} --> ... <!-- end -->")
    return f"{before}{mark}{text}{end}{after}"


def main() -> int:
    tables = {
        "SHIPPED": shipped.shipped_weights(),
        "EARLY": shipped.early(),
        "UNKNOWN": shipped.unknown(),
        "UNKNOWN BY NIGHT": shipped.unknown_by_night(),
        "DECISIONS": shipped.decisions(),
        "REAL UNKNOWN": real.real_unknown(),
        "TREES": shipped.trees(),
        "REAL": real.real(),
        "REAL STRATA": real.real_strata(),
        "REAL PEERS": real.real_peers(),
        "REAL WEIGHTS": real.real_weights(),
        "REAL THRESHOLD": real.real_threshold(),
        "REAL FLAT": real.real_flat(),
        "GATE": single_alerts.gate(),
        "CURVE": single_alerts.curve(),
        "AVERAGES": single_alerts.variants("averages"),
        "TRAININGS": single_alerts.variants("trainings"),
        "ABLATIONS": single_alerts.ablations(),
        "SKIES": single_alerts.skies(),
        "TYPE TREES": single_alerts.type_trees(),
        "BRIGHTEST": real.brightest(),
        "CONTROLS": comparison.controls(),
        "COMPARISON": comparison.compared("table"),
        "MIX": comparison.compared("mix"),
        "PHYSICAL": comparison.compared("physical"),
        "PUBLISHED": comparison.published(),
        "THREE SYSTEMS": comparison.three_systems(),
        "DRAWS": comparison.compared("convention", "draws"),
        "IMBALANCE": comparison.first_table("imbalance"),
        "LABELS": comparison.compared("labels"),
        "CONVENTION ON ALERTS": real.convention_on_alerts(),
        "LSST SINGLE ALERTS": single_alerts.variants("single_alerts", "lsst"),
        "SDSS FEATURES": comparison.compared("convention/embeddings", "sdss"),
        "ZTF FEATURES": comparison.compared("convention/embeddings", "ztf"),
        "SECOND BRANCH": single_alerts.variants("ict_on_alerts"),
    }
    folder = ROOT / "docs" / "results"
    folder.mkdir(exist_ok=True)
    for words in sorted((RESULTS / "pages").glob("*.md")):
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
