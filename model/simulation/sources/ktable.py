"""Colours of a type Ia supernova, apparent minus absolute, at any redshift, from the shipped table."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.surveys import Survey


@dataclass(frozen=True, slots=True, eq=False)
class KTable:
    """AB magnitude of the rest-frame f_nu relative to B at peak; phases in rest-frame days from B maximum."""

    row: dict[str, int]  # "survey_band" -> row of mag
    redshift_Z: NDArray[np.float64]
    phase_P: NDArray[np.float64]
    mag_RZP: NDArray[np.float32]

    def at(self, survey: Survey, redshift: float) -> NDArray[np.float64]:
        """Table [B, P] of one survey at one redshift (the last of the table beyond it), NaN for bands it lacks."""
        z = min(redshift, float(self.redshift_Z[-1]))
        i = int(np.clip(np.searchsorted(self.redshift_Z, z) - 1, 0, len(self.redshift_Z) - 2))
        weight = (z - self.redshift_Z[i]) / (self.redshift_Z[i + 1] - self.redshift_Z[i])
        table_BP = np.full((len(BANDS), len(self.phase_P)), np.nan)
        for b, band in enumerate(BANDS):
            if (row := self.row.get(f"{survey.name}_{band}")) is not None:
                table_BP[b] = (1 - weight) * self.mag_RZP[row, i] + weight * self.mag_RZP[row, i + 1]
        return table_BP


@lru_cache(maxsize=1)
def load_ktable() -> KTable:
    """Read the table that the package ships."""
    with (
        resources.as_file(resources.files("model.simulation.sources").joinpath("snia_ktable.npz")) as path,
        np.load(path, allow_pickle=False) as table,
    ):
        rows = {str(name): i for i, name in enumerate(table["bands"])}
        return KTable(rows, table["z"], table["phase"], table["mag"])
