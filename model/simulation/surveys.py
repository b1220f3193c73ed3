"""The three surveys as tables of facts: bands, pixels, calibration, seeing, depth. Knows nothing of time or of sources.

Arrays have one entry per band of ``model.series.BANDS`` (``B``), NaN where the survey has no such band.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from model.series import BANDS

NJY_PER_NANOMAGGY = 3630.78
AB_ZERO_POINT_NJY = 31.4  # AB magnitude of 1 nJy
ZTF_READ_VARIANCE_DN2 = 2.5  # of one visit: with the sky's photons, the noise of the deepest real stamps
NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What one survey's images have in common."""

    name: str
    index: int  # part of the seed of everything observed
    bands: str
    pixel_arcsec: float
    stamp_pixels: int
    window_days: float  # length of the series that is simulated
    products: tuple[str, ...]  # images per visit
    pivot_angstrom_B: NDArray[np.float64]
    zero_point_mag_B: NDArray[np.float64]  # AB magnitude of 1 DN
    gain_B: NDArray[np.float64]  # electrons per DN
    depth_mag_B: NDArray[np.float64]  # median 5-sigma point-source depth
    fwhm_arcsec_B: NDArray[np.float64]  # median seeing
    dust_B: NDArray[np.float64]  # extinction per E(B-V), Schlafly & Finkbeiner 2011
    sky_mag_arcsec2_B: NDArray[np.float64]
    astrometric_jitter_arcsec: float  # per axis and visit

    def __reduce__(self) -> tuple[Callable[[str], "Survey"], tuple[str]]:
        """Travels to another process as its name: there is one of each."""
        return survey_named, (self.name,)

    @property
    def place(self) -> int:
        """Its place among the surveys: part of the seed of every pixel."""
        return self.index - 1

    @property
    def sends_alerts(self) -> bool:
        """Whether what it publishes is what changed: a stream of alerts, with templates taken off."""
        return "difference" in self.products

    @property
    def band_indices(self) -> NDArray[np.int64]:
        """Indices of the survey's bands in BANDS."""
        return np.array([BANDS.index(band) for band in self.bands])

    @property
    def stamp_arcsec(self) -> float:
        """Side of a stamp."""
        return self.stamp_pixels * self.pixel_arcsec


def _row(*values: float) -> NDArray[np.float64]:
    return np.array(values + (NAN,) * (len(BANDS) - len(values)))


SDSS = Survey(
    name="sdss",
    index=1,
    bands="ugriz",
    pixel_arcsec=0.396,
    stamp_pixels=64,
    window_days=90.0,
    products=("science",),
    pivot_angstrom_B=_row(3589, 4701, 6177, 7497, 8904),
    zero_point_mag_B=_row(27.48, 28.55, 28.23, 27.93, 26.21),  # of 1 DN in 53.9 s
    gain_B=_row(1.71, 3.85, 4.73, 4.94, 4.62),
    depth_mag_B=_row(21.42, 22.53, 22.14, 21.73, 20.50),
    fwhm_arcsec_B=_row(1.64, 1.58, 1.40, 1.33, 1.36),
    dust_B=_row(4.239, 3.303, 2.285, 1.698, 1.263),
    sky_mag_arcsec2_B=_row(22.02, 21.73, 20.80, 20.16, 18.94),
    astrometric_jitter_arcsec=0.045,
)
ZTF = Survey(
    name="ztf",
    index=2,
    bands="gri",
    pixel_arcsec=1.01,
    stamp_pixels=63,
    window_days=365.0,
    products=("science", "template", "difference"),
    pivot_angstrom_B=_row(NAN, 4789, 6421, 7955),
    zero_point_mag_B=_row(NAN, 26.23, 26.25, 25.66),
    gain_B=_row(NAN, 6.0, 6.0, 6.0),
    depth_mag_B=_row(NAN, 20.17, 20.18, 19.80),  # of alerts; i is shallower by the pointing log's difference
    fwhm_arcsec_B=_row(NAN, 2.57, 2.35, 2.20),
    dust_B=_row(NAN, 3.303, 2.285, 1.698),
    sky_mag_arcsec2_B=_row(NAN, 21.6, 20.6, 19.7),
    astrometric_jitter_arcsec=0.065,
)
LSST = Survey(
    name="lsst",
    index=3,
    bands="ugrizy",
    pixel_arcsec=0.2,
    stamp_pixels=31,
    window_days=730.0,
    products=("science", "template", "difference"),
    pivot_angstrom_B=_row(3716, 4787, 6208, 7549, 8674, 9746),
    zero_point_mag_B=np.full(len(BANDS), AB_ZERO_POINT_NJY),  # published in nJy
    gain_B=10 ** (0.4 * (_row(26.52, 28.51, 28.36, 28.17, 27.78, 26.82) - AB_ZERO_POINT_NJY)) * 30.0,  # e- per nJy
    depth_mag_B=_row(23.57, 24.36, 23.95, 23.37, 22.76, 21.98),
    fwhm_arcsec_B=_row(1.10, 1.04, 1.00, 0.96, 0.94, 0.92),
    dust_B=_row(4.145, 3.237, 2.273, 1.684, 1.323, 1.088),
    sky_mag_arcsec2_B=_row(23.05, 22.25, 21.20, 20.46, 19.61, 18.60),
    astrometric_jitter_arcsec=0.02,
)
SURVEYS = MappingProxyType({survey.name: survey for survey in (SDSS, ZTF, LSST)})


def survey_named(name: str) -> Survey:
    """Look a survey up.

    Raises
    ------
    ValueError
        When there is no such survey.
    """
    if name not in SURVEYS:
        raise ValueError(f"survey is {name!r}: choose one of {', '.join(SURVEYS)}")
    return SURVEYS[name]


def flux_njy(mag: NDArray | float) -> NDArray:
    """AB magnitude to nJy."""
    return 10 ** (0.4 * (AB_ZERO_POINT_NJY - np.asarray(mag, np.float64)))


def ab_mag(flux: NDArray | float) -> NDArray:
    """NJy to AB magnitude; NaN where the flux is not positive."""
    flux = np.asarray(flux, np.float64)
    return AB_ZERO_POINT_NJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
