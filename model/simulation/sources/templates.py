"""Spectra and passbands of a folder of spectral templates; an option, never needed. Knows no rates and no surveys.

The folder holds ``sako/S11_SDSS-*.SED`` (rows of phase, wavelength, flux), ``salt3-*.tar.gz`` with
``salt3_template_0.dat`` and ``_1.dat``, and ``bandpasses/{sdss,ztf,lsst}/*``, as their authors publish them.

References
----------
Sako et al. 2011 (ApJ 738, 162), spectra of core-collapse supernovae; Kenworthy et al. 2021 (ApJ 923, 265), SALT3.
"""

import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.identity import hash_of_files

LIGHT_A_PER_S = 2.99792458e18
LONGEST_NM = 2000.0  # passband tables that end below are in nm
TYPES = {  # candidate of the SDSS-II survey -> subtype
    "000018": "IIP",
    "001472": "IIP",
    "003818": "IIP",
    "014599": "IIP",
    "002000": "Ib",
    "002744": "Ib",
    "014492": "Ib",
    "013195": "Ic",
}
STANDS_FOR = {"IIP": "IIP", "IIL": "IIP", "IIb": "Ib", "Ib": "Ib", "Ic": "Ic"}  # IIn has no template
PASSBANDS = {
    "sdss": {band: f"sdss/sdss_{band}.dat" for band in "ugriz"},
    "ztf": {"g": "ztf/P48_g.dat", "r": "ztf/P48_R.dat", "i": "ztf/P48_I.dat"},
    "lsst": {band: f"lsst/total_{band}.dat" for band in BANDS},
}


class TemplatesError(ValueError):
    """A folder that does not hold what is needed; the message says which part."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """F_lambda, in any unit, against rest-frame phase (d) and wavelength (Angstrom)."""

    phase_P: NDArray[np.float64]
    wave_W: NDArray[np.float64]
    flux_PW: NDArray[np.float64]

    def seen(self, redshift: float, passbands: Mapping[str, tuple[NDArray, NDArray]]) -> NDArray[np.float64]:
        """Mean F_nu [P, B] through redshifted passbands, up to one factor; NaN for bands that are not given."""
        flux_PB = np.full((len(self.phase_P), len(BANDS)), np.nan)
        observed_W = self.wave_W * (1 + redshift)
        step_W = np.gradient(observed_W)
        for band, (wave_a, response) in passbands.items():
            weight_W = np.interp(observed_W, wave_a, response, left=0, right=0) * observed_W * step_W
            reference = float((weight_W * LIGHT_A_PER_S / observed_W**2).sum())
            if reference > 0:
                flux_PB[:, BANDS.index(band)] = np.maximum(self.flux_PW @ weight_W, 0) / reference
        return flux_PB


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """Everything that the folder holds."""

    core_collapse: Mapping[str, tuple[Spectra, ...]]  # subtype -> templates
    salt3: tuple[Spectra, Spectra]  # M0 and M1
    passbands: Mapping[str, Mapping[str, tuple[NDArray, NDArray]]]  # survey -> band -> wavelength (A), response


@lru_cache(maxsize=4)
def load_templates(folder: Path) -> Templates:
    """Read a folder of templates.

    Raises
    ------
    TemplatesError
        When the folder lacks a part, or a part cannot be read; the message says which.
    """
    if not folder.is_dir():
        raise TemplatesError(f"there is no templates folder {folder}")
    sako, archives = _sako(folder), _salt3(folder)
    for files, what in ((sako, "sako/S11_SDSS-*.SED"), (archives, "salt3-*.tar.gz")):
        if not files:
            raise TemplatesError(f"templates folder {folder} holds no {what}: give a folder that does, or none")
    core_collapse: dict[str, tuple[Spectra, ...]] = {}
    for path in sako:
        subtype = TYPES[_candidate(path)]
        core_collapse[subtype] = (*core_collapse.get(subtype, ()), _spectra(path.read_bytes(), str(path)))
    passbands = {
        survey: {band: _passband(folder / "bandpasses" / name) for band, name in names.items()}
        for survey, names in PASSBANDS.items()
    }
    return Templates(core_collapse, (read_salt3(archives[-1], 0), read_salt3(archives[-1], 1)), passbands)


def read_salt3(archive: Path, component: int) -> Spectra:
    """Read a component of a SALT3 release: 0 is the mean supernova, 1 what stretch adds to it.

    Raises
    ------
    TemplatesError
        When the archive does not hold it.
    """
    name = f"salt3_template_{component}.dat"
    try:
        with tarfile.open(archive) as tar:
            member = next((m for m in tar.getmembers() if m.isfile() and Path(m.name).name == name), None)
            stream = None if member is None else tar.extractfile(member)
            content = None if stream is None else stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as exc:
        raise TemplatesError(f"{archive} cannot be read: {exc}") from exc
    if content is None:
        raise TemplatesError(f"{archive} holds no {name}: give a release of SALT3")
    return _spectra(content, f"{archive}: {name}")


def hash_of_templates(folder: Path) -> str:
    """Short hash of the files that :func:`load_templates` reads.

    Raises
    ------
    TemplatesError
        As there.
    """
    load_templates(folder)
    passbands = {folder / "bandpasses" / name for names in PASSBANDS.values() for name in names.values()}
    return hash_of_files([*_sako(folder), _salt3(folder)[-1], *passbands], folder)


def _sako(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("sako/*.SED") if _candidate(path) in TYPES)


def _salt3(folder: Path) -> list[Path]:
    return sorted(folder.glob("salt3-*.tar.gz"))


def _candidate(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def _spectra(content: bytes, origin: str) -> Spectra:
    rows = _numbers(content, origin, columns=3)
    phase_P, wave_W = np.unique(rows[:, 0]), np.unique(rows[:, 1])
    if len(phase_P) < 2 or len(wave_W) < 2 or len(rows) != len(phase_P) * len(wave_W):
        raise TemplatesError(f"{origin} holds {len(rows)} rows, not one for each phase and wavelength")
    return Spectra(phase_P, wave_W, rows[:, 2].reshape(len(phase_P), len(wave_W)))


def _passband(path: Path) -> tuple[NDArray, NDArray]:
    if not path.is_file():
        raise TemplatesError(f"templates folder lacks the passband {path}: give a folder that has it, or none")
    table = _numbers(path.read_bytes(), str(path), columns=2)
    table = table[np.argsort(table[:, 0])]
    in_angstrom = table[:, 0] * (10 if table[-1, 0] < LONGEST_NM else 1)
    return in_angstrom, table[:, 1]


def _numbers(content: bytes, origin: str, columns: int) -> NDArray[np.float64]:
    try:
        table = np.loadtxt(io.StringIO(content.decode("utf-8")), ndmin=2) if content.strip() else np.empty((0, 0))
    except ValueError as exc:
        raise TemplatesError(f"{origin} is no table of numbers: {exc}") from exc
    if len(table) < 2 or table.shape[1] < columns or not np.isfinite(table).all():
        raise TemplatesError(f"{origin} is no table of {columns} columns of finite numbers")
    return table
