"""``ictc-inspect``: contents of alerts for people, as text, JSON lines or a picture. Knows no network, no store.

``ictc-inspect PATH... [--json] [--png FILE] [--schema FILE]``
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from broker_filter.alerts.alert import read_alert, read_datums
from broker_filter.alerts.door import attempt
from broker_filter.alerts.packet_epochs import light_curve
from broker_filter.alerts.packet_schema import PacketSchema, Schemas
from broker_filter.alerts.stamp import decode
from broker_filter.alerts.survey import SURVEYS
from broker_filter.archive.archive_options import inspect_parser
from broker_filter.archive.file_names import as_text
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.picture import draw
from broker_filter.archive.read import nothing_below, read_messages
from broker_filter.avro.envelope import Bare, split
from broker_filter.errors import ConfigurationError, NotClassifiedError, RejectedAlertError, Rejection
from broker_filter.output.result_files import standard_output
from broker_filter.records import STAMP_KINDS, Alert, Message
from broker_filter.terminal import command, complain, console, styled
from model.commands import DONE, FAILED
from model.printable import printable_json

PROGRAM = "ictc-inspect"
SCHEMA_BESIDE = "schema.json"  # taken for the schema of the bare datums in the same folder


@dataclass(frozen=True, slots=True)
class Inspected:
    """One record of a file: an alert with what its stamps hold, or the reason why it is none."""

    file: str
    index: int
    alert: Alert | None = None
    datum: bytes = b""
    packet: PacketSchema | None = None
    error: RejectedAlertError | None = None

    def stamps(self) -> dict[str, NDArray[np.float32] | RejectedAlertError | NotClassifiedError | None]:
        """Return the pixels as published, or why there are none, by kind."""
        if self.alert is None:
            return {}
        return {kind: _pixels(self.alert, kind) for kind in STAMP_KINDS}


def inspect(
    paths: Sequence[Path], schema: Path | None = None, left_out: LeftOutCounts | None = None
) -> Iterator[Inspected]:
    """Look at every record at these paths.

    Parameters
    ----------
    schema
        Of bare datums; None: ``schema.json`` in their folder, if there is one.
    left_out
        Takes what is not read.

    Raises
    ------
    ConfigurationError
        For a path that does not exist, or a schema that is none.
    """
    schemas = Schemas(bare_schema=schema)
    beside: dict[Path, Schemas] = {}

    def schemas_of(message: Message) -> Schemas:
        path = Path(message.origin.source).parent / SCHEMA_BESIDE
        if schema is not None or not path.is_file() or not _is_bare(message):
            return schemas
        return beside.setdefault(path, Schemas(bare_schema=path))

    for path, messages in [(path, read_messages([path], left_out)) for path in paths]:
        empty = not path.is_dir()
        for item in messages:
            empty = False
            if isinstance(item, Message):
                yield from _inspect_message(item, schemas_of(item))
            else:
                origin = item.message.origin
                yield Inspected(origin.source, origin.offset, error=RejectedAlertError(item.reason, item.detail))
        if empty:  # a file that was named and holds nothing gets a line too
            detail = "an archive without anything named like alerts"
            yield Inspected(as_text(str(path)), 0, error=RejectedAlertError(Rejection.EMPTY, detail))


def _is_bare(message: Message) -> bool:
    try:
        return isinstance(split(message.value), Bare)
    except RejectedAlertError:
        return False


def _inspect_message(message: Message, schemas: Schemas) -> Iterator[Inspected]:
    file, first = message.origin.source, message.origin.offset
    index = first
    datums = read_datums(message, schemas)
    while (cut := attempt(lambda: next(datums, None))) is not None:
        if isinstance(cut, RejectedAlertError):
            yield Inspected(file, index, error=cut)
            return
        packet, datum = cut
        alert = attempt(partial(read_alert, packet, datum))
        if isinstance(alert, RejectedAlertError):
            yield Inspected(file, index, error=alert)
        else:
            yield Inspected(file, index, alert, datum, packet)
        index += 1
    if index == first:
        yield Inspected(file, index, error=RejectedAlertError(Rejection.EMPTY, "a sound container without records"))


def _pixels(alert: Alert, kind: str) -> NDArray[np.float32] | RejectedAlertError | NotClassifiedError | None:
    content = alert.stamps[kind]
    if content is None:
        return None
    try:
        return attempt(lambda: decode(content, SURVEYS[alert.survey]))
    except NotClassifiedError as error:
        return error


def describe(seen: Inspected) -> dict[str, Any]:
    """Return what goes into a JSON line; SHA-256 is of the little-endian float32 pixels as published."""
    if seen.alert is None:
        error = seen.error
        reason = {} if error is None else {"reason": str(error.reason), "detail": error.detail}
        return {"file": seen.file, "record": seen.index, "status": "rejected", **reason}
    alert = seen.alert
    return {
        "file": seen.file,
        "record": seen.index,
        "status": "alert",
        "survey": alert.survey,
        "schema": alert.schema,
        "objectId": alert.object_id,
        "alertId": alert.alert_id,
        "mjd": alert.time_mjd,
        "band": alert.band,
        "ra": alert.ra_deg,
        "dec": alert.dec_deg,
        "fluxNjy": alert.flux_njy,
        "fluxErrorNjy": alert.flux_error_njy,
        "realBogus": alert.real_bogus,
        "solarSystem": alert.solar_system,
        "stamps": {kind: _describe_stamp(pixels) for kind, pixels in seen.stamps().items()},
    }


def _describe_stamp(
    pixels_HW: NDArray[np.float32] | RejectedAlertError | NotClassifiedError | None,
) -> dict[str, Any] | None:
    if pixels_HW is None:
        return None
    if isinstance(pixels_HW, Exception):
        return {"reason": str(pixels_HW.reason), "detail": pixels_HW.detail}
    return {
        "shape": list(pixels_HW.shape),
        "nan": int(np.isnan(pixels_HW).sum()),
        "sum": float(np.nansum(pixels_HW, dtype=np.float64)),
        "sha256": hashlib.sha256(pixels_HW.astype("<f4").tobytes()).hexdigest(),
    }


def _show(shown: Console, described: dict[str, Any]) -> None:
    """Print one record for a person."""
    if described["status"] == "rejected":
        where = f" {described['file']} record {described['record']}"
        shown.print(styled(("rejected", "bold red"), where))
        shown.print(styled(f"  {described.get('reason')}: {described.get('detail')}\n"))
        return
    shown.print(styled((described["objectId"], "bold"), f"  {described['file']}"))
    score = "unknown" if described["realBogus"] is None else f"{described['realBogus']:.2f}"
    facts = (
        f"  {described['survey'].upper()} {described['schema']}  alert {described['alertId']}"
        f"  MJD {described['mjd']:.5f}  band {described['band']}"
        f"  RA {described['ra']:.5f}°  Dec {described['dec']:+.5f}°\n"
        f"  flux {described['fluxNjy']:.0f} ± {described['fluxErrorNjy']:.0f} nJy  real {score}"
        + ("  Solar-system object" if described["solarSystem"] else "")
    )
    shown.print(styled(facts))
    table = Table("stamp", "shape", "NaN", "sum", "SHA-256", box=None, padding=(0, 2), header_style="dim")
    for kind, stamp in described["stamps"].items():
        if stamp is None or "reason" in stamp:
            table.add_row(kind, "none" if stamp is None else stamp["reason"])
        else:
            shape = " x ".join(map(str, stamp["shape"]))
            table.add_row(kind, shape, str(stamp["nan"]), f"{stamp['sum']:.6g}", stamp["sha256"][:16])
    shown.print(table, soft_wrap=False)
    shown.print()


def _draw(path: Path, seen: Inspected) -> None:
    if seen.alert is None or seen.packet is None:
        return
    stamps = {kind: None if isinstance(p, Exception) else p for kind, p in seen.stamps().items()}
    scale = SURVEYS[seen.alert.survey].arcsec_per_pixel
    points = attempt(partial(light_curve, seen.packet, seen.datum, seen.alert))
    if isinstance(points, RejectedAlertError):
        complain(PROGRAM, f"{seen.file}: a picture without a light curve: {points.detail}")
        points = []
    draw(path, seen.alert, stamps, scale, points)


@command(PROGRAM, ConfigurationError, unread=DONE)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 done: every record is an alert, 1 some are not, or there is none; 2 asked wrongly, 130 interrupted.
    """
    arguments = inspect_parser().parse_args(argv)
    shown, left_out = console(), LeftOutCounts()
    read = rejected = drawn = 0
    for count, seen in enumerate(inspect(arguments.paths, arguments.schema, left_out)):
        if count == arguments.limit:
            break
        read += 1
        rejected += seen.alert is None
        described = describe(seen)
        if arguments.json:
            line = orjson.dumps(described, option=orjson.OPT_APPEND_NEWLINE).decode()
            standard_output().write(printable_json(line).encode())
        else:
            _show(shown, described)
        if arguments.png is not None and seen.alert is not None:
            name = arguments.png.stem if drawn == 0 else f"{arguments.png.stem}-{seen.alert.alert_id}"
            _draw(arguments.png.with_name(name + arguments.png.suffix), seen)
            drawn += 1
    if left_out:
        complain(PROGRAM, f"left out: {left_out}")
    if not read and arguments.limit != 0:
        complain(PROGRAM, nothing_below(arguments.paths))
        return FAILED
    return FAILED if rejected else DONE


if __name__ == "__main__":
    sys.exit(main())
