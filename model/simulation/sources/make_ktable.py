"""Maker of ``snia_ktable.npz`` from Hsiao's SN Ia spectra and public passbands; run once by hand.

Needs the ``templates`` extra (sncosmo, speclite, pyphot); all of them carry their data, so no network is used::

    python -m model.simulation.sources.make_ktable model/simulation/sources/snia_ktable.npz
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPEED_OF_LIGHT_A_PER_S = 2.99792458e18
PHASES_D = np.arange(-20.0, 86.0, 5.0)
REDSHIFTS = np.arange(0.0, 1.2001, 0.025)
SPECLITE_GROUPS = {"sdss": ("sdss2010", "ugriz"), "lsst": ("lsst2023", "ugrizy")}
PYPHOT_ZTF = {"g": "ZTF_g", "r": "ZTF_r", "i": "ZTF_i"}
FAINTEST_MAG = 60.0  # where the spectrum is empty


def read_passbands() -> dict[str, tuple[NDArray, NDArray]]:
    """Wavelength (Angstrom) and photon-counting transmission by ``survey_band``."""
    import pyphot  # noqa: PLC0415 - a development tool, not a dependency at run time
    import speclite.filters  # noqa: PLC0415

    passbands = {}
    for survey, (group, bands) in SPECLITE_GROUPS.items():
        for band in bands:
            response = speclite.filters.load_filter(f"{group}-{band}")
            passbands[f"{survey}_{band}"] = (np.asarray(response.wavelength), np.asarray(response.response))
    library = pyphot.get_library()
    for band, name in PYPHOT_ZTF.items():
        response = library[name]
        wavelength_a = np.asarray(response.wavelength.to("Angstrom").value)
        passbands[f"ztf_{band}"] = (wavelength_a, np.asarray(response.transmit))
    return passbands


def synthetic_mag(wavelength_a: NDArray, f_lambda: NDArray, passband: tuple[NDArray, NDArray]) -> float:
    """AB magnitude, up to one constant for all passbands, of a spectrum seen by a photon counter."""
    grid_a, transmission = passband
    weight = transmission * grid_a
    photons = np.trapezoid(np.interp(grid_a, wavelength_a, f_lambda, left=0, right=0) * weight, grid_a)
    reference = np.trapezoid(SPEED_OF_LIGHT_A_PER_S / grid_a**2 * weight, grid_a)
    return float(-2.5 * np.log10(photons / reference)) if photons > 0 else FAINTEST_MAG


def make_table() -> dict[str, NDArray]:
    """AB magnitudes of the rest-frame f_nu, relative to Bessell B at peak: ``mag[band, redshift, phase]``.

    References
    ----------
    Hsiao et al. 2007 (ApJ 663, 1187), the spectra, in the subsampled form that sncosmo bundles.
    """
    import sncosmo  # noqa: PLC0415

    source = sncosmo.get_source("hsiao-subsampled")
    bessell_b = sncosmo.get_bandpass("bessellb")
    rest_a = np.arange(max(source.minwave(), 1000.0), min(source.maxwave(), 25_000.0), 5.0)
    flux = {phase: source.flux(phase, rest_a) for phase in PHASES_D}
    zero = synthetic_mag(rest_a, flux[0.0], (bessell_b.wave, bessell_b.trans))
    passbands = read_passbands()
    mag = np.empty((len(passbands), len(REDSHIFTS), len(PHASES_D)), np.float32)
    pivot = np.empty(len(passbands))
    for b, (grid_a, transmission) in enumerate(passbands.values()):
        pivot[b] = np.sqrt(np.trapezoid(transmission * grid_a, grid_a) / np.trapezoid(transmission / grid_a, grid_a))
        for i, redshift in enumerate(REDSHIFTS):
            rest_passband = (grid_a / (1 + redshift), transmission)
            for p, phase in enumerate(PHASES_D):
                mag[b, i, p] = min(synthetic_mag(rest_a, flux[phase], rest_passband) - zero, FAINTEST_MAG)
    return {"bands": np.array(list(passbands)), "pivot": pivot, "z": REDSHIFTS, "phase": PHASES_D, "mag": mag}


def main() -> None:
    """Write the table to the path given as the only argument."""
    np.savez_compressed(Path(sys.argv[1]), **make_table())  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
