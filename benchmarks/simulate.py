"""Images and objects a second of our renderer and of GalSim, on one thread.

Run: ``python -m benchmarks.simulate``. An object is 100 single-band 64x64 SDSS images of one scene: a host of two
profiles' worth of Gaussians, one neighbouring galaxy, a star, the varying source. The goal is 0.05 s on one core.
"""

import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.parser import parser_of
from model.simulation.images import noise_free, profiles
from model.simulation.images import render as products
from model.simulation.sky_records import Galaxy, Scene, Schedule, SimulatedObject, Star
from model.simulation.survey import psf
from model.simulation.survey.cameras import CAMERAS
from model.simulation.surveys import SDSS

VISITS, SIZE_PX, GOAL_S = 100, 64, 0.05
GALSIM_IMAGES = 20


def an_object() -> SimulatedObject:
    rng = np.random.default_rng(1)
    band_T = rng.integers(0, 5, VISITS)
    schedule = Schedule(
        np.arange(VISITS, dtype=float),
        band_T.astype(np.int8),
        np.arange(VISITS, dtype=float),
        SDSS.depth_mag_B[band_T].astype(np.float32),
        (SDSS.fwhm_arcsec_B[band_T] * np.exp(0.18 * rng.standard_normal(VISITS))).astype(np.float32),
        SDSS.zero_point_mag_B[band_T].astype(np.float32),
        np.zeros(VISITS, np.float32),
    )
    flux_B = np.full(6, 1e4, np.float32)
    host = Galaxy(10 * flux_B, 3.0, 1.0, 0.6, 0.7, 0.5, -0.8)
    neighbour = Galaxy(flux_B, 1.2, 4.0, 0.8, 0.2, -7.0, 6.0)
    scene = Scene((host, neighbour), (Star(flux_B, 3.0, -9.0),))
    flux_T = np.full(VISITS, 2e4, np.float32)
    return SimulatedObject(1, 1, SDSS, "SNIa", schedule, flux_T, np.zeros(6, np.float32), scene, {})


def parts_of(obj: SimulatedObject) -> tuple[profiles.Gaussians, profiles.Points]:
    """The parts of the images of an object."""
    band_N, fwhm_N, flux_N = obj.schedule.band_T.astype(int), obj.schedule.fwhm_T, obj.flux_T
    x_N, y_N = np.random.default_rng(2).uniform(-0.5, 0.5, (len(band_N), 2)).T
    shape, seeing = CAMERAS["sdss"].psf, (float(fwhm_N.min()), float(fwhm_N.max()))
    return profiles.of_scene(
        obj.scene, flux_N, profiles.Exposures(band_N, fwhm_N, x_N, y_N, shape, SDSS.pixel_arcsec, seeing)
    )


def best_time(work: Callable[[], object], repeats: int) -> float:
    """Seconds of one core in the fastest run: of processor time, so that a busy machine counts less."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def report(name: str, seconds: float, images: int) -> None:
    per_object = seconds * VISITS / images
    print(f"{name:42} {images / seconds:12,.0f} images/s {1 / per_object:10,.1f} objects/s {per_object:9.4f} s/object")


def with_galsim(obj: SimulatedObject) -> float | None:
    """Seconds for one image of the same scene."""
    try:
        import galsim  # noqa: PLC0415 - only there for tests
    except ImportError:
        return None
    shape = CAMERAS["sdss"].psf
    core, wing = np.sqrt(psf.variances(np.array(1.4), shape))
    spread = shape.weights[0] * galsim.Gaussian(sigma=core) + shape.weights[1] * galsim.Gaussian(sigma=wing)
    parts = [galsim.DeltaFunction(flux=2e4), galsim.DeltaFunction(flux=1e4).shift(3.0, -9.0)]
    for galaxy in obj.scene.galaxies:
        profile = galsim.Sersic(galaxy.sersic_index, half_light_radius=galaxy.half_light_arcsec, flux=1e4)
        profile = profile.shear(q=galaxy.axis_ratio, beta=galaxy.position_angle_rad * galsim.radians)
        parts.append(profile.shift(galaxy.x_arcsec, galaxy.y_arcsec))

    def draw() -> None:
        for part in parts:
            galsim.Convolve(part, spread).drawImage(nx=SIZE_PX, ny=SIZE_PX, scale=SDSS.pixel_arcsec)

    return best_time(draw, GALSIM_IMAGES)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    obj = an_object()
    parts = parts_of(obj)

    def whole() -> None:
        products.render(obj, SIZE_PX, ("science",), np.arange(VISITS), 4, np.random.default_rng(0))

    print(
        f"{VISITS} images of {SIZE_PX}x{SIZE_PX} pixels per object, {parts[0].flux_NK.shape[1]} Gaussians; "
        "CPU seconds of one thread"
    )
    seconds = best_time(whole, repeats)
    report("numpy, products with noise and artefacts", seconds, VISITS)
    verdict = "met" if seconds <= GOAL_S else "MISSED"
    print(f"{'':42} goal: at most {GOAL_S} s/object: {verdict}")
    report("numpy, noise-free", best_time(lambda: noise_free.render_images(*parts_of(obj), SIZE_PX), repeats), VISITS)
    per_image = with_galsim(obj)
    if per_image is None:
        print(f"{'GalSim':42} not installed: not measured")
    else:
        report("GalSim, noise-free", per_image * VISITS, VISITS)


if __name__ == "__main__":
    main()
