"""Queries of the index: filters, a cone, an order and a page, checked before anything is searched."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker_filter.web.alert_ids import ALERT_IDS, ALERT_LIMIT, ids_of

PAGE_LIMIT, PAGE_SIZE = 500, 50
LONGEST_ID = 200
LARGEST_COUNT = 2**63 - 1  # that the index can compare
LARGEST_RADIUS_ARCSEC = 10 * 3600.0
HALF_DEGREE = math.radians(0.5)
ROUNDING = 1e-9  # what is on the edge of a cone is within
SEPARATED = (
    f"sin((dec_deg - ?) * {HALF_DEGREE}) * sin((dec_deg - ?) * {HALF_DEGREE}) + "
    f"cos(dec_deg * {2 * HALF_DEGREE}) * ? * sin((ra_deg - ?) * {HALF_DEGREE}) * sin((ra_deg - ?) * {HALF_DEGREE}) <= ?"
)
NEW_DAYS = 3.0  # an object is new while its light curve is younger
ORDERS = {
    "seen": "seen_ms DESC, id DESC",
    "probability": "probability DESC, id DESC",
    "unknown": "unknown_score DESC, id DESC",
    "magnitude": "magnitude ASC, id DESC",
    "alerts": "alert_count DESC, id DESC",
}


class AlertQuery(BaseModel):
    """Alerts by the survey's ids."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    ids: Annotated[str, Field(pattern=ALERT_IDS, description=f"up to {ALERT_LIMIT}, commas between them")]

    @property
    def alert_ids(self) -> list[int]:
        """The ids; those beyond 64 bits are nobody's."""
        return ids_of(self.ids)


class ObjectQuery(BaseModel):
    """Filters of objects; all that are given must hold."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    id: Annotated[str, Field(max_length=LONGEST_ID, description="beginning of the object's id")] = ""
    survey: Literal["", "ztf", "lsst"] = ""
    best: Annotated[str, Field(max_length=32, alias="class", description="most probable class")] = ""
    min_probability: Annotated[float, Field(ge=0, le=1, description="of that class")] = 0.0
    min_unknown: Annotated[float | None, Field(description="unknown score at least")] = None
    max_age: Annotated[float | None, Field(ge=0, description="days since the first detection at most")] = None
    max_magnitude: Annotated[float | None, Field(description="AB magnitude of the newest alert at most")] = None
    min_alerts: Annotated[int, Field(ge=0, le=LARGEST_COUNT, description="alerts at least")] = 0
    changed: Annotated[bool, Field(description="the most probable class has changed at least once")] = False
    ra: Annotated[float | None, Field(ge=0, lt=360, description="of a cone's centre, degrees")] = None
    dec: Annotated[float | None, Field(ge=-90, le=90, description="of a cone's centre, degrees")] = None
    radius: Annotated[float, Field(gt=0, le=LARGEST_RADIUS_ARCSEC, description="of the cone, arcsec")] = 5.0
    order: Literal["seen", "probability", "unknown", "magnitude", "alerts"] = "seen"
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT, description="objects of a page")] = PAGE_SIZE
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="objects before the page")] = 0

    @model_validator(mode="after")
    def _whole_position(self) -> "ObjectQuery":
        if (self.ra is None) != (self.dec is None):
            raise ValueError("a cone needs ra and dec")
        return self

    def condition(self) -> tuple[str, list[object]]:
        """The filters as a condition in SQL, with its values."""
        terms: list[tuple[str, tuple[object, ...]]] = []
        if self.id:
            terms.append(("substr(object_id, 1, ?) = ?", (len(self.id), self.id)))
        if self.survey:
            terms.append(("survey = ?", (self.survey,)))
        if self.best:
            terms.append(("best = ?", (self.best,)))
        if self.min_probability > 0:
            terms.append(("probability >= ?", (self.min_probability,)))
        if self.min_unknown is not None:
            terms.append(("unknown_score >= ?", (self.min_unknown,)))
        if self.max_age is not None:
            terms.append(("age_days <= ?", (self.max_age,)))
        if self.max_magnitude is not None:
            terms.append(("magnitude <= ?", (self.max_magnitude,)))
        if self.min_alerts:
            terms.append(("alert_count >= ?", (self.min_alerts,)))
        if self.changed:
            terms.append(("changes > 0", ()))
        terms += self._cone()
        where = " AND ".join(term for term, _ in terms) or "1"
        return where, [value for _, values in terms for value in values]

    def _cone(self) -> list[tuple[str, tuple[object, ...]]]:
        """A band of declination, which has an index, then the angle itself: haversines, which SQLite computes.

        They do so without the interpreter's lock, for which the stream would wait.
        """
        if self.ra is None or self.dec is None:
            return []
        radius_deg = self.radius / 3600.0
        band = (self.dec - radius_deg, self.dec + radius_deg)
        haversine = math.sin(HALF_DEGREE * radius_deg) ** 2 * (1.0 + ROUNDING)
        return [
            ("dec_deg BETWEEN ? AND ?", band),
            (SEPARATED, (self.dec, self.dec, math.cos(2 * HALF_DEGREE * self.dec), self.ra, self.ra, haversine)),
        ]

    @property
    def order_in_sql(self) -> str:
        """The order in SQL."""
        return ORDERS[self.order]
