"""Stars without one clock: some periods and a random walk in magnitude. Knows no kinds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

from model.simulation.sources import TEMPLATE_DAYS
from model.simulation.surveys import Survey, flux_njy

LARGEST_WALK = 3.0  # standard deviations: keeps a skewed star from leaving all bounds


@dataclass(frozen=True, slots=True, eq=False)
class Irregular:
    """Magnitudes about a mean: ``amplitude_B`` times periods and walk, skewed towards faint (+) or bright (-)."""

    subtype: str
    mag_B: NDArray[np.float64]
    amplitude_B: NDArray[np.float64]
    skew: float
    periods: tuple[tuple[float, float, float], ...]  # days, share of the amplitude, phase
    walk_share: float
    walk_N: NDArray[np.float64]  # unit variance, from the first template epoch
    step_days: float

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        period = self.periods[0][0] if self.periods else float("nan")
        return {"period_days": period, "amplitude_g_mag": float(self.amplitude_B[1])}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        """Total flux, nJy."""
        grid_N = TEMPLATE_DAYS[0] + self.step_days * np.arange(len(self.walk_N))
        wave_T = self.walk_share * np.interp(day_T, grid_N, self.walk_N)
        for days, share, phase in self.periods:
            wave_T = wave_T + share * np.cos(2 * np.pi * (day_T / days + phase))
        wave_T = np.clip(wave_T, -LARGEST_WALK, LARGEST_WALK)
        if self.skew:
            wave_T = np.expm1(self.skew * wave_T) / self.skew
        return flux_njy(self.mag_B[band_T] + self.amplitude_B[band_T] * wave_T)


def wander(rng: Generator, memory_days: float, window_days: float, step_days: float) -> NDArray[np.float64]:
    """A damped random walk of unit variance from the first template epoch to the end of the window.

    A longer window only adds to it, so that the same star can be put under another survey.
    """
    count = int((window_days - TEMPLATE_DAYS[0]) / step_days) + 3
    keep = np.exp(-step_days / memory_days)
    normal_N = np.random.default_rng(int(rng.integers(1 << 63))).standard_normal(count)  # rng moves on by one number
    normal_N[1:] *= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], normal_N))
