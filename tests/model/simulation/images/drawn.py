"""Small simulated objects made by hand, for tests that need no physics."""

import numpy as np

from model.simulation.sky_records import Galaxy, Scene, Schedule, SimulatedObject, Star
from model.simulation.surveys import survey_named

FLUX_B = np.full(6, 1e4, np.float32)
SCENE = Scene(
    (Galaxy(10 * FLUX_B, 3.0, 1.0, 0.6, 0.7, 0.5, -0.8), Galaxy(FLUX_B, 1.2, 4.0, 0.8, 0.2, -7.0, 6.0)),
    (Star(FLUX_B, 3.0, -9.0),),
)
DEPTH_MAG = {"sdss": 22.1, "ztf": 20.2, "lsst": 24.0}
FWHM_ARCSEC = {"sdss": 1.4, "ztf": 2.3, "lsst": 1.0}
ZERO_POINT_MAG = {"sdss": 28.2, "ztf": 26.2, "lsst": 31.4}


def an_object(survey="sdss", visits=40, flux=0.0, reference=0.0, scene=SCENE, seed=1, truth=None, sky=0.0):
    """An object of constant flux in g, r and i under varying seeing and depth."""
    rng = np.random.default_rng(seed)
    schedule = Schedule(
        np.sort(rng.uniform(53_600, 53_690, visits)),
        rng.integers(1, 4, visits).astype(np.int8),
        np.arange(visits, dtype=float),
        (DEPTH_MAG[survey] + 0.2 * rng.standard_normal(visits)).astype(np.float32),
        (FWHM_ARCSEC[survey] * np.exp(0.18 * rng.standard_normal(visits))).astype(np.float32),
        np.full(visits, ZERO_POINT_MAG[survey], np.float32),
        np.full(visits, sky, np.float32),
    )
    return SimulatedObject(
        1,
        seed,
        survey_named(survey),
        "AGN",
        schedule,
        np.full(visits, flux, np.float32),
        np.full(6, reference, np.float32),
        scene,
        truth or {},
    )
