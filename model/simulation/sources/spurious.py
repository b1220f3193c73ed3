"""Artefacts, subtraction residuals and passing asteroids, which alerts hold beside the variable sky."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.sources import Circumstances
from model.simulation.surveys import Survey, flux_njy

ARTEFACTS = {"cosmic_ray": 0.3, "bad_column": 0.15, "dipole": 0.35, "satellite": 0.1, "ghost": 0.1}
SOLAR_COLOUR_MAG = np.array([1.9, 0.45, 0.0, -0.13, -0.16, -0.17])  # minus r


@dataclass(frozen=True, slots=True)
class Bogus:
    """No source at all: an artefact that a difference image took for one, at visits near the given days."""

    subtype: str
    artefact: str
    days: tuple[float, ...]
    strength: float  # of the apparent source, in sigma

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"artefact": self.artefact, "artefact_sigma": self.strength}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        return np.zeros(len(day_T))


@dataclass(frozen=True, slots=True, eq=False)
class Asteroid:
    """A moving object: one visit sees it here, no other does."""

    subtype: str
    mag_B: NDArray[np.float64]
    day: float

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        return {"peak_day": self.day, "mag_r": float(self.mag_B[BANDS.index("r")])}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        flux_T = np.zeros(len(day_T))
        if len(day_T) and day_T[-1] >= 0:  # not in the template
            t = int(np.argmin(np.abs(day_T - self.day)))
            flux_T[t] = flux_njy(self.mag_B[band_T[t]])
        return flux_T


def draw_bogus(rng: Generator, seen: Circumstances, artefact: str | None = None) -> Bogus:
    """Draw an artefact: most come once, dipoles and residuals at a fixed star or galaxy come again."""
    if artefact is None:
        weights = np.array(list(ARTEFACTS.values()))
        artefact = str(rng.choice(list(ARTEFACTS), p=weights / weights.sum()))
    again = artefact in ("dipole", "bad_column", "subtraction_residual")
    count = 1 + int(rng.poisson(3.0)) if again else 1
    days = tuple(float(day) for day in np.sort(rng.uniform(0, seen.window_days, count)))
    return Bogus(
        "Residual" if artefact == "subtraction_residual" else "Bogus", artefact, days, float(5 + rng.exponential(4))
    )


def draw_asteroid(rng: Generator, seen: Circumstances) -> Asteroid:
    """Draw an asteroid with the colours of sunlight; ``seen.mag_B`` gives its r magnitude."""
    if seen.mag_B is None:
        raise ValueError("an asteroid needs an r magnitude: give Circumstances.mag_B")
    mag_B = float(seen.mag_B[BANDS.index("r")]) + SOLAR_COLOUR_MAG + 0.05 * rng.standard_normal(len(BANDS))
    return Asteroid("Asteroid", mag_B, float(rng.uniform(0, seen.window_days)))
