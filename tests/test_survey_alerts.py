"""Simulated alerts that stand in for real ones: every version of the schemas, read as sent."""

from pathlib import Path

import pytest
from survey_alerts import LSST_VERSIONS, ZTF_LACKS, SurveyAlerts, write_stand_in

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.records import Alert, Message, Origin


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> SurveyAlerts:
    """The stand-in, also where real alerts are."""
    return write_stand_in(tmp_path_factory.mktemp("stand-in"))


def test_every_version_of_the_schemas_is_there(stand_in: SurveyAlerts) -> None:
    """ZTF from 1.8 to 4.02 and LSST from 7.0 to 11.1, framed and bare, in a few megabytes."""
    assert {row["schemavsn"] for row in stand_in.rows("manifest_ztf.csv")} == set(ZTF_LACKS)
    assert {row["schema"] for row in stand_in.rows("manifest_lsst.csv")} == {f"{a}.{b}" for a, b in LSST_VERSIONS}
    assert sum(file.stat().st_size for file in stand_in.folder.rglob("*") if file.is_file()) < 8_000_000


@pytest.mark.parametrize(("manifest", "column"), [("manifest_ztf.csv", "candid"), ("manifest_lsst.csv", "diaSourceId")])
def test_every_alert_is_read(stand_in: SurveyAlerts, manifest: str, column: str) -> None:
    """Each is an alert with the id of its manifest, whatever its version."""
    schemas = Schemas(bare_schema=stand_in.bare_schema)
    for row in stand_in.rows(manifest):
        path: Path = stand_in.folder / row["file"]
        (alert,) = read_alerts(Message(path.read_bytes(), Origin(row["file"])), schemas)
        assert isinstance(alert, Alert), (row["file"], alert)
        assert alert.alert_id == int(row[column])
