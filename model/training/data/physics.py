"""Physical quantities of simulated supernovae, from a data set's truth: redshift, peak luminosity, day of explosion.

References
----------
Conley et al. 2006, AJ 132, 1707; Firth et al. 2015, MNRAS 446, 3895: a type Ia rises in some 18.5 days.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.dataset import Dataset, DatasetError
from model.taxonomy import SUPERNOVAE

RISE_OF_SNIA_D = 18.5  # at rest, from explosion to maximum: truth tells of a type Ia's maximum
COLUMNS = ("redshift", "peak_b_abs_mag", "peak_r_abs_mag", "origin_mjd", "peak_day", "explosion_day")


@dataclass(frozen=True, slots=True)
class Physics:
    """Quantities of some objects, NaN where the object is no supernova or truth does not tell."""

    redshift_B: Tensor  # float32
    peak_abs_mag_B: Tensor  # float32, AB: B of type Ia, r of the others
    explosion_B: Tensor  # float32, days from the first frame of the series, as the loader shows it

    def select(self, index: Tensor) -> "Physics":
        """Those of some objects."""
        return Physics(self.redshift_B[index], self.peak_abs_mag_B[index], self.explosion_B[index])

    def to(self, device: torch.device) -> "Physics":
        return Physics(self.redshift_B.to(device), self.peak_abs_mag_B.to(device), self.explosion_B.to(device))


def physics_of(dataset: Dataset, rows: NDArray[np.int64], first_mjd_N: NDArray[np.float64]) -> Physics:
    """Quantities of the objects in these rows, whose series begin at these times.

    Raises
    ------
    DatasetError
        When the truth of this data set has no such columns.
    """
    truth = dataset.truth().take(rows)
    if missing := [name for name in COLUMNS if name not in truth.column_names]:
        raise DatasetError(
            f"{dataset.folder} does not tell {', '.join(missing)} of its objects: train with physics_weight 0, "
            "or on a simulated data set"
        )
    z, mag_b, mag_r, origin, peak, explosion = (
        truth[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in COLUMNS
    )
    is_supernova = np.isin(np.array(dataset.classes)[dataset.labels[rows]], SUPERNOVAE)
    day = np.where(np.isfinite(explosion), explosion, peak - RISE_OF_SNIA_D * (1 + z))
    magnitude = np.where(np.isfinite(mag_b), mag_b, mag_r)

    def of_supernovae(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.where(is_supernova, values, np.nan).astype(np.float32))

    return Physics(of_supernovae(z), of_supernovae(magnitude), of_supernovae(origin + day - first_mjd_N))
