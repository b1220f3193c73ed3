"""Tar archive of rejected messages, which ``ictc-replay`` reads again. Knows nothing of why.

Each member holds the original bytes of one message, untouched. Its name says the number and the reason; pax headers say
the rest: ``ICTC.reason``, ``ICTC.detail``, ``ICTC.source``, ``ICTC.partition``, ``ICTC.offset``.
"""

import io
import tarfile
from typing import BinaryIO

from broker_filter.records import Message, Rejected

LONGEST_DETAIL = 2000


class RejectFile:
    """A tar archive that grows by one member for each rejected message."""

    def __init__(self, out: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - close() is ours
        self._count = 0
        self._last: Message | None = None

    def write(self, rejected: Rejected) -> None:
        """Add the message; further rejections of the same message (records of one container) add nothing."""
        if rejected.message is self._last:
            return
        self._last = rejected.message
        member = tarfile.TarInfo(f"{self._count:08d}.{rejected.reason}.avro")
        member.size = len(rejected.message.value)
        origin = rejected.message.origin
        member.pax_headers = {
            "ICTC.reason": str(rejected.reason),
            "ICTC.detail": _printable(rejected.detail[:LONGEST_DETAIL]),
            "ICTC.source": _printable(origin.source),
            "ICTC.partition": str(origin.partition),
            "ICTC.offset": str(origin.offset),
        }
        self._tar.addfile(member, io.BytesIO(rejected.message.value))
        self._tar.members.clear()  # type: ignore[attr-defined] # tarfile would remember every member
        self._count += 1

    def close(self) -> None:
        """Write the end mark."""
        self._tar.close()


def _printable(text: str) -> str:
    """Text that a header can hold, whatever a broken packet put into it."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
