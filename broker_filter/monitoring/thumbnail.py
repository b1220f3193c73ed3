"""Small PNG pictures of the stamps of one alert of a message. Knows nothing of pages.

The alert was classified, so that its stamps are sound; whatever is wrong with one anyway leaves its picture out.
"""

import base64

import numpy as np

from broker_filter.alerts import stamp
from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.alerts.survey import SURVEYS
from broker_filter.errors import NotClassifiedError, RejectedAlertError, RetryableError
from broker_filter.records import STAMP_KINDS, Alert, Message
from model.pictures.png import draw


def pictures(message: Message, alert_id: int, schemas: Schemas) -> dict[str, bytes]:
    """Kind of stamp -> PNG, the first row of pixels at the bottom; a kind that cannot be drawn is missing."""
    alert = _find(message, alert_id, schemas)
    drawn: dict[str, bytes] = {}
    if alert is None:
        return drawn
    for kind in STAMP_KINDS:
        content = alert.stamps[kind]
        if content is None:
            continue
        try:
            pixels_HW = stamp.decode(content, SURVEYS[alert.survey])
        except (RejectedAlertError, NotClassifiedError):
            continue
        if kind == "difference":
            drawn[kind] = draw(pixels_HW * np.float32(alert.difference_sign), diverging=True)
        else:
            drawn[kind] = draw(pixels_HW, diverging=False)
    return drawn


def _find(message: Message, alert_id: int, schemas: Schemas) -> Alert | None:
    try:
        return next((a for a in read_alerts(message, schemas) if isinstance(a, Alert) and a.alert_id == alert_id), None)
    except RetryableError:  # the registry has forgotten a schema: no picture is worth waiting for it
        return None


def as_address(png: bytes) -> str:
    """A PNG as a data address, for a page that stands alone."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
