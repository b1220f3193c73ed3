"""Schema of a recipe's file, as types that check themselves; knows no survey's facts and draws nothing."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_OBJECTS = 10_000_000  # of one data set: its plan is held in memory
SMALLEST_PX, LARGEST_PX = 7, 256  # side of a stamp: less holds no star and its background
MOST_FOLDS = 127
MOST_FRAMES = 10_000
TOLD_AT_ONCE = 3
SHOWN = 60  # characters of a wrong value

Name = Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=64)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
SizePx = Annotated[int, Field(ge=SMALLEST_PX, le=LARGEST_PX)]


class _StrictTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Stamps(_StrictTable):
    """Images of one survey."""

    channels: Annotated[list[Literal["science", "template", "difference"]], Field(min_length=1)]
    size_px: SizePx


class GroupTable(_StrictTable):
    """Objects of one split."""

    split: Name
    labels: Literal["spectroscopic", "photometric"]
    mode: Literal["survey", "physical", "sdss_label", "deconfounded"] | None = None
    counts: dict[str, Annotated[int, Field(ge=0, le=MOST_OBJECTS)]]


class Folds(_StrictTable):
    """Which splits are dealt out to how many folds."""

    count: Annotated[int, Field(ge=2, le=MOST_FOLDS)]
    splits: Annotated[list[Name], Field(min_length=1)]


class Part(_StrictTable):
    """One population behind a photometric label."""

    share: Probability
    truth: Annotated[dict[str, Probability], Field(min_length=1)]


Survey = Literal["sdss", "ztf", "lsst"]


class RecipeTable(_StrictTable):
    """The whole file."""

    name: Name
    about: str
    level: Annotated[int, Field(ge=0, le=4)]
    frames_at_most: Annotated[int, Field(ge=1, le=MOST_FRAMES)]
    stamps: Annotated[dict[Survey, Stamps], Field(min_length=1)]
    groups: Annotated[list[GroupTable], Field(min_length=1)]
    folds: Folds | None
    photometric_labels: dict[str, Annotated[list[Part], Field(min_length=1)]] = {}
    bands: dict[Survey, Annotated[str, Field(min_length=1)]] = {}
    classes: Annotated[list[str], Field(min_length=1)] | None = None


def what_is_wrong(error: ValidationError) -> str:
    """The first few faults as ``where is VALUE: what is allowed``."""
    faults = error.errors(include_url=False)
    listed = [_fault(fault["loc"], fault["type"], fault["msg"], fault["input"]) for fault in faults[:TOLD_AT_ONCE]]
    more = [f"and {len(faults) - TOLD_AT_ONCE} more"] if len(faults) > TOLD_AT_ONCE else []
    return "; ".join(listed + more)


def _fault(location: Sequence[int | str], kind: str, message: str, value: Any) -> str:
    where = ".".join(str(step) for step in location if step != "[key]") or "it"
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        return f"{where} is an unknown key"
    if kind in ("model_type", "dict_type"):
        return f"{where} is of type {type(value).__name__}, not an object"
    shown = repr(value)
    if len(shown) > SHOWN:
        shown = shown[:SHOWN] + "…"
    return f"{where} is {shown}: {message[0].lower()}{message[1:]}"
