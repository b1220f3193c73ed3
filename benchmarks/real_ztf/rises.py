"""Rises of light curves, and how often type Ia is said of alerts without one.

Users of other brokers complain of early type Ia that turn out to be flat. "Flat" here: of all that a packet tells of
the month, limits included, nothing is ``RISE_SIGMA`` brighter than an earlier epoch in its band.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.training.evaluation.intervals import wilson

RISE_SIGMA = 5.0
SAID = 0.5  # probability of type Ia above which it counts as said


def rises(time_X: NDArray, band_X: NDArray, flux_X: NDArray, error_X: NDArray) -> bool:
    """Whether any epoch is significantly brighter than an earlier one in its band; unknown fluxes are left out."""
    known_X = np.isfinite(flux_X) & (error_X > 0)
    time_X, band_X, flux_X, error_X = (x[known_X] for x in (time_X, band_X, flux_X, error_X))
    later_XX = (time_X[:, None] > time_X) & (band_X[:, None] == band_X)
    brighter_XX = flux_X[:, None] - flux_X > RISE_SIGMA * np.hypot(error_X[:, None], error_X)
    return bool((later_XX & brighter_XX).any())


def ia_without_rise(
    label_N: NDArray, p_NK: NDArray, rises_N: NDArray[np.bool_], classes: tuple[str, ...]
) -> dict[str, Any]:
    """By true class: how many alerts are flat, and the share of them of which type Ia is said, with its interval."""
    said_N = p_NK[:, classes.index("SNIa")] >= SAID
    counts = {}
    for k, name in enumerate(classes):
        flat_N = ~rises_N & (label_N == k)
        counts[name] = {"flat": int(flat_N.sum()), "of": int((label_N == k).sum())}
        if flat_N.any():
            counts[name]["said_ia"] = dataclasses.asdict(wilson(int((said_N & flat_N).sum()), int(flat_N.sum())))
    return counts
