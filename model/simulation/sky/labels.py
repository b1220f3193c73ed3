"""Labels and the kinds of sources behind them, by label mode. Knows no fluxes.

References
----------
Fractions measured on, or estimated from, the public catalogue of SDSS-II candidates (Sako et al. 2018); the project's
simulation notes say which. Where a label's true composition is an estimate it is marked so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from model.simulation.sources.transients import TRANSIENTS
from model.taxonomy import Taxonomy, load_taxonomy

MODES = ("physical", "sdss_label", "deconfounded")
CLASSES = ("AGN", "SNIa", "Variable", "SNOther")  # in the order of the taxonomy
SUBTYPES_OF_SNOTHER = ("SNII", "SNIbc", "SNIax", "SN91bg")
EXTENSIONS = (
    *TRANSIENTS,
    "uLens",
    "Bogus",
    "Asteroid",
    "RRLyrae",
    "Cepheid",
    "DeltaScuti",
    "EB",
    "LPV",
    "Flare",
    "DwarfNova",
)
SAMPLES = ("spec", "photo")

# What a photometric label of the pre-training set really is (estimates from offsets and colours of the hosts).
TRUTH_OF_PHOTOMETRIC_LABEL: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "pSNII": {"AGN": 0.69, "SNOther": 0.25, "SNIa": 0.02, "Variable": 0.04},
        "pSNIa": {"SNIa": 0.94, "SNOther": 0.05, "AGN": 0.01},
        "zSNIa": {"SNIa": 0.97, "SNOther": 0.03},
        "zSNII": {"SNOther": 0.97, "SNIa": 0.02, "AGN": 0.01},
        "SNIbc": {"SNOther": 0.96, "SNIa": 0.04},
    }
)
PHOTOMETRIC_PARTS: Mapping[str, Mapping[str, int]] = MappingProxyType(  # candidates of each photometric type
    {"SNIa": {"zSNIa": 824, "pSNIa": 624}, "SNOther": {"pSNII": 1628, "zSNII": 357, "SNIbc": 56}}
)
SPECTROSCOPIC_POPULATION: Mapping[str, str] = MappingProxyType(
    {"AGN": "AGN", "Variable": "Variable", "SNIa": "SNIa_spec", "SNOther": "SNOther_spec"}
)
SEASON_FRACTION: Mapping[str, tuple[float, float, float]] = MappingProxyType(  # 2005, 2006, 2007
    {
        "AGN": (0.542, 0.252, 0.206),
        "Variable": (0.723, 0.262, 0.015),
        "SNIa": (0.255, 0.391, 0.355),
        "SNOther": (0.191, 0.281, 0.528),
    }
)
EQUAL_SEASONS = (1 / 3, 1 / 3, 1 / 3)
RESIDUAL_BRIGHTER_THAN_R = 19.0  # "Variable" galaxies whose core only failed to subtract
QUASAR_SHARE_OF_FAINT_VARIABLES = 0.92  # of those with a catalogued host; the others are stars


NAME_OF_SUBTYPE: Mapping[str, str] = MappingProxyType(  # names of the taxonomy for those of the sources
    {
        "Ia": "SNIa",
        "91bg": "SN91bg",
        "Iax": "SNIax",
        "Ib": "SNIbc",
        "Ic": "SNIbc",
        "QSO": "AGN",
        "Blazar": "AGN",
        "Residual": "Bogus",
    }
    | dict.fromkeys(("IIP", "IIL", "IIn", "IIb"), "SNII")
    | dict.fromkeys(("RRab", "RRc"), "RRLyrae")
    | dict.fromkeys(("Rotator", "YSO", "Be", "Symbiotic", "Nova"), "Variable")  # the taxonomy has no name for them
)


@dataclass(frozen=True, slots=True)
class Composition:
    """What to draw for a label."""

    true_class: str
    population: str  # key of the host populations


def check_request(label: str, mode: str, sample: str) -> None:
    """Refuse what cannot be drawn.

    Raises
    ------
    ValueError
        When the class, the mode or the sample is unknown.
    """
    if label not in (*CLASSES, *SUBTYPES_OF_SNOTHER, *EXTENSIONS):
        allowed = ", ".join((*CLASSES, *SUBTYPES_OF_SNOTHER, *EXTENSIONS))
        raise ValueError(f"class is {label!r}: choose one of {allowed}")
    if mode not in MODES:
        raise ValueError(f"label mode is {mode!r}: choose one of {', '.join(MODES)}")
    if sample not in SAMPLES:
        raise ValueError(f"sample is {sample!r}: choose one of {', '.join(SAMPLES)}")


@lru_cache(maxsize=1)
def _taxonomy() -> Taxonomy:
    return load_taxonomy()


def elasticc_code(subtype: str) -> int:
    """Code of a source's subtype in the ELAsTiCC taxonomy."""
    return _taxonomy().codes[NAME_OF_SUBTYPE.get(subtype, subtype)]


def code_in(taxonomy: Taxonomy, subtype: str, true_class: str) -> int:
    """Code that a taxonomy of one's own gives a source: of its subtype, else of its class, else "not classified"."""
    name = NAME_OF_SUBTYPE.get(subtype, subtype)
    return taxonomy.codes.get(name, taxonomy.codes.get(true_class, taxonomy.not_classified_code))


def compose(rng: Generator, label: str, mode: str, sample: str, wrong_labels: bool) -> Composition:
    """Decide the true class and the population behind a label.

    Only the photometric sample of ``sdss_label`` and ``physical`` holds wrong labels, and only if they are wanted.
    """
    if label not in CLASSES:
        return Composition(label, "SNIa_spec" if mode == "deconfounded" else SPECTROSCOPIC_POPULATION["SNOther"])
    if mode == "deconfounded":
        return Composition(label, "SNIa_spec")  # one pool of hosts for all classes
    parts = PHOTOMETRIC_PARTS.get(label) if sample == "photo" else None
    if parts is None:
        return Composition(label, SPECTROSCOPIC_POPULATION[label])
    part = _pick(rng, parts)
    return Composition(_pick(rng, TRUTH_OF_PHOTOMETRIC_LABEL[part]) if wrong_labels else label, part)


def season(rng: Generator, label: str, mode: str) -> int:
    """Which of the three autumns: like the real sample in ``sdss_label``, otherwise independent of class."""
    fractions = SEASON_FRACTION.get(label, EQUAL_SEASONS) if mode == "sdss_label" else EQUAL_SEASONS
    return int(np.searchsorted(np.cumsum(fractions), rng.random() * sum(fractions)))


def kind_of_variable(rng: Generator, mode: str, matched: bool, r_mag: float) -> str:
    """What hides behind "Variable": a star, or in the SDSS labels mostly a quasar or a badly subtracted galaxy."""
    if mode != "sdss_label":
        return "Star"
    if not matched:
        return "Star"
    if r_mag < RESIDUAL_BRIGHTER_THAN_R:
        return "Residual"
    return "AGN" if rng.random() < QUASAR_SHARE_OF_FAINT_VARIABLES else "Star"


def _pick(rng: Generator, weights: Mapping[str, float]) -> str:
    cumulative = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(cumulative, rng.random() * cumulative[-1]))]
