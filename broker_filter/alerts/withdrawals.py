"""The sources of an object that its survey took back, as a packet tells; knows no series.

LSST marks a source as withdrawn in the list of earlier sources of the object's later packets (``timeWithdrawnMjdTai``).
That is rare: the fast reader says only whether there is one, and then the list is read once more, item by item.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from broker_filter.alerts.packet_schema import PacketSchema
from broker_filter.alerts.survey import AlertSurvey
from broker_filter.records import Withdrawal
from model.series import BANDS

MOST_WITHDRAWN = 10_000  # of one packet; an object has some hundred sources a year


def withdrawn_of(
    survey: AlertSurvey, packet: PacketSchema, datum: bytes, record: Mapping[str, Any]
) -> tuple[Withdrawal, ...]:
    """The withdrawn sources of a packet's object, those without id or time left out.

    Parameters
    ----------
    record
        As ``read_with_withdrawals`` or ``read_with_history`` gives it.

    Raises
    ------
    RejectedAlertError
        ``CORRUPT`` when the datum breaks off.
    """
    for name in survey.withdrawals:
        columns = record.get(name)
        if columns is not None and (columns["timeWithdrawnMjdTai"] > 0.0).any():
            sources = packet.read_withdrawn(datum).get(name)
            return tuple(_withdrawals(sources if isinstance(sources, list) else []))[:MOST_WITHDRAWN]
    return ()


def is_withdrawn(source: Mapping[str, Any]) -> bool:
    """Whether a source says that it was taken back."""
    time_mjd = source.get("timeWithdrawnMjdTai")
    return type(time_mjd) is float and time_mjd > 0.0


def _withdrawals(sources: list[dict[str, Any]]) -> Iterator[Withdrawal]:
    for source in sources:
        alert_id, time_mjd, band = (source.get(name) for name in ("diaSourceId", "midpointMjdTai", "band"))
        flux_njy = source.get("psfFlux")
        if is_withdrawn(source) and type(alert_id) is int and type(time_mjd) is float and band in tuple(BANDS):
            yield Withdrawal(alert_id, time_mjd, BANDS.index(band), flux_njy if type(flux_njy) is float else math.nan)
