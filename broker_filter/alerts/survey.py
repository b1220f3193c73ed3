"""Facts of the surveys, and which survey a parsed schema belongs to.

Facts only: what fields are called, what pixels mean. A survey is recognised by what its packets must have, not by its
name, because brokers re-publish packets under names of their own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from broker_filter.avro.columns import Columns
from broker_filter.avro.projection import Schema, Wanted
from model.clock import SECONDS_PER_DAY, TAI_MINUS_UTC_S
from model.series import BANDS

HOURS_PER_DAY = 24.0
LAST_NIGHT = (1 << 31) - 1  # what an integer of the published record holds
_FITS_RECORD: Wanted = {"stampData": None}


@dataclass(frozen=True, slots=True)
class AlertSurvey:
    """A survey that sends alerts: what its packets are called and mean, where they differ from another one's."""

    name: str
    arcsec_per_pixel: float
    stamp_fields: Mapping[str, str]  # kind of stamp -> field of the packet
    stamps_are_records: bool  # the field is a record with the bytes in ``stampData``
    pixels_are_gzipped: bool
    pixels_are_njy: bool  # else DN, of which the packet gives the zero point
    largest_side: int  # pixels; a stamp with a longer side is refused
    noon_utc_h: float  # local noon of the telescope, at which its nights are parted
    side: int | None  # pixels of a whole stamp; less means that the edge of the detector cut it; None: sides vary
    marks: tuple[tuple[str, ...], ...]  # paths of fields without which a schema is not this survey's
    wanted: Wanted  # fields of an alert
    history: Wanted  # lists of epochs that a network reads of the light curve that a packet carries
    forced: Wanted  # further lists, for people
    withdrawals: Wanted  # a list that tells which sources were taken back: whether any was ...
    withdrawn: Wanted  # ... and which, read of packets where one was


_STAMP_FIELDS = {"science": "cutoutScience", "template": "cutoutTemplate", "difference": "cutoutDifference"}

ZTF_BANDS = {1: BANDS.index("g"), 2: BANDS.index("r"), 3: BANDS.index("i")}  # by fid
ZTF_NEGATIVE = {"t": 0, "T": 0, "1": 0, "f": 1, "F": 1, "0": 1}  # by isdiffpos

ZTF = AlertSurvey(
    name="ztf",
    arcsec_per_pixel=1.01,
    stamp_fields=_STAMP_FIELDS,
    stamps_are_records=True,
    pixels_are_gzipped=True,
    pixels_are_njy=False,
    largest_side=127,
    noon_utc_h=19.8,  # Palomar, 116.9° W
    side=63,
    marks=(
        ("candid",),
        ("candidate", "jd"),
        ("candidate", "fid"),
        ("candidate", "magpsf"),
        ("candidate", "isdiffpos"),
        ("cutoutScience", "stampData"),
        ("cutoutTemplate", "stampData"),
        ("cutoutDifference", "stampData"),
    ),
    wanted={
        "schemavsn": None,
        "objectId": None,
        "candid": None,
        "candidate": dict.fromkeys(
            (
                *("jd", "fid", "ra", "dec", "magpsf", "sigmapsf", "isdiffpos"),
                *("xpos", "ypos", "rb", "drb", "magzpsci", "ssdistnr", "ssmagnr", "ssnamenr"),
            )
        ),
        **dict.fromkeys(_STAMP_FIELDS.values(), _FITS_RECORD),
    },
    history={
        "prv_candidates": Columns(
            ("jd", "magpsf", "sigmapsf", "diffmaglim"), {"fid": ZTF_BANDS, "isdiffpos": ZTF_NEGATIVE}
        )
    },
    forced={"fp_hists": Columns(("jd", "forcediffimflux", "forcediffimfluxunc", "magzpsci"), {"fid": ZTF_BANDS})},
    withdrawals={},
    withdrawn={},
)

# Set where the flux of the point source could not be measured. The first is set wherever one of the others is.
LSST_FLUX_FLAGS = ("psfFlux_flag", "psfFlux_flag_edge", "psfFlux_flag_noGoodPixels")
LSST_FLAGGED = {False: 0, True: 1}

LSST = AlertSurvey(
    name="lsst",
    arcsec_per_pixel=0.2,
    stamp_fields=_STAMP_FIELDS,
    stamps_are_records=False,
    pixels_are_gzipped=False,
    pixels_are_njy=True,
    largest_side=512,
    noon_utc_h=16.7,  # Cerro Pachón, 70.7° W
    side=None,  # 30 to 102
    marks=(
        ("diaSource", "diaSourceId"),
        ("diaSource", "midpointMjdTai"),
        ("diaSource", "band"),
        ("diaSource", "psfFlux"),
        ("diaObject", "diaObjectId"),
        ("cutoutScience",),
        ("cutoutTemplate",),
        ("cutoutDifference",),
    ),
    wanted={
        "lsst_schema_version": None,
        "diaSource": dict.fromkeys(
            (
                *("diaSourceId", "diaObjectId", "ssObjectId", "midpointMjdTai", "band"),
                *("ra", "dec", "psfFlux", "psfFluxErr", "reliability", "timeWithdrawnMjdTai", *LSST_FLUX_FLAGS),
            )
        ),
        "diaObject": {"diaObjectId": None},
        "ssSource": dict.fromkeys(("ssObjectId", "designation", "ephOffset", "ephVmag", "predictedVMagnitude")),
        "ssObject": {"ssObjectId": None},
        **dict.fromkeys(_STAMP_FIELDS.values()),
    },
    history=dict.fromkeys(
        ("prvDiaSources", "prvDiaForcedSources"),
        Columns(
            ("midpointMjdTai", "psfFlux", "psfFluxErr", "timeWithdrawnMjdTai"),
            {"band": {band: index for index, band in enumerate(BANDS)}, LSST_FLUX_FLAGS[0]: LSST_FLAGGED},
        ),
    ),
    forced={},
    withdrawals={"prvDiaSources": Columns(("timeWithdrawnMjdTai",))},
    withdrawn={
        "prvDiaSources": dict.fromkeys(("diaSourceId", "midpointMjdTai", "band", "psfFlux", "timeWithdrawnMjdTai"))
    },
)

SURVEYS: Mapping[str, AlertSurvey] = {survey.name: survey for survey in (ZTF, LSST)}


def night_of(survey: str, time_mjd: float) -> int | None:
    """The night of a time (TAI) at a survey's telescope: the MJD (UTC), in whole days, of its local midnight.

    None of a time that no telescope has seen and a packet may tell all the same.
    """
    time_utc = time_mjd - TAI_MINUS_UTC_S / SECONDS_PER_DAY
    night = math.floor(time_utc + 1.0 - SURVEYS[survey].noon_utc_h / HOURS_PER_DAY)
    return night if night <= LAST_NIGHT else None


def recognise(schema: Schema) -> AlertSurvey | None:
    """Return the survey whose marks the schema has, or None."""
    for survey in SURVEYS.values():
        if all(schema.field(*path) is not None for path in survey.marks):
            return survey
    return None
