"""The story of one object: its stamps, its light curve, and what was said of it after each alert."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from broker_filter.records import Classification, Observation
from model.past_photometry import NO_HISTORY, History, lacking
from model.series import BANDS, Series

MOST_EPOCHS = 10_000  # without stamp, of one object


@dataclass(frozen=True, slots=True)
class ObjectStory:
    """What is known of one object.

    ``frames`` are the stamps as a network reads them; ``alert_ids`` are theirs, in the same order.
    """

    survey: str
    object_id: str
    channels: tuple[str, ...]  # of the stamps
    arcsec_per_pixel: float
    alert_ids: tuple[int, ...]
    frames: Series
    epochs: History  # without stamp, of which the alerts' packets tell
    answers: tuple[Classification, ...]  # the last word on each alert, in order of time

    @property
    def newest(self) -> Classification:
        """The answer to the newest alert."""
        return self.answers[-1]

    @property
    def classified(self) -> tuple[Classification, ...]:
        """The answers with probabilities."""
        return tuple(answer for answer in self.answers if answer.probabilities)

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class that an answer names, in the network's order."""
        return tuple(dict.fromkeys(name for answer in self.answers for name in answer.probabilities))

    @property
    def position_deg(self) -> tuple[float, float] | None:
        """Right ascension and declination: medians over the alerts, robust at the meridian; None where unknown."""
        known = [
            (a.detection.ra_deg, a.detection.dec_deg)
            for a in self.answers
            if a.detection is not None and a.detection.ra_deg is not None and a.detection.dec_deg is not None
        ]
        if not known:
            return None
        ra, dec = np.array(known).T
        return float((np.median((ra - ra[0] + 180.0) % 360.0 - 180.0) + ra[0]) % 360.0), float(np.median(dec))

    @property
    def days(self) -> float:
        """From the first alert to the newest."""
        return self.answers[-1].time_mjd - self.answers[0].time_mjd

    @property
    def decided(self) -> Classification | None:
        """The alert since which the most probable class has been what it is now; None when nothing is classified."""
        since = None
        for answer in reversed(self.classified):
            if since is not None and answer.best != since.best:
                break
            since = answer
        return since


def story_of(
    observations: Sequence[Observation],
    answers: Sequence[Classification],
    channels: Sequence[str],
    arcsec_per_pixel: float,
) -> ObjectStory:
    """The story that observations and answers of one object tell, both in any order; there is at least one answer."""
    ordered = sorted({one.alert_id: one for one in observations}.values(), key=lambda one: one.order)
    frames = frames_of(ordered, len(channels))
    epochs = NO_HISTORY if not ordered else lacking([one.history for one in ordered], frames, MOST_EPOCHS)
    epochs = History.joined([epochs, _without_frame(answers, {one.alert_id for one in ordered})])
    return ObjectStory(
        survey=answers[0].survey,
        object_id=answers[0].object_id,
        channels=tuple(channels),
        arcsec_per_pixel=arcsec_per_pixel,
        alert_ids=tuple(one.alert_id for one in ordered),
        frames=frames,
        epochs=epochs,
        answers=last_words(answers),
    )


def _without_frame(answers: Sequence[Classification], frames: Collection[int]) -> History:
    """Fluxes of the alerts that have no stamps that could be read."""
    rows = [
        (answer.time_mjd, BANDS.index(answer.band), answer.detection.flux_njy, answer.detection.flux_error_njy)
        for answer in answers
        if answer.alert_id not in frames and answer.detection is not None and answer.detection.flux_njy
    ]
    time, band, flux, error = zip(*rows, strict=True) if rows else ((), (), (), ())
    return History(
        np.array(time, np.float64),
        np.array(band, np.int8),
        np.array(flux, np.float32),
        np.array([np.nan if one is None else one for one in error], np.float32),
    )


def last_words(answers: Sequence[Classification]) -> tuple[Classification, ...]:
    """The answer to each alert that knew of most stamps, in order of time."""
    last: dict[int, Classification] = {}
    for answer in answers:
        before = last.get(answer.alert_id)
        if before is None or answer.known_count >= before.known_count:
            last[answer.alert_id] = answer
    return tuple(sorted(last.values(), key=lambda answer: (answer.time_mjd, answer.alert_id)))


def frames_of(observations: Sequence[Observation], channels: int) -> Series:
    """The frames of observations, in their order."""
    if not observations:
        none = np.empty(0)
        shape = (0, channels, 1, 1)
        return Series(np.empty(shape, np.float16), np.empty(shape[:2], np.float32), none.astype(np.int8), none,
                      none.astype(np.float32), none.astype(np.float32))  # fmt: skip
    return Series(
        pixels_TCHW=np.stack([one.pixels for one in observations]),
        scale_TC=np.stack([one.scale_njy for one in observations]),
        band_T=np.array([one.band for one in observations], np.int8),
        time_T=np.array([one.time_mjd for one in observations], np.float64),
        flux_T=np.array([one.flux_njy for one in observations], np.float32),
        flux_error_T=np.array([one.flux_error_njy for one in observations], np.float32),
    )


def bands_of(story: ObjectStory) -> str:
    """The bands in which the object was observed, blue to red."""
    seen = set(story.frames.band_T.tolist()) | set(story.epochs.band_P.tolist())
    return "".join(band for b, band in enumerate(BANDS) if b in seen)
