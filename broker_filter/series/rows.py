"""The bytes of a stored observation, embedding and object: store version 3. Knows no storage engine.

Little-endian, packed, one version byte first; sort keys are big-endian. Every row carries the XXH3 digest of what it
holds, seeded with its object's key: a row that was changed, or stands under another object, is not read.

observation  HEAD (see store.HEAD), of the P epochs of which its packet tells EPOCH[P] (17 bytes: time, flux, error,
             band), of its packet's metadata float32[M], scale float32[C], pixels float16[C, H, W]; head, epochs and
             metadata are the front, which every update reads and which has a digest of its own
embedding    version u8, check u32, dimensions u8, tag 16 bytes, shape u32[dimensions], values float32
object       version u8, has_horizon u8, check u32, dropped u32, held u32, bytes u64, newest f64, horizon time f64,
             horizon id i64
totals       version u8, check u32, objects i64, observations i64, bytes i64
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from broker_filter.records import LONGEST_KEY_BYTES, NO_METADATA, Observation, PacketMetadata
from broker_filter.series.store import HEAD, CorruptStoreError, Embedding, Pixels
from model.past_photometry import NO_HISTORY, History

ROW_VERSION = 3
TAG_BYTES = 16
SETTLED, UNSETTLED = 0xA5, 0x5A  # far apart, for no digest covers this byte: a server's script changes it
SETTLED_AT = 1
CHECKED_FROM = 6  # bytes of a front: version, settled and the digest itself come before
SOURCE_SLICE = slice(HEAD.fields["source"][1], HEAD.fields["offset"][1])  # type: ignore[index] # topic and partition

_FRONT = struct.Struct("<BBI")
_HEAD = struct.Struct("<IbBHHqdffddfffQiqBBH")  # what follows _FRONT
_EMBEDDING_CHECK, _EMBEDDING = struct.Struct("<BI"), struct.Struct(f"<B{TAG_BYTES}s")
_OBJECT_CHECK, _OBJECT = struct.Struct("<BBI"), struct.Struct("<IIQddq")
_TOTALS_CHECK, _TOTALS = struct.Struct("<BI"), struct.Struct("<qqq")
_ORDER = struct.Struct(">QQ")
ORDER_BYTES = _ORDER.size  # of ``sortable_order``
_RANK = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_PLACE = struct.Struct("<Qi")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_LOW = 0xFFFFFFFF
_REMEDY = "the store is damaged or of another version: rebuild it from an archive with ictc-replay --store"
_BODY_CHECK_AT = HEAD.fields["body_check"][1]  # type: ignore[index]
_SHAPE_AT = HEAD.fields["channels"][1]  # type: ignore[index]
_SHAPE = struct.Struct("<BHH")
_ORDER_AT = HEAD.fields["alert_id"][1]  # type: ignore[index]
_ALERT_AND_TIME = struct.Struct("<qd")
_COUNTS = struct.Struct("<BH")  # metadata, history
_COUNTS_AT = HEAD.itemsize - _COUNTS.size

EPOCH = np.dtype([("time_mjd", "<f8"), ("flux_njy", "<f4"), ("flux_error_njy", "<f4"), ("band", "i1")])

assert _FRONT.size == CHECKED_FROM
assert _FRONT.size + _HEAD.size == HEAD.itemsize


class Fronts(NamedTuple):
    """What the fronts of an object's rows say."""

    heads: NDArray  # [T] of HEAD, by (time, alert id); can be written to
    epochs: History  # one packet after the other
    metadata_M: NDArray[np.float32]  # one packet after the other


@lru_cache(maxsize=1 << 16)
def seed_of(key: str) -> int:
    """Where the digests of an object's rows begin, so that no row passes under another object."""
    return xxhash.xxh3_64_intdigest(key.encode())


@lru_cache(maxsize=1 << 10)
def source_number(source: str) -> int:
    """The number of a topic (or file) in rows; never 0, which is for unknown ones."""
    return xxhash.xxh3_64_intdigest(source.encode()) | 1


def _digest(content: bytes | memoryview, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(content, seed) & _LOW


def encode_observation(observation: Observation, settled: bool, key: str) -> bytes:
    """One row; see the module's docstring."""
    body = encode_body(observation)
    return encode_front(observation, settled, key, body) + body


def encode_body(observation: Observation) -> bytes:
    """What follows the front of a row: scale and pixels."""
    scale, pixels = np.ascontiguousarray(observation.scale_njy, "<f4"), np.ascontiguousarray(observation.pixels, "<f2")
    return scale.tobytes() + pixels.tobytes()


def encode_front(observation: Observation, settled: bool, key: str, body: bytes) -> bytes:
    """The head, the history and the metadata of a row, with the digest of its body."""
    seed, origin, metadata = seed_of(key), observation.origin, observation.metadata
    checked = _HEAD.pack(
        _digest(body, seed),
        observation.band,
        *observation.pixels.shape,
        observation.alert_id,
        observation.time_mjd,
        observation.flux_njy,
        observation.flux_error_njy,
        observation.ra_deg,
        observation.dec_deg,
        observation.magnitude,
        observation.magnitude_error,
        observation.real_bogus,
        *((0, -1, -1) if origin is None else (source_number(origin.source), origin.partition, origin.offset)),
        metadata.layout,
        len(metadata.values_M),
        len(observation.history),
    )
    if len(observation.history):
        checked += _encode_epochs(observation.history)
    if len(metadata.values_M):
        checked += np.ascontiguousarray(metadata.values_M, "<f4").tobytes()
    return _FRONT.pack(ROW_VERSION, SETTLED if settled else UNSETTLED, _digest(checked, seed)) + checked


def front_bytes(row: bytes | memoryview) -> int:
    """How many bytes of a row are its front, as its head says."""
    if len(row) < HEAD.itemsize:
        return HEAD.itemsize
    values, epochs = _COUNTS.unpack_from(row, _COUNTS_AT)
    return HEAD.itemsize + EPOCH.itemsize * epochs + 4 * values


def front_is_sound(front: bytes, key: str) -> bool:
    """True for the front of an observation of this object as it was written."""
    if len(front) < HEAD.itemsize or len(front) != front_bytes(front):
        return False
    version, settled, check = _FRONT.unpack_from(front)
    return (
        version == ROW_VERSION
        and settled in (SETTLED, UNSETTLED)
        and check == _digest(front[CHECKED_FROM:], seed_of(key))
    )


def is_settled(row: bytes | memoryview) -> bool:
    """True for a row whose outputs were delivered."""
    return row[SETTLED_AT] == SETTLED


def settled_copy(row: bytes | memoryview) -> bytes:
    """The same row, settled; no digest covers that."""
    copy = bytearray(row)
    copy[SETTLED_AT] = SETTLED
    return bytes(copy)


def order_of(front: bytes | memoryview) -> tuple[float, int]:
    """(MJD, alert id) of a row."""
    alert_id, time_mjd = _ALERT_AND_TIME.unpack_from(front, _ORDER_AT)
    return time_mjd, alert_id


def decode_fronts(fronts: Sequence[bytes], key: str) -> Fronts:
    """What the fronts of an object's rows say, in order of (time, alert id).

    Raises
    ------
    CorruptStoreError
        When a front is not as it was written.
    """
    if not all(front_is_sound(front, key) for front in fronts):
        raise CorruptStoreError(f"{key} has a damaged observation: {_REMEDY}")
    return join_fronts(fronts)


def join_fronts(fronts: Sequence[bytes]) -> Fronts:
    """As :func:`decode_fronts`, of fronts that were found sound."""
    heads = np.frombuffer(bytearray().join([front[: HEAD.itemsize] for front in fronts]), HEAD)
    order = np.lexsort((heads["alert_id"], heads["time_mjd"]))
    heads = heads[order]
    heads["settled"] = heads["settled"] == SETTLED
    epochs, metadata_M = NO_HISTORY, NO_METADATA.values_M
    if heads["history"].any() or heads["metadata"].any():
        ends = HEAD.itemsize + EPOCH.itemsize * heads["history"].astype(int)
        sorted_fronts = [fronts[n] for n in order.tolist()]
        pairs = list(zip(sorted_fronts, ends.tolist(), strict=True))
        epochs = decode_epochs(b"".join([front[HEAD.itemsize : end] for front, end in pairs]))
        metadata_M = np.frombuffer(b"".join([front[end:] for front, end in pairs]), "<f4").copy()
    return Fronts(heads, epochs, metadata_M)


def _encode_epochs(history: History) -> bytes:
    epochs = np.empty(len(history), EPOCH)
    epochs["time_mjd"], epochs["band"] = history.time_P, history.band_P
    epochs["flux_njy"], epochs["flux_error_njy"] = history.flux_P, history.flux_error_P
    return epochs.tobytes()


def decode_epochs(content: bytes) -> History:
    """Epochs that follow one another in a row."""
    epochs = np.frombuffer(content, EPOCH)
    return History(*(epochs[name].copy() for name in ("time_mjd", "band", "flux_njy", "flux_error_njy")))


def decode_pixels(row: bytes | memoryview, key: str, alert_id: int | None = None) -> Pixels:
    """Pixels and scale of a row, copied out of it.

    Parameters
    ----------
    alert_id
        Whose row is wanted; None: whatever it is.

    Raises
    ------
    CorruptStoreError
        When the row is not as it was written, or another alert's.
    """
    start = front_bytes(row)
    return _decode_body(bytes(row[:start]), bytes(row[start:]), key, alert_id)


def decode_body(front: bytes, body: bytes, key: str, alert_id: int | None = None) -> Pixels:
    """As :func:`decode_pixels`, of a front and a body that are kept apart."""
    return _decode_body(front, body, key, alert_id)


def _decode_body(front: bytes, body: bytes, key: str, alert_id: int | None) -> Pixels:
    if not front_is_sound(front, key) or (alert_id is not None and order_of(front)[1] != alert_id):
        raise CorruptStoreError(f"{key} has a damaged observation: {_REMEDY}")
    (check,) = struct.unpack_from("<I", front, _BODY_CHECK_AT)
    channels, height, width = _SHAPE.unpack_from(front, _SHAPE_AT)
    if check != _digest(body, seed_of(key)) or len(body) != channels * (4 + 2 * height * width):
        raise CorruptStoreError(f"{key} has damaged pixels of alert {order_of(front)[1]}: {_REMEDY}")
    scale = np.frombuffer(body, "<f4", channels).copy()
    pixels = np.frombuffer(body, "<f2", -1, 4 * channels).reshape(channels, height, width).copy()
    return Pixels(pixels, scale)


def decode_observation(row: bytes | memoryview, key: str) -> Observation:
    """A whole row back into the observation that it came from (fluxes as float32), without its origin.

    Raises
    ------
    CorruptStoreError
        When the row is not as it was written.
    """
    pixels, scale = decode_pixels(row, key)
    fronts = join_fronts([bytes(row[: front_bytes(row)])])
    head = fronts.heads[0]
    return Observation(
        alert_id=int(head["alert_id"]),
        time_mjd=float(head["time_mjd"]),
        band=int(head["band"]),
        pixels=pixels,
        scale_njy=scale,
        history=fronts.epochs,
        metadata=PacketMetadata(int(head["layout"]), fronts.metadata_M) if len(fronts.metadata_M) else NO_METADATA,
        flux_njy=float(head["flux_njy"]),
        flux_error_njy=float(head["flux_error_njy"]),
        ra_deg=float(head["ra_deg"]),
        dec_deg=float(head["dec_deg"]),
        magnitude=float(head["magnitude"]),
        magnitude_error=float(head["magnitude_error"]),
        real_bogus=float(head["real_bogus"]),
    )


def place_of(front: bytes | memoryview) -> bytes | None:
    """12 bytes that name the topic and partition that brought a row; None where they are unknown."""
    place = bytes(front[SOURCE_SLICE])
    return None if place == _PLACE.pack(0, -1) else place


def place_name(topic: str, partition: int) -> bytes:
    """The 12 bytes of :func:`place_of`."""
    return _PLACE.pack(source_number(topic), partition)


def offset_of(front: bytes | memoryview) -> int:
    """Position of the message that brought a row; -1 where it is unknown."""
    return struct.unpack_from("<q", front, SOURCE_SLICE.stop)[0]


def offset_key(offset: int) -> bytes:
    """8 bytes that sort as the offset does."""
    return sortable_id(offset)


def encode_embedding(embedding: Embedding, key: str) -> bytes:
    """One row; see the module's docstring."""
    values = np.ascontiguousarray(embedding.values, "<f4")
    checked = _EMBEDDING.pack(values.ndim, embedding.tag) + struct.pack(f"<{values.ndim}I", *values.shape)
    checked += values.tobytes()
    return _EMBEDDING_CHECK.pack(ROW_VERSION, _digest(checked, seed_of(key))) + checked


def decode_embedding(row: bytes | memoryview, key: str) -> Embedding:
    """Embedding of a row, copied out of it.

    Raises
    ------
    CorruptStoreError
        When the row is not as it was written.
    """
    if len(row) < _EMBEDDING_CHECK.size + _EMBEDDING.size:
        raise CorruptStoreError(f"embedding of {len(row)} bytes, shorter than its head: {_REMEDY}")
    version, check = _EMBEDDING_CHECK.unpack_from(row)
    checked = bytes(row[_EMBEDDING_CHECK.size :])
    if version != ROW_VERSION or check != _digest(checked, seed_of(key)):
        raise CorruptStoreError(f"{key} has a damaged embedding (version {version}, {len(row)} bytes): {_REMEDY}")
    dimensions, tag = _EMBEDDING.unpack_from(checked)
    shape = struct.unpack_from(f"<{dimensions}I", checked, _EMBEDDING.size)
    values = np.frombuffer(checked, "<f4", -1, _EMBEDDING.size + 4 * dimensions)
    return Embedding(tag, values.reshape(shape).copy())


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """What is kept of an object besides its observations."""

    dropped: int = 0
    held: int = 0
    occupied_bytes: int = 0
    newest_mjd: float = -np.inf
    horizon: tuple[float, int] | None = None

    def encode(self, key: str) -> bytes:
        """One row; see the module's docstring."""
        time_mjd, alert_id = self.horizon or (0.0, 0)
        checked = _OBJECT.pack(self.dropped, self.held, self.occupied_bytes, self.newest_mjd, time_mjd, alert_id)
        has_horizon = self.horizon is not None
        check = _digest(bytes([has_horizon]) + checked, seed_of(key))
        return _OBJECT_CHECK.pack(ROW_VERSION, has_horizon, check) + checked

    @staticmethod
    def decode(row: bytes | memoryview, key: str) -> "ObjectRow":
        """Read a row; raises CorruptStoreError when it is not as it was written."""
        if len(row) != _OBJECT_CHECK.size + _OBJECT.size or row[0] != ROW_VERSION:
            raise CorruptStoreError(f"object row of version {row[0] if len(row) else None}: {_REMEDY}")
        _, has_horizon, check = _OBJECT_CHECK.unpack_from(row)
        checked = bytes(row[_OBJECT_CHECK.size :])
        if check != _digest(bytes([has_horizon]) + checked, seed_of(key)):
            raise CorruptStoreError(f"{key} has a damaged object row: {_REMEDY}")
        dropped, held, size, newest, time_mjd, alert_id = _OBJECT.unpack(checked)
        return ObjectRow(dropped, held, size, newest, (time_mjd, alert_id) if has_horizon else None)


def encode_totals(totals: Sequence[int]) -> bytes:
    """Objects, observations and bytes of a whole store as a row."""
    checked = _TOTALS.pack(*totals)
    return _TOTALS_CHECK.pack(ROW_VERSION, _digest(checked, 0)) + checked


def decode_totals(row: bytes | memoryview) -> list[int]:
    """The inverse of :func:`encode_totals`; raises CorruptStoreError when the row is not as it was written."""
    if len(row) != _TOTALS_CHECK.size + _TOTALS.size:
        raise CorruptStoreError(f"totals of {len(row)} bytes: {_REMEDY}")
    version, check = _TOTALS_CHECK.unpack_from(row)
    checked = bytes(row[_TOTALS_CHECK.size :])
    if version != ROW_VERSION or check != _digest(checked, 0):
        raise CorruptStoreError(f"damaged totals of version {version}: {_REMEDY}")
    return list(_TOTALS.unpack(checked))


def sortable_time(time_mjd: float) -> bytes:
    """8 bytes that sort as the time does."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", time_mjd + 0.0))  # + 0.0 turns -0.0 into 0.0
    return _TIME.pack(bits ^ (_ALL if bits & _SIGN else _SIGN))


def sortable_order(time_mjd: float, alert_id: int) -> bytes:
    """16 bytes that sort as (time, alert id) does."""
    return sortable_time(time_mjd) + sortable_id(alert_id)


def sortable_id(alert_id: int) -> bytes:
    """8 bytes that sort as the alert id does."""
    return _TIME.pack(alert_id + _SIGN)


def parse_id(sortable: bytes) -> int:
    """The inverse of :func:`sortable_id`."""
    return _TIME.unpack(sortable)[0] - _SIGN


def parse_order(sortable: bytes) -> tuple[float, int]:
    """The inverse of :func:`sortable_order`."""
    time_bits, number = _ORDER.unpack(sortable)
    bits = time_bits ^ (_SIGN if time_bits & _SIGN else _ALL)
    return struct.unpack("<d", struct.pack("<Q", bits))[0], number - _SIGN


def object_prefix(key: str) -> bytes:
    """The object's key with its length first, so that no object's rows begin as another's do."""
    encoded = key.encode()
    if not 0 < len(encoded) <= LONGEST_KEY_BYTES:
        raise ValueError(f"object key of {len(encoded)} bytes; 1 to {LONGEST_KEY_BYTES} allowed")
    return bytes([len(encoded)]) + encoded


def key_of(prefix: bytes) -> str:
    """The inverse of :func:`object_prefix`; raises CorruptStoreError when it is none."""
    if not prefix or len(prefix) != 1 + prefix[0]:
        raise CorruptStoreError(f"object key {prefix[:20]!r} of {len(prefix)} bytes: {_REMEDY}")
    try:
        return prefix[1:].decode()
    except UnicodeDecodeError as error:
        raise CorruptStoreError(f"object key {prefix[:20]!r}: {_REMEDY}") from error


def rank_key(rank: int) -> bytes:
    """4 bytes that sort as the rank does."""
    return _RANK.pack(rank)


def rank_of(key: bytes | memoryview) -> int:
    """The rank at the end of an embedding's key."""
    return _RANK.unpack(key[-_RANK.size :])[0]


def group_tag(model: str, alert_ids: NDArray[np.int64]) -> bytes:
    """Digest of what an embedding was computed from: a late frame or another model gives another tag."""
    digest = hashlib.blake2b(model.encode(), digest_size=TAG_BYTES)
    digest.update(b"\0" + np.ascontiguousarray(alert_ids, "<i8").tobytes())
    return digest.digest()
