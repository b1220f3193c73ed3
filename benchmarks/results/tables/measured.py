"""Files in which commands keep what they measured, and cells that several tables write alike."""

import json
from pathlib import Path
from typing import Any

from model.training.comparison.markdown import value_and_range

RESULTS = Path(__file__).resolve().parents[1]
ROOT = RESULTS.parents[1]
SURVEYS = ("ztf", "lsst", "sdss")
OF_SINGLE_ALERTS = {  # scores of weights on single simulated alerts, in the order of their columns
    "macro_f1": "macro-F1",
    "ia_among_supernovae": "Ia among SN, AUC",
    "supernova_recall_at_1_percent": "SN at 1 % false",
    "against_agn_alone": "against AGN alone",
}


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def with_range(interval: dict[str, float] | None) -> str:
    """A value with its 95 % interval."""
    return "" if interval is None else f"{interval['value']:.3f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def of_single_alerts(scores: dict[str, Any], how: str = ".3f") -> list[str]:
    """A row's cells under ``OF_SINGLE_ALERTS``."""
    return [value_and_range(scores[name], how) for name in OF_SINGLE_ALERTS]
