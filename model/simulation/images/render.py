"""Calibrated stamps of a simulated object, as a survey would deliver them. Knows no file format.

Legend: ``T`` all visits of the object, ``N`` those asked for, ``C`` channels, ``H W`` pixels.
SDSS: one direct, sky-subtracted image. ZTF and LSST: science, template and difference on one pixel grid.
The pixels of a visit depend on the object, the state of ``rng`` and the number of the visit alone, not on which other
visits or channels are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.images import artefacts, noise, profiles, subtraction
from model.simulation.images.noise_free import render_images
from model.simulation.sky_records import Scene, Schedule, SimulatedObject, Star
from model.simulation.survey import psf, selection
from model.simulation.survey.cameras import CAMERAS, electrons_per_njy
from model.simulation.surveys import ZTF_READ_VARIANCE_DN2, flux_njy

DRAW_CHUNK = 128  # visits drawn at once: bounds memory whatever the length of the series
LEVELS = range(5)
LEVEL_OF_CONDITIONS, LEVEL_OF_SCENES, LEVEL_OF_ARTEFACTS = 1, 2, 3
BAD_SUBTRACTIONS = ("dipole", "subtraction_residual")
DIPOLE_FWHM = (0.5, 1.2)  # between the two poles
INVISIBLE = 0.1  # of a template's noise, under the worst seeing
TILT_PX = 63  # pixels across which a tilt is quoted
LARGEST_ELONGATION = 0.9  # of the core's sigma
LEAST_RESPONSE = 0.05  # of a PSF fit to an artefact: keeps one that the fit hardly sees from growing without bound


@dataclass(frozen=True, slots=True)
class VisitStamps:
    """Stamps of some visits, and what their makers would know of them."""

    pixels_NCHW: NDArray[np.float32]  # nJy per pixel, NaN where there is no measurement
    sigma_NC: NDArray[np.float32]  # standard deviation of a background pixel, nJy
    fwhm_NC: NDArray[np.float32]  # arcsec
    x_N: NDArray[np.float32]  # where the source truly is, pixels from the central pixel
    y_N: NDArray[np.float32]
    catalogue_x_N: NDArray[np.float32]  # where the survey believes it is: registration and centroid errors apart
    catalogue_y_N: NDArray[np.float32]
    background_N: NDArray[np.float32]  # published level that is still in the science stamp, nJy per pixel
    electrons_per_njy_N: NDArray[np.float32]
    window_N4: NDArray[np.int16]  # rows from:to and columns from:to that lie on the detector; NaN outside


def render(
    obj: SimulatedObject,
    size_px: int,
    channels: Sequence[str],
    frames: NDArray,
    level: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw stamps; see `render_frames`.

    Returns
    -------
    pixels_NCHW : nJy per pixel, NaN masked.
    """
    return render_frames(obj, size_px, channels, frames, level, rng).pixels_NCHW


def render_frames(
    obj: SimulatedObject,
    size_px: int,
    channels: Sequence[str],
    frames: NDArray,
    level: int,
    rng: np.random.Generator,
) -> VisitStamps:
    """Draw stamps of some visits of an object.

    Parameters
    ----------
    size_px
        Rows and columns; the source lies near pixel ``size_px // 2``.
    channels
        Of ``science``, ``template``, ``difference``, in the order wanted.
    frames
        Indices of visits, or a mask of length T (True = draw).
    level
        Realism: 0 noise only, under the median seeing and depth; 1 real seeing and depth; 2 hosts and neighbours;
        3 artefacts and missing pixels; 4 the same pixels (labels become noisy elsewhere).

    Raises
    ------
    ValueError
        Unknown survey, channel or level.
    """
    products = obj.survey.products
    if unknown := set(channels) - set(products):
        raise ValueError(f"{obj.survey.name} has no channel {sorted(unknown)}: only {', '.join(products)}")
    if level not in LEVELS:
        raise ValueError(f"realism level {level} is not one of 0 to 4")
    visits = np.flatnonzero(frames) if np.asarray(frames).dtype == bool else np.asarray(frames, np.int64)
    sky = _Sky(obj, size_px, level, rng)
    parts = [_draw_visits(sky, visits[i : i + DRAW_CHUNK], channels) for i in range(0, max(len(visits), 1), DRAW_CHUNK)]
    return VisitStamps(*(np.concatenate([getattr(part, name) for part in parts]) for name in VisitStamps.__slots__))


class _Sky:
    """What all visits of one object share: its scene, its conditions, its templates and its random numbers."""

    def __init__(self, obj: SimulatedObject, size_px: int, level: int, rng: np.random.Generator) -> None:
        self.obj, self.size_px, self.level = obj, size_px, level
        self.survey, self.camera = obj.survey, CAMERAS[obj.survey.name]
        camera, pixel_arcsec = self.camera, self.survey.pixel_arcsec
        self.seed = int(rng.integers(1 << 63))
        own = np.random.default_rng([self.seed, 0])
        self.scene = obj.scene if level >= LEVEL_OF_SCENES else Scene()
        self.schedule = obj.schedule if level >= LEVEL_OF_CONDITIONS else _constant_conditions(obj.schedule)
        self.electrons_T = electrons_per_njy(self.survey.gain_B, self.schedule.band_T, self.schedule.zero_point_T)
        bands = np.arange(len(obj.reference_flux_B))
        deeper_B = own.normal(*camera.template_gain_mag, len(bands))
        wider_B = camera.template_fwhm[0] * np.exp(own.normal(0, camera.template_fwhm[1], len(bands)))
        self.template_fwhm_B, self.template_sigma_B = np.ones(len(bands)), np.zeros(len(bands), np.float32)
        self.template_noise: dict[int, noise.CoaddNoise] = {}
        self._tilt_by_band: dict[int, NDArray[np.float32] | float] = {}
        for band in np.unique(self.schedule.band_T):
            of_band = self.schedule.band_T == band
            self.template_fwhm_B[band] = wider_B[band] * np.median(self.schedule.fwhm_T[of_band])
            fwhm = np.median(self.schedule.fwhm_T[of_band])
            depth = np.median(self.schedule.depth_T[of_band]) + camera.limit_margin_mag(fwhm) + deeper_B[band]
            fwhm_px = self.template_fwhm_B[band] / pixel_arcsec
            self.template_sigma_B[band] = noise.background_sigma(depth, fwhm_px, camera.psf)
            if camera.template_visits is not None and np.median(self.schedule.sky_T[of_band]) > 0:
                self.template_sigma_B[band] = self._coadded_sigma(int(band), deeper_B[band])
            self.template_noise[int(band)] = noise.CoaddNoise(
                np.random.default_rng([self.seed, 1, int(band)]),
                size_px,
                float(self.template_sigma_B[band]),
                camera.template_frames,
            )

        self.artefact = str(obj.truth.get("artefact", ""))
        self.spoiled_T = selection.artefact_visits(obj)
        self.saturation = float(flux_njy(camera.saturation_mag))
        every = np.concatenate([self.schedule.fwhm_T, self.template_fwhm_B[self.schedule.band_T]])
        self.seeing = float(every.min()), float(every.max())
        if camera.psf.halo is not None:
            self.scene = replace(self.scene, stars=self._stars_in_reach())

    def _stars_in_reach(self) -> tuple[Star, ...]:
        """Crowded fields are larger than small stamps: without stars whose light outside never shows inside."""
        pixel_arcsec = self.survey.pixel_arcsec
        variance_P = psf.variances(np.array(self.seeing[1] / pixel_arcsec), self.camera.psf)
        height_P = np.array(self.camera.psf.weights) / (2 * np.pi * variance_P)
        invisible = INVISIBLE * float(self.template_sigma_B[self.schedule.band_T].min(initial=np.inf))
        half = self.size_px / 2 + profiles.LARGEST_SHIFT_PX
        in_reach = []
        for star in self.scene.stars:
            outside = np.array([abs(star.x_arcsec), abs(star.y_arcsec)]) / pixel_arcsec - half
            squared = float((np.maximum(outside, 0) ** 2).sum())
            shows = float(np.nanmax(star.flux_B)) * float((height_P * np.exp(-squared / 2 / variance_P)).sum())
            if squared == 0 or shows > invisible:
                in_reach.append(star)
        return tuple(in_reach)

    def elongations(
        self, visits_N: NDArray, band_N: NDArray, fwhm_px_N: NDArray, template_fwhm_px_N: NDArray
    ) -> tuple[NDArray | None, NDArray | None]:
        """Elongation of the PSF in science images and templates, pixels; None where it is round."""
        if self.level < LEVEL_OF_ARTEFACTS or not any(self.camera.elongation):
            return None, None
        *medians, scatter = self.camera.elongation
        of_visits = [np.random.default_rng([self.seed, 6, int(visit)]) for visit in visits_N]
        of_bands = [np.random.default_rng([self.seed, 7, int(band)]) for band in band_N]
        elongations = []
        for median, fwhm_N, generators in zip(
            medians, (fwhm_px_N, template_fwhm_px_N), (of_visits, of_bands), strict=True
        ):
            drawn_N2 = np.array([[g.standard_normal(), g.uniform(0, np.pi)] for g in generators]).reshape(-1, 2)
            length_N = np.minimum(median * np.exp(scatter * drawn_N2[:, 0]), LARGEST_ELONGATION)
            length_N = length_N * np.sqrt(psf.variances(fwhm_N, self.camera.psf)[:, 0])
            elongations.append(length_N[:, None] * np.stack([np.cos(drawn_N2[:, 1]), np.sin(drawn_N2[:, 1])], axis=1))
        return elongations[0], elongations[1]

    def _coadded_sigma(self, band: int, drawn: float) -> float:
        """Noise of a template from the photons of its sky; nJy."""
        assert self.camera.template_visits is not None
        of_band = self.schedule.band_T == band
        one_dn = flux_njy(float(np.median(self.schedule.zero_point_T[of_band])))
        sky_dn = float(np.median(self.schedule.sky_T[of_band])) / one_dn
        mean, sd = self.camera.template_gain_mag
        median_B, scatter = self.camera.template_visits
        visits = median_B[BANDS[band]] * np.exp(scatter * (drawn - mean) / sd)
        return float(one_dn * np.sqrt((sky_dn / self.survey.gain_B[band] + ZTF_READ_VARIANCE_DN2) / visits))

    def tilt(self, band: int) -> NDArray[np.float32] | float:
        """Slope of the background, the same in all images of a band: differences do not show it."""
        if band not in self._tilt_by_band:
            self._tilt_by_band[band] = self._draw_tilt(band)
        return self._tilt_by_band[band]

    def _draw_tilt(self, band: int) -> NDArray[np.float32] | float:
        if self.level < LEVEL_OF_ARTEFACTS or self.camera.template_tilt is None:
            return 0.0
        axis = np.arange(self.size_px) - self.size_px // 2
        rng = np.random.default_rng([self.seed, 8, band])
        median, scatter, stars = self.camera.template_tilt
        strength = median * np.exp(scatter * rng.standard_normal()) * (1 + len(self.scene.stars) / stars)
        x, y = rng.normal(0, strength / TILT_PX, 2)
        return np.asarray(self.template_sigma_B[band] * (x * axis + y * axis[:, None]), np.float32)

    def spoil_template(self, template_HW: NDArray[np.float32], light_HW: NDArray[np.float32], band: int) -> None:
        """Flaws that a template shows at every visit, in place."""
        if self.level >= LEVEL_OF_ARTEFACTS:
            flaws = artefacts.FLAWS[self.survey.name]
            artefacts.lose_core_pixel(template_HW, light_HW, flaws, np.random.default_rng([self.seed, 9, band]))

    # Separate streams: noise, residuals and flaws of a visit do not depend on each other or on the channels drawn.
    def of_visit(self, visit: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 2, visit])

    def of_residual(self, visit: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 3, visit])

    def of_bogus(self, visit: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 5, visit])

    def of_flaws(self, visit: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 4, visit])


def _constant_conditions(schedule: Schedule) -> Schedule:
    """The schedule with every visit under its band's median seeing and depth."""
    fwhm_T, depth_T = schedule.fwhm_T.copy(), schedule.depth_T.copy()
    for band in np.unique(schedule.band_T):
        of_band = schedule.band_T == band
        fwhm_T[of_band], depth_T[of_band] = np.median(fwhm_T[of_band]), np.median(depth_T[of_band])
    return replace(schedule, fwhm_T=fwhm_T, depth_T=depth_T, sky_T=np.zeros_like(schedule.sky_T))


@dataclass(frozen=True, slots=True)
class _Conditions:
    """Under which N visits are drawn: places, seeing and noise; elongations are None where PSFs are round."""

    visits_N: NDArray[np.int64]
    band_N: NDArray[np.int64]
    cut_N2: NDArray[np.float64]  # x, y of the stamp's cut within a pixel
    x_N: NDArray[np.float64]  # of the source, pixels from the central one
    y_N: NDArray[np.float64]
    fwhm_N: NDArray[np.float32]  # arcsec
    fwhm_px_N: NDArray[np.float32]
    template_fwhm_N: NDArray[np.float64]  # arcsec
    sigma_N: NDArray[np.float32]  # nJy per pixel, of the science image
    longer_N2: NDArray[np.float64] | None  # pixels
    template_longer_N2: NDArray[np.float64] | None

    @classmethod
    def of(cls, sky: _Sky, visits_N: NDArray[np.int64], generators: Sequence[np.random.Generator]) -> "_Conditions":
        camera, pixel_arcsec = sky.camera, sky.survey.pixel_arcsec
        jitter_px = sky.survey.astrometric_jitter_arcsec / pixel_arcsec
        # A stamp is cut at whole pixels of an image whose astrometry is a little wrong.
        cut_N2 = np.array([g.uniform(-0.5, 0.5, 2) for g in generators]).reshape(-1, 2)
        wrong_N2 = np.array([g.normal(0, jitter_px, 2) for g in generators]).reshape(-1, 2)
        x_N, y_N = (cut_N2 + wrong_N2 - np.array(sky.obj.centre_arcsec) / pixel_arcsec).T
        band_N = sky.schedule.band_T[visits_N].astype(np.int64)
        fwhm_N, template_fwhm_N = sky.schedule.fwhm_T[visits_N], sky.template_fwhm_B[band_N]
        fwhm_px_N = fwhm_N / pixel_arcsec
        depth_N = sky.schedule.depth_T[visits_N] + camera.limit_margin_mag(fwhm_N)
        sigma_N = noise.background_sigma(depth_N, fwhm_px_N, camera.psf)
        longer = sky.elongations(visits_N, band_N, fwhm_px_N, template_fwhm_N / pixel_arcsec)
        return cls(visits_N, band_N, cut_N2, x_N, y_N, fwhm_N, fwhm_px_N, template_fwhm_N, sigma_N, *longer)

    def psfs(self, n: int, pixel_arcsec: float) -> tuple[subtraction.Psf, subtraction.Psf]:
        """FWHM in pixels and elongation, of a visit's science image and of its template."""
        longer, template_longer = (None if of is None else of[n] for of in (self.longer_N2, self.template_longer_N2))
        template_fwhm_px = float(self.template_fwhm_N[n] / pixel_arcsec)
        return (float(self.fwhm_px_N[n]), longer), (template_fwhm_px, template_longer)


@dataclass(frozen=True, slots=True)
class _Light:
    """Noise-free images [N, H, W] of N visits, nJy per pixel."""

    flux_N: NDArray[np.float32]  # of the source; nJy
    reference_N: NDArray[np.float32]  # of the source in the template; nJy
    static_NHW: NDArray[np.float32]
    point_NHW: NDArray[np.float32]  # a source of 1 nJy
    template_NHW: NDArray[np.float32] | None  # None: nobody asks for templates

    @classmethod
    def of(cls, sky: _Sky, visits: _Conditions, with_template: bool) -> "_Light":
        def images(scene: Scene, flux_N: NDArray | None, fwhm: NDArray, longer: NDArray | None) -> NDArray[np.float32]:
            shape, pixel_arcsec = sky.camera.psf, sky.survey.pixel_arcsec
            place = visits.band_N, fwhm, visits.x_N, visits.y_N
            return render_images(
                *profiles.of_scene(scene, flux_N, profiles.Exposures(*place, shape, pixel_arcsec, sky.seeing, longer)),
                sky.size_px,
            )

        flux_N, reference_N = sky.obj.flux_T[visits.visits_N], sky.obj.reference_flux_B[visits.band_N]
        static_NHW = images(sky.scene, None, visits.fwhm_N, visits.longer_N2)
        point_NHW = images(Scene(), np.ones(len(flux_N)), visits.fwhm_N, visits.longer_N2)
        template_NHW = None
        if with_template:
            template_NHW = images(sky.scene, reference_N, visits.template_fwhm_N, visits.template_longer_N2)
        return cls(flux_N, reference_N, static_NHW, point_NHW, template_NHW)

    def science(self, n: int) -> NDArray[np.float32]:
        """Everything at a visit."""
        return self.static_NHW[n] + np.float32(self.flux_N[n]) * self.point_NHW[n]

    def constant(self, n: int) -> NDArray[np.float32]:
        """What a visit shares with its template."""
        return self.static_NHW[n] + np.float32(self.reference_N[n]) * self.point_NHW[n]

    def change(self, n: int) -> NDArray[np.float32]:
        """What a visit has over its template."""
        return np.float32(self.flux_N[n] - self.reference_N[n]) * self.point_NHW[n]


def _draw_visits(sky: _Sky, visits_N: NDArray[np.int64], channels: Sequence[str]) -> VisitStamps:
    generators = [sky.of_visit(int(visit)) for visit in visits_N]
    # 1. conditions, 2. light without noise
    visits = _Conditions.of(sky, visits_N, generators)
    light = _Light.of(sky, visits, "template" in channels)
    size, flawed = sky.size_px, sky.level >= LEVEL_OF_ARTEFACTS
    pixels_NCHW = np.empty((len(visits_N), len(channels), size, size), np.float32)
    window_N4 = np.tile(np.array([0, size, 0, size], np.int16), (len(visits_N), 1))
    for n, rng in enumerate(generators):
        # 3. noise of the visit, 4. its products, 5. what is wrong with them
        signal_HW = light.science(n)
        noise_HW = _science_noise(sky, visits, n, signal_HW, rng)
        coadd_HW = _template_noise(sky, visits, n) if any(channel != "science" for channel in channels) else None
        for c, channel in enumerate(channels):
            pixels_NCHW[n, c] = _product(sky, visits, light, n, channel, signal_HW, noise_HW, coadd_HW)
        if sky.artefact and sky.spoiled_T[visits_N[n]]:
            place = visits.x_N[n], visits.y_N[n]
            _add_bogus(sky, pixels_NCHW[n], channels, visits_N[n], place, visits.fwhm_px_N[n], visits.sigma_N[n])
        if flawed:
            window_N4[n] = _add_flaws(sky, visits, n, signal_HW, pixels_NCHW[n], channels)
    return _with_conditions(sky, visits, channels, pixels_NCHW, window_N4)


def _science_noise(
    sky: _Sky, visits: _Conditions, n: int, signal_HW: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    noise_HW = rng.standard_normal((sky.size_px, sky.size_px), np.float32)
    if sky.level >= LEVEL_OF_ARTEFACTS:
        noise_HW = artefacts.read_out(noise_HW, artefacts.FLAWS[sky.survey.name], rng)
    noise_HW *= noise.add_source_noise(visits.sigma_N[n], signal_HW, sky.electrons_T[visits.visits_N[n]])
    return noise_HW


def _template_noise(sky: _Sky, visits: _Conditions, n: int) -> NDArray[np.float32]:
    """Noise of the template on the grid of a visit: the template and the difference share it."""
    return sky.template_noise[int(visits.band_N[n])].resampled(visits.x_N[n] % 1, visits.y_N[n] % 1)


def _product(
    sky: _Sky,
    visits: _Conditions,
    light: _Light,
    n: int,
    channel: str,
    signal_HW: NDArray[np.float32],
    noise_HW: NDArray[np.float32],
    coadd_HW: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """One image of a visit: science, template or difference; ``coadd_HW`` may be missing for the first alone."""
    visit, band = visits.visits_N[n], int(visits.band_N[n])
    background = sky.schedule.sky_T[visit]
    if channel == "science":
        return signal_HW + noise_HW + background + sky.tilt(band)
    assert coadd_HW is not None
    if channel == "template":
        assert light.template_NHW is not None
        template_HW = light.template_NHW[n] + coadd_HW + sky.tilt(band)
        template_HW += background if sky.camera.template_has_sky else 0
        sky.spoil_template(template_HW, light.template_NHW[n], band)
        return template_HW
    constant_HW, rng = light.constant(n), sky.of_residual(visit)
    residual_HW = subtraction.residual(constant_HW, float(visits.fwhm_px_N[n]), sky.camera, rng)
    residual_HW += light.change(n)
    return subtraction.subtract(
        noise_HW,
        coadd_HW,
        residual_HW,
        subtraction.noise_ratio(constant_HW, float(visits.sigma_N[n]), float(sky.template_sigma_B[band])),
        visits.psfs(n, sky.survey.pixel_arcsec),
        sky.camera,
        rng if sky.level >= LEVEL_OF_ARTEFACTS else None,
    )


def _add_flaws(
    sky: _Sky,
    visits: _Conditions,
    n: int,
    signal_HW: NDArray[np.float32],
    pixels_CHW: NDArray[np.float32],
    channels: Sequence[str],
) -> artefacts.Window:
    """Flaws of the detector and the pipeline, in place; returns the window of the stamp that was read out."""
    fwhm_px, sigma = visits.fwhm_px_N[n], visits.sigma_N[n]
    peak = sky.saturation / noise.peak_area(fwhm_px, sky.camera.psf)
    rng, flaws = sky.of_flaws(visits.visits_N[n]), artefacts.FLAWS[sky.survey.name]
    return artefacts.add(pixels_CHW, channels, signal_HW, sigma, peak, fwhm_px, flaws, rng)


def _with_conditions(
    sky: _Sky,
    visits: _Conditions,
    channels: Sequence[str],
    pixels_NCHW: NDArray[np.float32],
    window_N4: NDArray[np.int16],
) -> VisitStamps:
    template_sigma_N = sky.template_sigma_B[visits.band_N]
    sigma_by_channel: dict[str, NDArray] = {
        "science": visits.sigma_N,
        "template": template_sigma_N,
        "difference": np.hypot(visits.sigma_N, template_sigma_N),
    }
    fwhm_by_channel: dict[str, NDArray] = {
        "science": visits.fwhm_N,
        "template": visits.template_fwhm_N,
        "difference": visits.fwhm_N,
    }
    return VisitStamps(
        pixels_NCHW,
        np.stack([sigma_by_channel[channel] for channel in channels], axis=1).astype(np.float32),
        np.stack([fwhm_by_channel[channel] for channel in channels], axis=1).astype(np.float32),
        visits.x_N.astype(np.float32),
        visits.y_N.astype(np.float32),
        visits.cut_N2[:, 0].astype(np.float32),
        visits.cut_N2[:, 1].astype(np.float32),
        sky.schedule.sky_T[visits.visits_N].astype(np.float32),
        sky.electrons_T[visits.visits_N].astype(np.float32),
        window_N4,
    )


def _add_bogus(
    sky: _Sky,
    pixels_CHW: NDArray[np.float32],
    channels: Sequence[str],
    visit: int,
    place: tuple[float, float],
    fwhm_px: float,
    sigma: float,
) -> None:
    """Spoil one visit in place, as bright as PSF photometry would find the artefact to be."""
    rng, size, shape = sky.of_bogus(visit), sky.size_px, sky.camera.psf
    area = psf.noise_equivalent_area(np.array(fwhm_px), shape)
    flux = float(sky.obj.truth["artefact_sigma"]) * sigma * float(np.sqrt(area))
    spoiled: tuple[str, ...] = ("science", "difference")
    apart, angle = rng.uniform(*DIPOLE_FWHM) * fwhm_px, rng.uniform(0, 2 * np.pi)
    x_2 = place[0] + apart * np.array([0, np.cos(angle)])
    y_2 = place[1] + apart * np.array([0, np.sin(angle)])
    point_HW, beside_HW = psf.images(np.full(2, fwhm_px), x_2, y_2, (size, size), shape)
    if sky.artefact in BAD_SUBTRACTIONS:
        image_HW, spoiled = point_HW - beside_HW, ("difference",)
    else:
        image_HW = artefacts.bogus(sky.artefact, size, *place, fwhm_px, rng)
    response = float((image_HW * point_HW).sum() / (point_HW**2).sum())
    for c, channel in enumerate(channels):
        if channel in spoiled:
            pixels_CHW[c] += np.float32(flux / max(response, LEAST_RESPONSE)) * image_HW
