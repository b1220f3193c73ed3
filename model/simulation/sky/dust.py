"""E(B-V) of the Milky Way by Galactic latitude. Knows no survey and no source.

References
----------
Schlegel, Finkbeiner & Davis 1998 (ApJ 500, 525). The table is of their map at HEALPix's nside 64, of pixels with
declinations of -28 to 80 degrees; ``python -m model.simulation.sky.measure_dust MAP.fits`` prints it again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class DustByLatitude:
    """Quantiles of E(B-V) by |b|: the median, and the spread of its logarithm towards less and towards more dust."""

    latitude_deg_N: NDArray[np.float64]
    median_mag_N: NDArray[np.float64]
    ln_below_N: NDArray[np.float64]
    ln_above_N: NDArray[np.float64]

    def at(self, latitude_deg: float, deviate: float) -> float:
        """E(B-V) at a latitude, as far from the median as a standard normal deviate says."""
        away = abs(latitude_deg)
        ln_median = np.interp(away, self.latitude_deg_N, np.log(self.median_mag_N))
        spread_N = self.ln_above_N if deviate > 0 else self.ln_below_N
        return float(np.exp(ln_median + deviate * np.interp(away, self.latitude_deg_N, spread_N)))


SFD = DustByLatitude(
    latitude_deg_N=np.array([8.4, 12.6, 17.0, 24.6, 35.0, 45.0, 55.1, 68.7]),
    median_mag_N=np.array([0.391, 0.220, 0.137, 0.075, 0.059, 0.045, 0.031, 0.022]),
    ln_below_N=np.array([0.70, 0.64, 0.68, 0.53, 0.52, 0.85, 0.67, 0.41]),
    ln_above_N=np.array([0.66, 0.88, 1.12, 0.89, 0.67, 0.62, 0.48, 0.36]),
)
