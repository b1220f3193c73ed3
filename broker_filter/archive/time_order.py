"""Sorting of any number of records by time, in fixed memory. Knows nothing of what they hold.

A sorted file in a temporary folder takes them, however many there are; it is deleted afterwards. Memory is that of one
batch of writes: the rest is the system's page cache, which it takes back when it needs it.
"""

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lmdb
import orjson

from broker_filter.alerts.decode import Arrival
from broker_filter.errors import FatalError, NotClassified
from broker_filter.records import Detection, Message, MovingObject, Origin, SolarSystemMatch, Withdrawal, object_key
from broker_filter.series.rows import ORDER_BYTES, decode_observation, encode_observation, parse_order, sortable_order

BYTES_AT_ONCE = 4 << 20  # of one transaction; an observation has 6 kB, a message up to 150 kB
LARGEST_FILE_BYTES = 1 << 42  # address space, not disk
_SEQUENCE_BYTES = 8
_LENGTH_BYTES = 4


class SortedFile:
    """Records by (name, order of arrival).

    Parameters
    ----------
    folder
        Where the temporary folder is made; the system's when None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ictc-order-", dir=folder))
        self._env = lmdb.open(
            str(self._folder), map_size=LARGEST_FILE_BYTES, sync=False, metasync=False, writemap=False, lock=False
        )
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, name: bytes, record: bytes) -> None:
        """Take a record.

        Raises
        ------
        FatalError
            When the disk is full.
        """
        name += self._count.to_bytes(_SEQUENCE_BYTES, "big")
        self._waiting.append((name, record))
        self._waiting_bytes += len(name) + len(record)
        self._count += 1
        if self._waiting_bytes >= BYTES_AT_ONCE:
            self._write()

    def _write(self) -> None:
        try:
            with self._env.begin(write=True) as txn, txn.cursor() as cursor:
                cursor.putmulti(self._waiting)
        except lmdb.Error as error:
            raise FatalError(
                f"cannot sort the archive in {self._folder}: {error}; free the disk, set TMPDIR, or say --order given"
            ) from error
        self._waiting.clear()
        self._waiting_bytes = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """(name, record) in order."""
        self._write()
        with self._env.begin() as txn, txn.cursor() as cursor:
            for name, record in cursor:
                yield bytes(name[:-_SEQUENCE_BYTES]), bytes(record)

    def close(self) -> None:
        """Delete the file; closing twice does nothing."""
        self._env.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class TimeOrder:
    """Records by (time, id, object, order of arrival); ``folder`` as in :class:`SortedFile`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = SortedFile(folder)

    def __len__(self) -> int:
        return len(self._file)

    def put(self, time_mjd: float, number: int, record: bytes, key: str = "") -> None:
        """Take a record; raises as :meth:`SortedFile.put`."""
        self._file.put(sortable_order(time_mjd, number) + key.encode(), record)

    def items(self) -> Iterator[tuple[float, bytes]]:
        """(MJD, record) in order."""
        for name, record in self._file:
            yield parse_order(name[:ORDER_BYTES])[0], record

    def __iter__(self) -> Iterator[bytes]:
        return (record for _, record in self._file)

    def close(self) -> None:
        """Delete the file; closing twice does nothing."""
        self._file.close()


def pack_arrival(arrival: Arrival) -> bytes:
    """An arrival as bytes: length, JSON of its names, row of its observation. Its message keeps only its origin."""
    origin = arrival.message.origin
    names = orjson.dumps(
        [
            arrival.survey,
            arrival.object_id,
            arrival.alert_id,
            arrival.time_mjd,
            arrival.band,
            arrival.published_ms,
            [origin.source, origin.partition, origin.offset],
            arrival.reason,
            arrival.detail,
            None if arrival.detection is None else dataclasses.astuple(arrival.detection),
            [list(source) for source in arrival.withdrawn],
            None if arrival.match is None else dataclasses.astuple(arrival.match),
        ]
    )
    row = b"" if arrival.observation is None else encode_observation(arrival.observation, False, arrival.key)
    return len(names).to_bytes(_LENGTH_BYTES, "big") + names + row


def _end_of_names(record: bytes) -> int:
    return _LENGTH_BYTES + int.from_bytes(record[:_LENGTH_BYTES], "big")


def packed_key(record: bytes) -> str:
    """The object key of a packed arrival."""
    survey, object_id, *_ = orjson.loads(record[_LENGTH_BYTES : _end_of_names(record)])
    return object_key(survey, object_id)


def unpack_arrival(record: bytes) -> Arrival:
    """The inverse of :func:`pack_arrival`."""
    end = _end_of_names(record)
    survey, object_id, alert_id, time_mjd, band, published_ms, origin, reason, detail, detection, withdrawn, match = (
        orjson.loads(record[_LENGTH_BYTES:end])
    )
    return Arrival(
        survey,
        object_id,
        alert_id,
        time_mjd,
        band,
        published_ms,
        Message(b"", Origin(*origin)),
        decode_observation(record[end:], object_key(survey, object_id)) if len(record) > end else None,
        None if reason is None else NotClassified(reason),
        detail,
        None if detection is None else Detection(*detection),
        tuple(Withdrawal(i, time, band, math.nan if flux is None else flux) for i, time, band, flux in withdrawn),
        match=None if match is None else SolarSystemMatch(MovingObject(*match[0]), match[1]),
    )
