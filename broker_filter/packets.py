"""Series and past photometry of one object, from its packets alone. Keeps nothing, knows no Kafka.

For programs that hold an object's alerts themselves. What leaves is what the stream would read of the same alerts.
"""

import logging
from collections.abc import Iterable

import numpy as np

from broker_filter.alerts.decode import connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.classify.classifier import Predicts
from broker_filter.errors import NotClassifiedError, RejectedAlertError
from broker_filter.records import Message, Observation, Origin, Rejected
from broker_filter.series.window import WindowRule, window_of
from model.past_photometry import History, lacking
from model.series import Series

LOG = logging.getLogger(__name__)


def series_of(packets: Iterable[bytes], predictor: Predicts, schemas: Schemas | None = None) -> tuple[Series, History]:
    """What a network reads of one object's alerts.

    Example::

        from pathlib import Path

        from broker_filter.packets import series_of
        from model.serving.predictor import Predictor

        vigil = Predictor.load("ztf")  # or a path to weights
        packets = [path.read_bytes() for path in Path("alerts").glob("*.avro")]  # of one object, in any order
        series, history = series_of(packets, vigil)
        embeddings = vigil.embed(series.groups(vigil.card.group_size))  # to be kept: a new alert needs only its own
        prediction = vigil.classify([embeddings], [series], [history])
        for name, probability in zip(vigil.card.classes, prediction.probabilities[0]):
            print(f"{name:<10} {probability:.2f}")

    Parameters
    ----------
    packets
        Alerts as the survey sends them, in any order; one that comes twice counts once.
    predictor
        Who will read the answer.
    schemas
        For packets that do not carry their own: folders and registries. None: what comes with this program.

    Returns
    -------
    series : the frames in order of time, the newest where there are more than the network reads. An alert to which the
        stream gives no classification, for instance one without stamps, is left out and told in the log.
    history : what the packets tell beside the frames; empty for a network that reads no such thing.

    Raises
    ------
    RejectedAlertError
        When a packet is broken or of another survey.
    NotClassifiedError
        When no alert is left.
    ValueError
        When there are no packets, or they are of several objects.
    """
    card = predictor.card
    decoder = connect(schemas or Schemas(), {card.survey: card}, threads=1)
    messages = [Message(packet, Origin("packets", 0, number)) for number, packet in enumerate(packets)]
    object_ids: set[str] = set()
    seen: dict[int, Observation] = {}
    left_out: NotClassifiedError | None = None
    for arrival in decoder.decode(messages):
        if isinstance(arrival, Rejected):
            raise RejectedAlertError(arrival.reason, f"packet {arrival.message.origin.offset}: {arrival.detail}")
        object_ids.add(arrival.object_id)
        if arrival.observation is not None:
            seen.setdefault(arrival.alert_id, arrival.observation)
        elif arrival.reason is not None:
            LOG.warning("alert %d is left out (%s): %s", arrival.alert_id, arrival.reason, arrival.detail)
            left_out = NotClassifiedError(arrival.reason, arrival.detail)
    if len(object_ids) != 1:
        raise ValueError(f"packets of {len(object_ids)} objects ({', '.join(sorted(object_ids))}): give those of one")
    if not seen and left_out is not None:
        raise left_out
    known = sorted(seen.values(), key=lambda observation: observation.order)
    window = window_of(len(known) - 1, 0, WindowRule.of(card.frame_limit, card.group_size))
    known = known[window.start : window.stop]
    series = Series(
        pixels_TCHW=np.stack([one.pixels for one in known]),
        scale_TC=np.stack([one.scale_njy for one in known]),
        band_T=np.array([one.band for one in known], np.int8),
        time_T=np.array([one.time_mjd for one in known], np.float64),
        flux_T=np.array([one.flux_njy for one in known], np.float32),
        flux_error_T=np.array([one.flux_error_njy for one in known], np.float32),
    )
    return series, lacking([one.history for one in known], series, card.history_limit)
