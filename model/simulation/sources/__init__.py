"""Variable sources: each family draws intrinsic parameters, then tells its flux at given times, bands and survey.

Times are days since the start of the observing window, so that the same source can be put under any survey.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.simulation.surveys import Survey

TEMPLATE_DAYS = np.linspace(-800.0, -100.0, 15)  # epochs that the reference image averages


class Source(Protocol):
    """A point source whose parameters are fixed; any survey may look at it."""

    @property
    def subtype(self) -> str:
        """Name of the kind of source within its class."""
        ...

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        """Drawn parameters, for the truth file."""
        ...

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        """Total flux in nJy, before dust of the Milky Way; never negative."""
        ...


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a family needs to know before it draws a source."""

    window_days: float
    redshift: float = 0.0
    mag_B: NDArray[np.float64] | None = None  # mean AB magnitudes where the catalogue entry is the source itself
    near: bool = False  # of a survey of the whole sky, whose supernovae have the colours of nearby ones
