"""Rows of store version 2 as rows of version 3, with what version 2 did not know left unknown. Knows no storage engine.

observation  version u8, settled u8, band i8, C u8, H u16, W u16, alert id i64, time f64, flux f32, error f32, P u16,
             EPOCH[P], scale float32[C], pixels float16[C, H, W]
embedding    version u8, dimensions u8, tag 16 bytes, shape u32[dimensions], values float32
object       version u8, has_horizon u8, dropped u32, held u32, bytes u64, newest f64, horizon time f64, horizon id i64
"""

import struct

import numpy as np

from broker_filter.records import Observation
from broker_filter.series.rows import (
    EPOCH,
    TAG_BYTES,
    ObjectRow,
    decode_epochs,
    encode_embedding,
    encode_observation,
)
from broker_filter.series.store import CorruptStoreError, Embedding
from model.past_photometry import NO_HISTORY

VERSION = 2
_HEAD = struct.Struct("<BBbBHHqdffH")
_EMBEDDING = struct.Struct(f"<BB{TAG_BYTES}s")
_TOTALS = struct.Struct("<qqq")
_OBJECT = struct.Struct("<BBIIQddq")
Row = bytes | memoryview


def totals_of(row: Row) -> tuple[int, ...]:
    """Objects, observations and bytes of a store of version 2; raises CorruptStoreError when the row is none."""
    if len(row) != _TOTALS.size:
        raise CorruptStoreError(f"totals of {len(row)} bytes")
    return _TOTALS.unpack(row)


def observation_of(row: Row, key: str) -> bytes:
    """The row of an observation in version 3; raises CorruptStoreError when its length is not what it says."""
    if len(row) < _HEAD.size:
        raise CorruptStoreError(f"{key} has an observation of {len(row)} bytes, shorter than its head")
    version, settled, band, channels, height, width, alert_id, time_mjd, flux, error, epochs = _HEAD.unpack_from(row)
    front = _HEAD.size + EPOCH.itemsize * epochs
    if version != VERSION or settled > 1 or len(row) != front + channels * (4 + 2 * height * width):
        raise CorruptStoreError(f"{key} has an observation of version {version} and {len(row)} bytes")
    pixels = np.frombuffer(row, "<f2", -1, front + 4 * channels).reshape(channels, height, width)
    scale = np.frombuffer(row, "<f4", channels, front)
    history = decode_epochs(bytes(row[_HEAD.size : front])) if epochs else NO_HISTORY
    observation = Observation(alert_id, time_mjd, band, flux, error, pixels, scale, history)
    return encode_observation(observation, bool(settled), key)


def embedding_of(row: Row, key: str) -> bytes:
    """The row of an embedding in version 3; raises CorruptStoreError when its length is not what it says."""
    if len(row) < _EMBEDDING.size:
        raise CorruptStoreError(f"{key} has an embedding of {len(row)} bytes, shorter than its head")
    version, dimensions, tag = _EMBEDDING.unpack_from(row)
    start = _EMBEDDING.size + 4 * dimensions
    if version != VERSION or len(row) < start or (len(row) - start) % 4:
        raise CorruptStoreError(f"{key} has an embedding of version {version} and {len(row)} bytes")
    shape, values = struct.unpack_from(f"<{dimensions}I", row, _EMBEDDING.size), np.frombuffer(row, "<f4", -1, start)
    if values.size != np.prod(shape, dtype=np.int64):
        raise CorruptStoreError(f"{key} has an embedding of shape {shape} in {len(row)} bytes")
    return encode_embedding(Embedding(tag, values.reshape(shape)), key)


def object_of(row: Row, key: str) -> ObjectRow:
    """What version 2 keeps of an object; raises CorruptStoreError when it is not a row of version 2."""
    if len(row) != _OBJECT.size or row[0] != VERSION:
        raise CorruptStoreError(f"{key} has an object row of version {row[0] if len(row) else None}")
    _, has_horizon, dropped, held, size, newest, time_mjd, alert_id = _OBJECT.unpack(row)
    return ObjectRow(dropped, held, size, newest, (time_mjd, alert_id) if has_horizon else None)
