"""The records between the simulator's rooms: what is drawn of one object before any pixel exists.

Legend: ``T`` single-band visits in time order, ``B`` the six bands of ``model.series.BANDS``.
Fluxes in nJy (AB magnitude = 31.4 - 2.5 log10 flux), offsets in arcsec from the *true* position of the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from numpy import float32, float64, int8
from numpy.typing import NDArray

from model.simulation.surveys import Survey
from model.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True, kw_only=True)
class SkySettings:
    """What all objects of one sky share, be they drawn for a data set or for a stream of alerts."""

    survey: Survey
    seed: int
    level: int = 4  # realism: see SimulatedObject
    templates: Path | None = None  # folder of spectra that supernovae are drawn from
    taxonomy: Taxonomy | None = None  # whose codes the truth gives; None: the package's


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one object comes into a sample."""

    sample: str = "spec"  # or "photo": fainter, with photometric labels, some of them wrong at level 4
    labelled_as: str | None = None  # the label that it got, where that is said; None: as its sample would give it
    population: Survey | None = None  # survey whose flux limit shapes the population; None: the object's own
    attempt: int | None = None  # exactly this attempt of the physics, which need not trigger; None: the first that does


@dataclass(frozen=True, slots=True)
class RedrawKey:
    """What of a row of truth names an object for good: under any survey it has the same physics."""

    drawn_class: str
    drawn_id: int
    mode: str
    sample: str
    population_survey: str
    attempt: int

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> "RedrawKey":
        """The key in a row of truth.

        Raises
        ------
        KeyError
            Naming what the row lacks.
        """
        return cls(**{field.name: truth[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class Schedule:
    """When, in which band and under which conditions one position was observed."""

    time_T: NDArray[float64]  # MJD (TAI)
    band_T: NDArray[int8]  # index in BANDS
    night_T: NDArray[int8 | float64]  # integer night, so that visits of one night can be grouped
    depth_T: NDArray[float32]  # 5-sigma point-source depth of the direct image, AB mag
    fwhm_T: NDArray[float32]  # arcsec
    zero_point_T: NDArray[float32]  # AB mag of 1 DN
    sky_T: NDArray[float32]  # residual or published background of the science stamp, nJy per pixel


@dataclass(frozen=True, slots=True)
class Galaxy:
    """A Sersic profile."""

    flux_B: NDArray[float32]  # nJy, total
    half_light_arcsec: float  # of the major axis
    sersic_index: float
    axis_ratio: float
    position_angle_rad: float  # from +x to +y
    x_arcsec: float
    y_arcsec: float


@dataclass(frozen=True, slots=True)
class Star:
    """A constant point source."""

    flux_B: NDArray[float32]  # nJy
    x_arcsec: float
    y_arcsec: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything in the stamp that does not vary. The host, if any, comes first among the galaxies."""

    galaxies: tuple[Galaxy, ...] = ()
    stars: tuple[Star, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatedObject:
    """One object of the simulated sky, ready to be drawn."""

    object_id: int
    seed: int
    survey: Survey
    label: str  # a class of model.taxonomy, in the label mode asked for
    schedule: Schedule
    flux_T: NDArray[float32]  # noise-free *total* flux of the varying source in the direct image, nJy (never negative)
    reference_flux_B: NDArray[float32]  # its flux in the template (AGN, variable stars; 0 for supernovae), nJy
    scene: Scene
    truth: Mapping[str, float | int | str]  # true class, subtype, redshift, peak time, host parameters ...
    centre_arcsec: tuple[float, float] = (0.0, 0.0)  # centre of the stamps from the true position: centroid error
    level: int = 4  # realism: 0 noise, 1 + seeing and depth, 2 + scene, 3 + artefacts and gaps, 4 + wrong labels

    @property
    def difference_flux_T(self) -> NDArray[float32]:  # noqa: N802 - shapes are suffixes
        """Noise-free flux in the difference image, nJy; negative below the template."""
        return self.flux_T - self.reference_flux_B[self.schedule.band_T]
