"""What one object is in, where it lies in its stamp out: host, neighbours, and how far off the stamp's centre is."""

import numpy as np
from numpy.random import Generator

from model.simulation import hosts
from model.simulation.hosts import HostEntry
from model.simulation.physics import Drawn
from model.simulation.records import Galaxy, Scene
from model.simulation.surveys import Survey

Position = tuple[float, float]
LARGEST_CENTROID_ERROR_ARCSEC = 0.5


def place(rng: Generator, drawn: Drawn, survey: Survey) -> tuple[Scene, Position]:
    """Put an object into its surroundings.

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
        entry = HostEntry(True, drawn.host_mag_B, offset, drawn.redshift)
        own = (hosts.draw_galaxy(rng, entry, max(drawn.redshift, 0.01), float(host_at[0]), float(host_at[1])),)
    galaxies, stars = hosts.draw_neighbours(rng, survey)
    return Scene(own + galaxies, stars), (float(centre[0]), float(centre[1]))
