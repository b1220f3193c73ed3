"""Limits of what the columns of a data set hold, by which the writer takes objects and a reader believes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.series import BANDS, SMALLEST_SCALE

LARGEST_ID = 2**63 - 1  # of 64 bits
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
LONGEST_D = 1e6  # from the first frame: past photometry sets bands so far apart on one axis of times


@dataclass(frozen=True, slots=True)
class Limits:
    """Least and most of a column's values, and whether one may be unknown."""

    least: float
    most: float
    or_nan: bool = False

    def __str__(self) -> str:
        return f"{self.least:g} to {self.most:g}" + (", or NaN" if self.or_nan else "")

    def are_kept(self, values_N: NDArray) -> NDArray[np.bool_]:
        """Which values are within them."""
        within_N = (values_N >= self.least) & (values_N <= self.most)
        return within_N | np.isnan(values_N) if self.or_nan else within_N


LIMITS: Mapping[str, Limits] = {
    "band": Limits(0, len(BANDS) - 1),
    "time": Limits(0, LONGEST_D),
    "flux": Limits(-LARGEST_FLOAT32, LARGEST_FLOAT32, or_nan=True),
    "flux_error": Limits(0, LARGEST_FLOAT32, or_nan=True),
    "scale": Limits(SMALLEST_SCALE, LARGEST_FLOAT32),
    "history_band": Limits(0, len(BANDS) - 1),
    "history_time": Limits(-LONGEST_D, LONGEST_D),
    "history_flux": Limits(-LARGEST_FLOAT32, LARGEST_FLOAT32),
    "history_flux_error": Limits(SMALLEST_SCALE, LARGEST_FLOAT32),
}


def in_64_bits(number: int) -> bool:
    """Whether a column of whole numbers can hold it."""
    return -LARGEST_ID - 1 <= number <= LARGEST_ID


def kind_of_truth(value: Any) -> str | None:
    """What a value of an object's truth is, as Python has it; a column holds one kind alone. None: nothing is told.

    Raises
    ------
    ValueError
        When it is nothing that a truth may hold.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "yes or no"
    if _is_number(value):
        return "a number"
    if isinstance(value, list | tuple) and all(_is_number(entry) for entry in value):
        return "a list of numbers"
    raise ValueError(f"{str(value)[:60]!a} is none of number (of 64 bits), text, yes or no, flat list of numbers")


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and in_64_bits(value))
