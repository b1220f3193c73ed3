"""Observations of an object as a store holds them, and answers to them where nobody has kept any."""

from collections.abc import Mapping, Sequence

from broker_filter.alerts.decode import Arrival
from broker_filter.alerts.survey import SURVEYS
from broker_filter.classify.classifier import StreamClassifier
from broker_filter.errors import ConfigurationError
from broker_filter.look.gather import answers_to
from broker_filter.records import Classification, Detection, Message, Observation, Origin, object_key
from broker_filter.series.store import SeriesStore
from model.clock import unix_ms
from model.series import BANDS


def keys_of(object_id: str) -> list[str]:
    """The keys that an object may have in a store: surveys number their objects independently."""
    survey, _, name = object_id.partition("/")
    return [object_id] if name and survey in SURVEYS else [object_key(survey, object_id) for survey in SURVEYS]


def observations_in(store: SeriesStore, object_id: str) -> tuple[str, list[Observation]] | None:
    """An object's key and observations, in order of time; None when the store does not hold it.

    Parameters
    ----------
    object_id
        As the survey names it, or with the survey before it: ``ztf/ZTF21abiuvdk``.
    """
    by_key = store.read(keys_of(object_id))
    if not by_key:
        return None
    key, held = next(iter(by_key.items()))
    frames = held.frame_keys(slice(None))
    pixels = store.pixels(frames)
    observations = [
        Observation(
            alert_id=int(head["alert_id"]),
            time_mjd=float(head["time_mjd"]),
            band=int(head["band"]),
            flux_njy=float(head["flux_njy"]),
            flux_error_njy=float(head["flux_error_njy"]),
            pixels=of_frame.pixels,
            scale_njy=of_frame.scale_njy,
            history=held.history_of(index, index + 1),
            metadata=held.metadata(index),
            ra_deg=float(head["ra_deg"]),
            dec_deg=float(head["dec_deg"]),
            magnitude=float(head["magnitude"]),
            magnitude_error=float(head["magnitude_error"]),
            real_bogus=float(head["real_bogus"]),
        )
        for index, (head, frame) in enumerate(zip(held.heads, frames, strict=True))
        if (of_frame := pixels.get(frame)) is not None
    ]
    return key, observations


def answers_again(
    key: str, observations: Sequence[Observation], classifiers: Mapping[str, StreamClassifier]
) -> list[Classification]:
    """The answer to each observation of an object, from what was known up to it.

    Raises
    ------
    ConfigurationError
        When no network is of the object's survey, or the network reads stamps of another shape than these.
    """
    survey, _, object_id = key.partition("/")
    if survey not in classifiers:
        raise ConfigurationError(f"no network classifies {survey}: give its weights with --weights")
    card = classifiers[survey].card
    wanted = (len(card.channels), card.size_px, card.size_px)
    if other := next((one.pixels.shape for one in observations if one.pixels.shape != wanted), None):
        raise ConfigurationError(
            f"the store holds stamps of {other} for {key}, but {card.name} {card.version} reads {wanted}: give the "
            "network that filled the store with --weights"
        )
    arrivals = [
        Arrival(
            survey,
            object_id,
            one.alert_id,
            one.time_mjd,
            BANDS[one.band],
            unix_ms(one.time_mjd),
            Message(b"", Origin(key)),
            one,
            detection=_detection_of(one),
        )
        for one in observations
    ]
    return answers_to(arrivals, classifiers)


def _detection_of(one: Observation) -> Detection:
    known = (one.ra_deg, one.dec_deg, one.flux_njy, one.flux_error_njy, one.real_bogus)
    return Detection(*(None if value != value else value for value in known))  # noqa: PLR0124 - NaN
