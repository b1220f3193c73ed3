"""Stars that light up from nearly nothing: outbursts of dwarf novae, and novae here and in near galaxies.

References
----------
Dwarf novae: Otulakowska-Hypka, Olech & Patterson 2016 (MNRAS 460, 2526), amplitudes of 2 to 8 magnitudes, durations of
3 to 20 days, declines near 0.7 mag a day; Coppejans et al. 2016 (MNRAS 456, 4441), recurrence, and median quiescence at
magnitude 20 to 21; Szkody et al. 2020 (AJ 159, 198) and 2021 (AJ 162, 94), what ZTF sees of them: some 300 a year.
Novae: Strope, Schaefer & Henden 2010 (AJ 140, 34), shapes; Shafter 2017 (ApJ 834, 196), rates; Darnley et al. 2006
(MNRAS 369, 257), 65 a year in M31, at magnitudes of 15 to 19; Kawash et al. 2022 (ApJ 937, 64), 26 a year here; van den
Bergh & Younger 1987 (A&AS 70, 125), (B-V) of 0.23 at maximum.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.sources.spectra import planck_mag
from model.simulation.surveys import Survey, flux_njy

R = BANDS.index("r")
START_MAG = 5.0  # below its peak, where a rise begins
NOVA_QUIET_MAG = (8.0, 13.0)  # below the peak: no image shows it
LONGEST_MAG = 12.0  # of a decline: then it is over
QUIET_DAYS = 60.0  # before the window: reference images leave outbursts out, as outliers
NOVA_DAYS = 400.0  # before the window that a nova may have begun


@dataclass(frozen=True, slots=True, eq=False)
class Outbursts:
    """A faint star and hot light that comes and goes: a rise, a plateau, a decline, each in magnitudes."""

    subtype: str
    mag_B: NDArray[np.float64]  # quiescent
    start_days_E: NDArray[np.float64]
    peak_mag_E: NDArray[np.float64]  # r of the light that is added
    rise_days: float
    plateau_days_E: NDArray[np.float64]
    plateau_mag_per_day: float
    decline_mag_per_day: float
    decline_power: float  # 1: a straight line in magnitudes; less: slower and slower
    colour_B: NDArray[np.float64]  # of the added light, magnitudes less r's

    @property
    def truth(self) -> Mapping[str, float | int | str]:
        largest = float(self.mag_B[R] - self.peak_mag_E.min()) if len(self.peak_mag_E) else 0.0
        return {"eruptions": len(self.start_days_E), "largest_amplitude": largest}

    def flux(self, day_T: NDArray[np.float64], band_T: NDArray[np.integer], survey: Survey) -> NDArray[np.float64]:
        quiet_T = flux_njy(self.mag_B[band_T])
        if not len(self.start_days_E):
            return quiet_T
        last_T = np.searchsorted(self.start_days_E, day_T) - 1
        event_T = np.maximum(last_T, 0)
        since_T = np.where(last_T >= 0, day_T - self.start_days_E[event_T], 0.0)
        plateau_T = self.plateau_days_E[event_T]
        rising_T = START_MAG * np.clip(1 - since_T / self.rise_days, 0, 1)
        flat_T = self.plateau_mag_per_day * np.clip(since_T - self.rise_days, 0, plateau_T)
        after_T = np.maximum(since_T - self.rise_days - plateau_T, 0)
        falling_T = self.decline_mag_per_day * after_T**self.decline_power
        fainter_T = rising_T + flat_T + falling_T
        added_T = flux_njy(self.peak_mag_E[event_T] + self.colour_B[band_T] + fainter_T)
        return quiet_T + np.where((last_T >= 0) & (since_T > 0) & (fainter_T < LONGEST_MAG), added_T, 0.0)


def draw_dwarf_nova(rng: Generator, mag_B: NDArray, window_days: float) -> Outbursts:
    """Outbursts as often as every few weeks or years, over a disc that is hot in them."""
    recurrence = float(np.exp(rng.uniform(np.log(20), np.log(500))))
    begin = -QUIET_DAYS - recurrence
    count = int((window_days - begin) / recurrence * 1.5) + 3
    start_E = begin + np.cumsum(recurrence * rng.uniform(0.6, 1.4, count))
    amplitude = float(np.clip(rng.normal(4.0, 1.3), 2.0, 8.0))
    superoutburst_E = rng.random(count) < (0.2 if amplitude < 5 else 0.6)
    plateau_E = np.where(superoutburst_E, rng.uniform(8, 16, count), rng.uniform(1, 5, count))
    peak_E = mag_B[R] - amplitude + np.where(superoutburst_E, -0.3, 0.3) + 0.2 * rng.standard_normal(count)
    colour_B = _colour(rng.uniform(9_000, 16_000))
    rise, decline = rng.uniform(0.7, 2.0), rng.uniform(0.4, 1.0)
    return Outbursts("DwarfNova", mag_B, start_E, peak_E, rise, plateau_E, 0.1, decline, 1.0, colour_B)


def draw_nova(rng: Generator, mag_B: NDArray, window_days: float) -> Outbursts:
    """One eruption; ``mag_B`` is the light at maximum, dust included, and the star before it is not seen."""
    t2_days = float(np.clip(20 * np.exp(0.8 * rng.standard_normal()), 4, 150))
    start = float(rng.uniform(-min(NOVA_DAYS, 6 * t2_days), window_days - 1))
    power = float(rng.uniform(0.55, 0.85))
    quiet_B = mag_B + rng.uniform(*NOVA_QUIET_MAG)
    colour_B = mag_B - mag_B[R]
    rise, plateau = rng.uniform(0.5, 4.0), np.array([rng.uniform(0.0, 1.5)])
    peak_E = np.array([float(mag_B[R])])
    return Outbursts(
        "Nova", quiet_B, np.array([start]), peak_E, rise, plateau, 0.0, 2 / t2_days**power, power, colour_B
    )


def _colour(temperature_k: float) -> NDArray[np.float64]:
    """Magnitudes less r's of a black body in the six bands."""
    pivot_B = np.array([3716.0, 4787.0, 6208.0, 7549.0, 8674.0, 9746.0])
    mag_B = planck_mag(pivot_B, temperature_k)
    return np.asarray(mag_B - mag_B[R])
