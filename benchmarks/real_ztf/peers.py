"""Scores of other brokers' networks on the same alerts beside ours, with paired differences."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_ztf.scores import binary, paired

Row = Mapping[str, str]
PEERS = "peers.csv"


def _number(name: str) -> Callable[[Row], float]:
    return lambda row: float(row[name])


def _acai(row: Row) -> float:
    return max(float(row["acai_h"]), float(row["acai_o"]))


def _acai_best(row: Row) -> float:
    return _acai(row) - max(float(row["acai_n"]), float(row["acai_v"]))


def _oracle_ia(row: Row) -> float:
    leaves = [float(row[f"oracle_{name}"]) for name in ("snia", "snii", "snibc", "slsn")]
    return leaves[0] / max(sum(leaves), 1e-12)


SUPERNOVA_SCORES: Mapping[str, Callable[[Row], float]] = {
    "ACAI hosted or orphan": _acai,
    "ACAI, best of five combinations": _acai_best,
    "BTSbot": _number("btsbot"),
    "BTSbot, inputs as trained": _number("btsbot_as_trained"),
    "ORACLE-BTS": _number("oracle_transient"),
    "SuperNNova as Fink runs it": _number("fink_snn_sn_vs_all"),
}
IA_SCORES: Mapping[str, Callable[[Row], float]] = {
    "ORACLE-BTS": _oracle_ia,
    "SuperNNova as Fink runs it": _number("fink_snn_ia"),
}


def read_peers(folder: Path) -> dict[int, Row]:
    """By alert id; empty where the table is not there."""
    path = folder / PEERS
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {int(row["alertId"]): row for row in csv.DictReader(file)}


def complete(row: Row) -> bool:
    """Whether the packet has every feature that ACAI reads; where not, brokers give no ACAI score."""
    return row["n_missing_features"] == "0"


def beside(
    ours_N: NDArray,
    is_N: NDArray,
    rows: Sequence[Row],
    of: Mapping[str, Callable[[Row], float]],
    names: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """Each peer's numbers on the same objects, and ours less theirs."""
    compared = {}
    for peer, value in of.items():
        theirs_N = np.array([value(row) for row in rows])
        compared[peer] = {
            **binary(theirs_N, is_N, names),
            "ours_less_theirs": {name: paired(ours_N, theirs_N, is_N, name) for name in names},
        }
    return compared
