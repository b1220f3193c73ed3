"""Active nuclei: a damped random walk that drives every band together.

References
----------
MacLeod et al. 2010 (ApJ 721, 1014); Kelly, Bechtold & Siemiginowska 2009 (ApJ 698, 895), the exact step of the walk.
Ruan et al. 2012 (ApJ 760, 51): blazars walk, too, over shorter times and with larger amplitudes; the numbers are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

from model.series import BANDS
from model.simulation.sources import TEMPLATE_DAYS, Circumstances
from model.simulation.sources.spectra import distance_modulus
from model.simulation.surveys import Survey, flux_njy

STEP_DAYS = 1.0
INDEPENDENT_FRACTION = 0.05  # of each band's amplitude that the common driver does not explain
SF_COEFFICIENTS = (-0.51, -0.479, 0.131, 0.18)  # constant, wavelength, luminosity, black-hole mass
TAU_COEFFICIENTS = (2.4, 0.17, 0.03, 0.21)
SCATTER_DEX = 0.2
SHORTEST_TAU_DAYS, LONGEST_TAU_DAYS = 10.0, 4000.0
FAINTEST_M_I, BRIGHTEST_M_I = -18.0, -30.0  # the relations are not used outside
# The quasars that MacLeod et al. fitted; beyond them the relations would give Seyfert nuclei quite unlike the measured
# ones twice their scatter.
FAINTEST_FITTED_M_I = -22.0
BLAZAR_SF_DEX, BLAZAR_TAU_DAYS, BLAZAR_TAU_LN_SCATTER = 0.35, 60.0, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class AGN:
    """One active nucleus, its walk already taken."""

    subtype: str
    redshift: float
    mag_B: NDArray[np.float64]  # mean, of the nucleus alone
    absolute_i_mag: float
    log_black_hole_mass: float
    sf_scatter_dex: float
    tau_days: float  # observer's frame
    walk_NB: NDArray[np.float64]  # unit variance, daily from the first template epoch

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        sf = self.structure_function(np.array([6200.0 / (1 + self.redshift)]))
        return {
            "tau_obs_days": self.tau_days,
            "sf_infinity_r_mag": float(sf[0]),
            "log_black_hole_mass": self.log_black_hole_mass,
            "abs_i_mag": self.absolute_i_mag,
        }

    def structure_function(self, rest_a: NDArray) -> NDArray:
        """Asymptotic rms magnitude difference at rest-frame wavelengths."""
        power = _relation(SF_COEFFICIENTS, rest_a, self.absolute_i_mag, self.log_black_hole_mass)
        return 10 ** (power + self.sf_scatter_dex)

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        amplitude_B = self.structure_function(survey.pivot_angstrom_B / (1 + self.redshift)) / np.sqrt(2)
        row_T = (day_T - TEMPLATE_DAYS[0]) / STEP_DAYS
        low_T = np.clip(row_T.astype(np.int64), 0, len(self.walk_NB) - 2)
        weight_T = np.clip(row_T - low_T, 0, 1)
        x_T = (1 - weight_T) * self.walk_NB[low_T, band_T] + weight_T * self.walk_NB[low_T + 1, band_T]
        return flux_njy(self.mag_B[band_T] + amplitude_B[band_T] * x_T)


def draw_agn(rng: Generator, seen: Circumstances, faintest_m_i: float = FAINTEST_M_I, blazar: bool = False) -> AGN:
    """Draw a nucleus whose mean magnitudes are given; one fainter than the limit varies like one of that luminosity."""
    if seen.mag_B is None:
        raise ValueError("a nucleus needs mean magnitudes: give Circumstances.mag_B")
    z = seen.redshift
    absolute_i = float(
        np.clip(seen.mag_B[BANDS.index("i")] - distance_modulus(max(z, 0.01)), BRIGHTEST_M_I, faintest_m_i)
    )
    log_mass = 8.3 - 0.25 * (absolute_i + 23) + 0.4 * rng.standard_normal()
    sf_scatter, tau_scatter = SCATTER_DEX * rng.standard_normal(2)
    log_tau = _relation(TAU_COEFFICIENTS, np.array(6200.0 / (1 + z)), absolute_i, log_mass) + tau_scatter
    tau = float(np.clip((1 + z) * 10**log_tau, SHORTEST_TAU_DAYS, LONGEST_TAU_DAYS))
    if blazar:
        sf_scatter += BLAZAR_SF_DEX
        tau = max(BLAZAR_TAU_DAYS * np.exp(BLAZAR_TAU_LN_SCATTER * rng.standard_normal()), SHORTEST_TAU_DAYS)
    count = int((seen.window_days - TEMPLATE_DAYS[0]) / STEP_DAYS) + 3
    normal_ND = rng.standard_normal((count, 1 + len(BANDS)))  # rows in time, so that a longer window only adds rows
    keep = np.exp(-STEP_DAYS / tau)
    normal_ND[1:] *= np.sqrt(1 - keep**2)
    walk_ND = lfilter([1.0], [1.0, -keep], normal_ND, axis=0)
    common = np.sqrt(1 - INDEPENDENT_FRACTION**2)
    walk_NB = common * walk_ND[:, :1] + INDEPENDENT_FRACTION * walk_ND[:, 1:]
    return AGN(
        "Blazar" if blazar else "QSO",
        z,
        np.asarray(seen.mag_B),
        absolute_i,
        float(log_mass),
        float(sf_scatter),
        tau,
        walk_NB,
    )


def _relation(coefficients: tuple[float, ...], rest_a: NDArray, absolute_i: float, log_mass: float) -> NDArray:
    constant, wavelength, luminosity, mass = coefficients
    return constant + wavelength * np.log10(rest_a / 4000) + luminosity * (absolute_i + 23) + mass * (log_mass - 9)
