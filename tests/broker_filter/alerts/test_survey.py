"""Which survey's packet a schema describes."""

import pytest
from packets import lsst_schema, ztf_schema

from broker_filter.alerts.survey import LSST, SURVEYS, ZTF, night_of, recognise
from broker_filter.avro.parse import parse_tree
from broker_filter.records import STAMP_KINDS


@pytest.mark.parametrize("schemavsn", ["1.8", "3.3", "4.02"])
def test_ztf(schemavsn):
    """ZTF's packets are recognised in every version."""
    assert recognise(parse_tree(ztf_schema(schemavsn))) is ZTF


def test_lsst():
    """LSST's packets are recognised by their fields."""
    assert recognise(parse_tree(lsst_schema())) is LSST


def test_names_do_not_matter():
    """A packet that a broker publishes again under a name of its own is still the survey's."""
    schema = ztf_schema() | {"name": "topLevelRecord"}
    del schema["namespace"]
    schema["fields"][-1]["type"] = schema["fields"][-2]["type"] = ["null", "ztf.alert.cutout"]
    assert recognise(parse_tree(schema)) is ZTF


@pytest.mark.parametrize("missing", ["candid", "candidate", "cutoutTemplate"])
def test_foreign(missing):
    """A packet that lacks what ZTF's must have is nobody's, though the rest looks like ZTF."""
    schema = ztf_schema()
    if missing == "cutoutTemplate":
        schema["fields"][-2]["type"] = "bytes"  # as DECam, PGIR and WINTER have it
    else:
        schema["fields"] = [field for field in schema["fields"] if field["name"] != missing]
    assert recognise(parse_tree(schema)) is None
    assert recognise(parse_tree("bytes")) is None
    assert recognise(parse_tree({"type": "map", "values": "long"})) is None


@pytest.mark.parametrize("survey", SURVEYS.values())
def test_facts(survey):
    """Every survey names the field of each kind of stamp, and wants what it marks itself by."""
    assert set(survey.stamp_fields) == set(STAMP_KINDS)
    assert set(survey.stamp_fields.values()) <= set(survey.wanted)
    assert {path[0] for path in survey.marks} <= set(survey.wanted)


@pytest.mark.parametrize(
    ("survey", "hours", "night"),
    [
        ("ztf", 2.5, 60_000),
        ("ztf", 13.5, 60_000),
        ("ztf", 21.0, 60_001),
        ("lsst", 22.5 - 24, 60_000),
        ("lsst", 10.0, 60_000),
    ],
)
def test_a_night_has_one_number_from_dusk_to_dawn(survey: str, hours: float, night: int) -> None:
    """All of a night at the telescope, on whichever UTC dates, has the number of its midnight's."""
    assert night_of(survey, 60_000 + hours / 24) == night
