"""The bytes of a stored observation, embedding and object: values in, rows out, and back. Knows no storage engine.

Little-endian, packed, one version byte first; sort keys are big-endian.

observation  HEAD (34 bytes: version, settled, band, C, H, W, alert id, time, flux, error, P), of the P epochs of which
             its packet tells EPOCH[P] (17 bytes: time, flux, error, band), scale float32[C], pixels float16[C, H, W];
             HEAD and epochs are the front, which every update reads
embedding    version u8, dimensions u8, tag 16 bytes, shape u32[dimensions], values float32
object       version u8, has_horizon u8, dropped u32, held u32, bytes u64, newest f64, horizon time f64, horizon id i64
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker_filter.records import LONGEST_KEY_BYTES, Observation
from broker_filter.series.store import HEAD, CorruptStoreError, Embedding, Pixels
from model.past_photometry import NO_HISTORY, History

ROW_VERSION = 2
TAG_BYTES = 16
_HEAD = struct.Struct("<BBbBHHqdffH")
_EMBEDDING = struct.Struct(f"<BB{TAG_BYTES}s")
_OBJECT = struct.Struct("<BBIIQddq")
_ORDER = struct.Struct(">QQ")
_RANK = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_REMEDY = "the store is damaged or of another version: rebuild it from an archive with ictc-replay --store"

EPOCH = np.dtype([("time_mjd", "<f8"), ("flux_njy", "<f4"), ("flux_error_njy", "<f4"), ("band", "i1")])
_COUNT = struct.Struct("<H")
_COUNT_AT = _HEAD.size - _COUNT.size

assert _HEAD.size == HEAD.itemsize


def encode_observation(observation: Observation, settled: bool) -> bytes:
    """One row; see the module's docstring."""
    return encode_front(observation, settled) + encode_body(observation)


def encode_body(observation: Observation) -> bytes:
    """What follows the front of a row: scale and pixels."""
    scale, pixels = np.ascontiguousarray(observation.scale_njy, "<f4"), np.ascontiguousarray(observation.pixels, "<f2")
    return scale.tobytes() + pixels.tobytes()


def encode_front(observation: Observation, settled: bool) -> bytes:
    """The head and the history of a row."""
    head = _HEAD.pack(
        ROW_VERSION,
        settled,
        observation.band,
        *observation.pixels.shape,
        observation.alert_id,
        observation.time_mjd,
        observation.flux_njy,
        observation.flux_error_njy,
        len(observation.history),
    )
    return head + (_encode_epochs(observation.history) if len(observation.history) else b"")


def front_bytes(row: bytes | memoryview) -> int:
    """How many bytes of a row are its head and history, as its head says."""
    count = _COUNT.unpack_from(row, _COUNT_AT)[0] if len(row) >= HEAD.itemsize else 0
    return HEAD.itemsize + EPOCH.itemsize * count


def decode_fronts(fronts: Sequence[bytes]) -> tuple[NDArray, History]:
    """Heads [T] of HEAD, in order, from the first bytes of rows; and the epochs of which they tell, in the same order.

    The heads can be written to.

    Raises
    ------
    CorruptStoreError
        When a front is cut off, goes on behind its end, or is of another version.
    """
    heads = decode_heads(front[: HEAD.itemsize] for front in fronts)
    sizes = [HEAD.itemsize + EPOCH.itemsize * count for count in heads["history"].tolist()]
    if sizes != (found := [len(front) for front in fronts]):
        raise CorruptStoreError(f"heads and epochs of {found} bytes, {sizes} expected: {_REMEDY}")
    order = np.lexsort((heads["alert_id"], heads["time_mjd"]))
    heads = heads[order]
    if not heads["history"].any():
        return heads, NO_HISTORY
    return heads, _decode_epochs(b"".join([fronts[n][HEAD.itemsize :] for n in order.tolist()]))


def _encode_epochs(history: History) -> bytes:
    epochs = np.empty(len(history), EPOCH)
    epochs["time_mjd"], epochs["band"] = history.time_P, history.band_P
    epochs["flux_njy"], epochs["flux_error_njy"] = history.flux_P, history.flux_error_P
    return epochs.tobytes()


def _decode_epochs(content: bytes) -> History:
    epochs = np.frombuffer(content, EPOCH)
    return History(*(epochs[name].copy() for name in ("time_mjd", "band", "flux_njy", "flux_error_njy")))


def decode_heads(heads: Iterable[bytes]) -> NDArray:
    """Heads [T] of HEAD from the first bytes of rows; the result can be written to.

    Raises
    ------
    CorruptStoreError
        When a head is cut off or of another version.
    """
    joined = bytearray().join(heads)
    if len(joined) % HEAD.itemsize:
        raise CorruptStoreError(f"heads of {len(joined)} bytes, a multiple of {HEAD.itemsize} expected: {_REMEDY}")
    decoded = np.frombuffer(joined, HEAD)
    if decoded.size and not (decoded["version"] == ROW_VERSION).all():
        raise CorruptStoreError(f"observation of version {decoded['version'].max()}, not {ROW_VERSION}: {_REMEDY}")
    return decoded


def decode_pixels(row: bytes | memoryview) -> Pixels:
    """Pixels and scale of a row, copied out of it.

    Raises
    ------
    CorruptStoreError
        When the row's length is not what its head says.
    """
    if len(row) < _HEAD.size:
        raise CorruptStoreError(f"observation of {len(row)} bytes, shorter than its head of {_HEAD.size}: {_REMEDY}")
    version, _, _, channels, height, width, *_ = _HEAD.unpack_from(row)
    start = front_bytes(row)
    expected = start + channels * (4 + 2 * height * width)
    if version != ROW_VERSION or len(row) != expected:
        raise CorruptStoreError(
            f"observation of version {version} and {len(row)} bytes; {ROW_VERSION} and {expected} expected: {_REMEDY}"
        )
    scale = np.frombuffer(row, "<f4", channels, start).copy()
    pixels = np.frombuffer(row, "<f2", -1, start + 4 * channels).reshape(channels, height, width).copy()
    return Pixels(pixels, scale)


def decode_observation(row: bytes | memoryview) -> Observation:
    """A whole row back into the observation that it came from (fluxes as float32)."""
    pixels, scale = decode_pixels(row)
    _, _, band, _, _, _, alert_id, time_mjd, flux, flux_error, count = _HEAD.unpack_from(row)
    history = _decode_epochs(bytes(row[HEAD.itemsize : front_bytes(row)])) if count else NO_HISTORY
    return Observation(alert_id, time_mjd, band, flux, flux_error, pixels, scale, history)


def encode_embedding(embedding: Embedding) -> bytes:
    """One row; see the module's docstring."""
    values = np.ascontiguousarray(embedding.values, "<f4")
    shape = struct.pack(f"<{values.ndim}I", *values.shape)
    return _EMBEDDING.pack(ROW_VERSION, values.ndim, embedding.tag) + shape + values.tobytes()


def decode_embedding(row: bytes | memoryview) -> Embedding:
    """Embedding of a row, copied out of it.

    Raises
    ------
    CorruptStoreError
        When the row's length is not what it says.
    """
    if len(row) < _EMBEDDING.size:
        raise CorruptStoreError(f"embedding of {len(row)} bytes, shorter than its head: {_REMEDY}")
    version, dimensions, tag = _EMBEDDING.unpack_from(row)
    start = _EMBEDDING.size + 4 * dimensions
    if version != ROW_VERSION or len(row) < start:
        raise CorruptStoreError(f"embedding of version {version}, not {ROW_VERSION}: {_REMEDY}")
    shape = struct.unpack_from(f"<{dimensions}I", row, _EMBEDDING.size)
    values = np.frombuffer(row, "<f4", -1, start) if (len(row) - start) % 4 == 0 else np.empty(0, "<f4")
    if values.size != np.prod(shape, dtype=np.int64):
        raise CorruptStoreError(f"embedding of shape {shape} in {len(row)} bytes: {_REMEDY}")
    return Embedding(tag, values.reshape(shape).copy())


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """What is kept of an object besides its observations."""

    dropped: int = 0
    held: int = 0
    occupied_bytes: int = 0
    newest_mjd: float = -np.inf
    horizon: tuple[float, int] | None = None

    def encode(self) -> bytes:
        """One row; see the module's docstring."""
        time_mjd, alert_id = self.horizon or (0.0, 0)
        return _OBJECT.pack(
            ROW_VERSION,
            self.horizon is not None,
            self.dropped,
            self.held,
            self.occupied_bytes,
            self.newest_mjd,
            time_mjd,
            alert_id,
        )

    @staticmethod
    def decode(row: bytes | memoryview) -> "ObjectRow":
        """Read a row; raises CorruptStoreError when it is of another length or version."""
        if len(row) != _OBJECT.size or row[0] != ROW_VERSION:
            raise CorruptStoreError(f"object row of version {row[0] if len(row) else None}: {_REMEDY}")
        _, has_horizon, dropped, held, size, newest, time_mjd, alert_id = _OBJECT.unpack(row)
        return ObjectRow(dropped, held, size, newest, (time_mjd, alert_id) if has_horizon else None)


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
