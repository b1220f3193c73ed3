"""Scene of one object: host, neighbours, and how far off the stamp's centre it is."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from model.simulation.sky import hosts
from model.simulation.sky.intrinsic import IntrinsicObject
from model.simulation.sky_records import Galaxy, Scene
from model.simulation.surveys import Survey

Offset = tuple[float, float]
LARGEST_CENTROID_ERROR_ARCSEC = 0.5


def place(rng: Generator, drawn: IntrinsicObject, survey: Survey, latitude_deg: float) -> tuple[Scene, Offset]:
    """Put an object into its surroundings, which hold the more stars the nearer its Galactic latitude is to the plane.

    Returns
    -------
    Scene
        Positions in arcsec from the true position of the source.
    centre
        Where the stamps are centred, from the true position: the error of the measured centroid, the same for all
        classes. A host lies at the catalogue's separation from this *measured* position.
    """
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    error = hosts.CENTROID_ERROR_ARCSEC * rng.standard_normal(2)
    offset = drawn.entry.offset_arcsec
    if drawn.nuclear:
        centre = direction * min(offset, LARGEST_CENTROID_ERROR_ARCSEC) if drawn.entry.matched else error
        host_at = hosts.NUCLEAR_OFFSET_ARCSEC * rng.standard_normal(2)
    else:
        centre = error
        host_at = centre + offset * direction
    own: tuple[Galaxy, ...] = ()
    if drawn.host_mag_B is not None:
        entry, (x, y) = replace(drawn.entry, mag_B=drawn.host_mag_B), host_at
        if entry.shape is None:
            own = (hosts.draw_galaxy(rng, entry, max(drawn.redshift, 0.01), x, y),)
        else:
            own = (hosts.galaxy_of_shape(entry, entry.shape, angle, x, y),)
    galaxies, stars = hosts.draw_neighbours(rng, survey, latitude_deg)
    return Scene(own + galaxies, stars), (float(centre[0]), float(centre[1]))
