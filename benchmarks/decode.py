"""How many alerts a second one core turns from bytes into calibrated frames: ours beside plain fastavro and astropy.

``python -m benchmarks.decode``. Seconds are processor time of one thread, so that a busy machine does not matter much.
The plain reading is what brokers do: the packet by fastavro, every stamp by ``astropy.io.fits.open``. It does less than
ours in the last column of work: no calibration, no crop, no float16.
"""

import gzip
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import fastavro
from astropy.io import fits
from fastavro.schema import load_schema
from rich.console import Console
from rich.table import Table

from benchmarks.parser import parser_of
from benchmarks.setting import describe, shared_data
from broker_filter.alerts.alert import read_alert, read_alerts, read_datums
from broker_filter.alerts.packet_epochs import light_curve
from broker_filter.alerts.packet_schema import Schemas, bundled_schema_file
from broker_filter.alerts.stamp import decode, observe
from broker_filter.alerts.survey import SURVEYS
from broker_filter.archive.read import read_messages
from broker_filter.records import STAMP_KINDS, Alert, Message, Origin
from model.series import BANDS

REPEATS = 5
SHORT_HISTORY_EPOCHS = 30
LSST_SCHEMA_ID = 1000
NETWORK_SIDE = 32  # pixels that ConvEntion reads
GENERATED = 200
FIELDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
TARGETS = {"ZTF": 600, "LSST, short histories": 1_500}  # alerts per second


def plain_ztf(message: Message) -> None:
    """Read a packet and its stamps as the libraries' manuals say."""
    for record in fastavro.reader(io.BytesIO(message.value)):
        for field in FIELDS:
            with fits.open(io.BytesIO(gzip.decompress(record[field]["stampData"])), ignore_missing_simple=True) as hdus:
                hdus[0].data.sum()


class PlainLsst:
    """Reads a packet and its stamps as the libraries' manuals say, the schema parsed once."""

    def __init__(self) -> None:
        self._schema = load_schema(str(bundled_schema_file(LSST_SCHEMA_ID)))

    def __call__(self, message: Message) -> None:
        record = fastavro.schemaless_reader(io.BytesIO(message.value[5:]), self._schema)
        for field in FIELDS:
            with fits.open(io.BytesIO(record[field])) as hdus:
                hdus[0].data.sum()


class Ours:
    """Our rooms, as far as asked: the alert, its three stamps as published, or what the network reads.

    That is a frame, and for networks that read epochs without stamps the light curve of the packet besides.
    """

    def __init__(self, work: str) -> None:
        self._schemas = Schemas()
        self._work = work
        self._histories = dict.fromkeys(SURVEYS, BANDS) if work == "frames and history" else {}

    def __call__(self, message: Message) -> None:
        for alert in read_alerts(message, self._schemas, self._histories):
            if not isinstance(alert, Alert):
                raise alert
            if self._work == "stamps":
                for kind in STAMP_KINDS:
                    decode(alert.stamps[kind] or b"", SURVEYS[alert.survey])
            elif self._work in ("frames", "frames and history"):
                observe(alert, STAMP_KINDS, NETWORK_SIDE, BANDS)


def alerts_per_second(read: Callable[[Message], None], messages: Sequence[Message]) -> float:
    """Return the median of some repeats, after one that warms up."""
    rates = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        for message in messages:
            read(message)
        rates.append(len(messages) / (time.process_time() - start))
    return statistics.median(rates[1:])


def fixed_objects(messages: Sequence[Message]) -> list[tuple[Message, int]]:
    """Return the messages of alerts that get a frame, with the epochs of their histories."""
    schemas = Schemas()
    chosen = []
    for message in messages:
        for packet, datum in read_datums(message, schemas):
            alert = read_alert(packet, datum)
            if not alert.solar_system:
                chosen.append((message, len(light_curve(packet, datum, alert))))
    return chosen


def sets_of_messages() -> tuple[str, dict[str, list[Message]]]:
    """Return what is measured: real packets, or generated ones where there are none."""
    folder = shared_data()
    if folder is None:
        from tests.broker_filter.packets import lsst_packet, ztf_packet  # noqa: PLC0415 - needs the dev packages

        ztf = [Message(ztf_packet(candid=n, previous=25), Origin("made", 0, n)) for n in range(GENERATED)]
        lsst = [Message(lsst_packet(source_id=n + 1, history=5), Origin("made", 0, n)) for n in range(GENERATED)]
        return "generated packets", {"ZTF": ztf, "LSST, short histories": lsst}
    alerts = folder / "alerts"
    ztf_and_epochs = fixed_objects([m for m in read_messages([alerts / "ztf"]) if isinstance(m, Message)])
    lsst_and_epochs = fixed_objects([m for m in read_messages([alerts / "lsst/v10_0_wire"]) if isinstance(m, Message)])
    return "real packets", {
        "ZTF": [message for message, _ in ztf_and_epochs],
        "LSST, short histories": [m for m, epochs in lsst_and_epochs if epochs <= SHORT_HISTORY_EPOCHS],
        "LSST, long histories": [m for m, epochs in lsst_and_epochs if epochs > SHORT_HISTORY_EPOCHS],
    }


def main() -> int:
    """Measure and print the table; return 1 where a target is missed."""
    parser_of(__doc__).parse_args()
    warnings.simplefilter("ignore")  # astropy has much to say about ZTF's headers
    source, sets = sets_of_messages()
    table = Table(
        "packets",
        "number",
        "kB each",
        "fastavro + astropy",
        "alert",
        "+ 3 stamps",
        "+ frame",
        "+ history",
        "target",
        title="Alerts per second of one core",
    )
    missed = 0
    for name, messages in sets.items():
        plain = plain_ztf if name == "ZTF" else PlainLsst()
        works = ("alert", "stamps", "frames", "frames and history")
        rates = [alerts_per_second(read, messages) for read in (plain, *map(Ours, works))]
        target = TARGETS.get(name)
        missed += target is not None and rates[-1] < target
        size = statistics.fmean(len(message.value) for message in messages) / 1e3
        table.add_row(
            name,
            str(len(messages)),
            f"{size:.0f}",
            *(f"{rate:,.0f}" for rate in rates),
            f"{target:,}" if target else "",
        )
    console = Console(width=120)
    console.print(describe("fastavro", "astropy", "isal", "numpy"), highlight=False)
    console.print(
        f"{source}, median of {REPEATS} runs; frame: three channels of {NETWORK_SIDE} x {NETWORK_SIDE}, calibrated"
    )
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
