"""Ids of alerts in addresses: whole numbers of 64 bits, also negative ones, which some archives have.

Importing this adds ``alert`` to the kinds of parameters that routes know: ``/stamps/{alert_id:alert}``.
"""

from starlette.convertors import Convertor, register_url_convertor

from broker_filter.records import HIGHEST_ALERT_ID, LOWEST_ALERT_ID

ALERT_LIMIT = 100  # ids of one request
ALERT_IDS = rf"^-?\d{{1,19}}(,-?\d{{1,19}}){{0,{ALERT_LIMIT - 1}}}$"  # with commas between them


class _AlertId(Convertor[int]):
    regex = r"-?[0-9]{1,19}"

    def convert(self, value: str) -> int:
        """The number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """As it stands in an address."""
        return str(value)


register_url_convertor("alert", _AlertId())


def ids_of(text: str) -> list[int]:
    """The ids in a text that matches ``ALERT_IDS``; those beyond 64 bits are nobody's."""
    return [number for number in map(int, text.split(",")) if LOWEST_ALERT_ID <= number <= HIGHEST_ALERT_ID]
