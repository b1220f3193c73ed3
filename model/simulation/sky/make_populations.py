"""Maker of ``populations.json`` from the public catalogue of SDSS-II supernova candidates; run once by hand.

For each class of the catalogue: quantiles of the host's r, colours, separation and of the redshift, and a Gaussian
mixture of their normal scores that holds how they depend on each other. Only these statistics are shipped::

    python -m model.simulation.sky.make_populations sdss_sn_candidates.fits.gz model/simulation/sky/populations.json

References
----------
Sako et al. 2018 (PASP 130, 064002), the catalogue.
"""

import json
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.mixture import GaussianMixture

TYPES = {  # population: codes of the catalogue, components of the mixture
    "AGN": ((110,), 5),
    "Variable": ((5,), 12),
    "SNIa_spec": ((118, 120), 3),
    "zSNIa": ((106,), 3),
    "pSNIa": ((103,), 3),
    "SNOther_spec": ((111, 112, 113, 114, 115), 1),
    "zSNII": ((104,), 3),
    "pSNII": ((101,), 5),
    "SNIbc": ((102, 105), 1),
}
WITH_REDSHIFT = ("AGN", "SNIa_spec", "zSNIa", "SNOther_spec", "zSNII")
COLUMNS = ("r", "u-g", "g-r", "r-i", "i-z", "log_offset", "redshift")
PERCENTILES = np.r_[0.2, 1, 2.5, 5:100:5, 97.5, 99, 99.8]
SMALLEST_OFFSET_ARCSEC = 0.005


def read_catalogue(path: Path) -> tuple[NDArray, NDArray, NDArray]:
    """Type, whether a host was found, and COLUMNS of every candidate (NaN where unknown)."""
    table = Table.read(path)
    u, g, r, i, z = (np.array(table[f"HOSTGAL_MAG_{band}"], float) for band in "ugriz")
    offset = np.maximum(np.array(table["HOSTGAL_SNSEP"], float), SMALLEST_OFFSET_ARCSEC)
    redshift = np.array(table["REDSHIFT_FINAL"], float)
    matched = (r > 0) & (r < 40) & (np.array(table["HOSTGAL_SNSEP"], float) >= 0)
    redshift[redshift <= 0] = np.nan
    columns = np.stack([r, u - g, g - r, r - i, i - z, np.log10(offset), redshift], axis=1)
    columns[~matched, :6] = np.nan
    return np.array(table["SNTYPE"]), matched, columns


def describe(matched_N: NDArray, values_ND: NDArray, components: int, with_redshift: bool) -> dict[str, object]:
    """Quantiles and mixture of one population."""
    columns = COLUMNS if with_redshift else COLUMNS[:-1]
    values_ND = values_ND[:, : len(columns)]
    whole_N = np.isfinite(values_ND).all(axis=1) & (np.abs(values_ND[:, 1:5]) < 6).all(axis=1)
    kept_ND = values_ND[whole_N]
    scores_ND = norm.ppf((rankdata(kept_ND, axis=0) - 0.5) / len(kept_ND))
    mixture = GaussianMixture(components, random_state=1, reg_covar=0.01, n_init=3).fit(scores_ND)
    quantiles = {}
    for d, column in enumerate(columns):
        known = values_ND[:, d][np.isfinite(values_ND[:, d])]
        quantiles[column] = [round(float(q), 4) for q in np.percentile(known, PERCENTILES)]
    return {
        "count": len(matched_N),
        "host_fraction": round(float(matched_N.mean()), 4),
        "quantiles": quantiles,
        "weights": np.round(mixture.weights_, 4).tolist(),
        "means": np.round(mixture.means_, 3).tolist(),
        "covariances": np.round(mixture.covariances_, 4).tolist(),
    }


def main() -> None:
    """Write the populations of the catalogue (first argument) to the second argument."""
    types, matched, columns = read_catalogue(Path(sys.argv[1]))
    populations = {}
    for name, (codes, components) in TYPES.items():
        rows = np.isin(types, codes)
        populations[name] = describe(matched[rows], columns[rows], components, name in WITH_REDSHIFT)
    text = json.dumps({"percentiles": PERCENTILES.tolist(), "populations": populations}, separators=(",", ":"))
    Path(sys.argv[2]).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
