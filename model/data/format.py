"""The columns and file names of a data set on disk, and what is wrong with one; knows neither reader nor writer.

Legend: ``T`` frames of one object, ``P`` epochs without stamp, ``C`` image channels, ``H W`` pixels.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from model.json_text import parse_json
from model.taxonomy import CLASS_NAME

FORMAT = "ictc-dataset-1"
MANIFEST = "manifest.json"
TRUTH = "truth.parquet"
FRAME_COLUMNS = {"band": "band_T", "time": "time_T", "flux": "flux_T", "flux_error": "flux_error_T"}
HISTORY_COLUMNS = {
    "history_band": "band_P",
    "history_time": "time_P",
    "history_flux": "flux_P",
    "history_flux_error": "flux_error_P",
}

SCHEMA = pa.schema(
    [
        pa.field("object_id", pa.int64(), nullable=False),
        pa.field("label", pa.int16(), nullable=False),  # index in the manifest's classes
        pa.field("split", pa.string(), nullable=False),
        pa.field("fold", pa.int8(), nullable=False),  # -1: in no fold
        pa.field("band", pa.large_list(pa.int8()), nullable=False),  # [T] index in model.series.BANDS
        pa.field("time", pa.large_list(pa.float64()), nullable=False),  # [T] days since the first frame
        pa.field("flux", pa.large_list(pa.float32()), nullable=False),  # [T] nJy
        pa.field("flux_error", pa.large_list(pa.float32()), nullable=False),  # [T] nJy
        pa.field("scale", pa.large_list(pa.float32()), nullable=False),  # [T*C] nJy per pixel
        pa.field("pixels", pa.large_list(pa.float16()), nullable=False),  # [T*C*H*W] in units of scale
    ]
)
# Of alert streams: what packets tell of visits without a stamp (model.past_photometry).
# Times count from the first frame too.
SCHEMA_WITH_HISTORY = pa.schema(
    [
        *SCHEMA,
        pa.field("history_band", pa.large_list(pa.int8()), nullable=False),  # [P]
        pa.field("history_time", pa.large_list(pa.float64()), nullable=False),  # [P] days
        pa.field("history_flux", pa.large_list(pa.float32()), nullable=False),  # [P] nJy
        pa.field("history_flux_error", pa.large_list(pa.float32()), nullable=False),  # [P] nJy
    ]
)


class Head(BaseModel):
    """What a manifest says of every object: the writer begins by it, a reader relies on it."""

    model_config = ConfigDict(strict=True)
    survey: Literal["sdss", "ztf", "lsst"]
    channels: Annotated[list[str], Field(min_length=1)]
    size_px: Annotated[int, Field(ge=1)]
    classes: Annotated[list[Annotated[str, Field(pattern=CLASS_NAME)]], Field(min_length=1)]


class DatasetError(Exception):
    """A folder is no whole data set, or cannot become one; the message says which, where and what to do."""


def read_json(path: Path, fault: str) -> Any:
    """What a file of JSON holds.

    Raises
    ------
    DatasetError
        When it cannot be read, or is none: then with these words for it.
    """
    try:
        return parse_json(path.read_bytes())
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise DatasetError(f"{path} {fault}: {exc}") from exc


def shard_name(index: int) -> str:
    return f"series-{index:05d}.arrow"
