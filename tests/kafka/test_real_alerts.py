"""Real alerts through the broker and through the replay: the same accounts, the same classifications."""

import orjson
from nights import assert_equal, last_of_each

from broker_filter.alerts.alert import read_alerts
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.read import read_messages
from broker_filter.archive.replay import main as replay
from broker_filter.records import Alert
from model.commands import FAILED


def test_real_ztf_alerts(stage, run, tmp_path, survey_alerts):
    """Every real ZTF packet is accounted for, and classified as the replay of the archive classifies it."""
    folder, schemas = survey_alerts.alerts / "ztf", Schemas()
    alerts = [
        (alert.time_mjd, alert.object_id, message.value)
        for message in read_messages([folder])
        for alert in read_alerts(message, schemas)
        if isinstance(alert, Alert)
    ]
    alerts.sort(key=lambda item: item[0])
    partition_of = {number: len(object_id) + sum(object_id.encode()) for number, (_, object_id, _) in enumerate(alerts)}
    stage.publish([value for *_, value in alerts], lambda n: partition_of[n] % 3)
    service = run(stage.flags(tmp_path / "store"))
    output, summary = tmp_path / "replayed.jsonl", tmp_path / "summary.json"
    flags = ["--weights", str(stage.weights), "--allow-untrained", "--output", str(output), "--summary", str(summary)]
    assert replay([str(folder), *flags]) == 0
    expected = {line["alertId"]: line for line in map(orjson.loads, output.read_bytes().splitlines())}
    assert service.wait() == 0
    live = last_of_each(stage.results())
    assert live.keys() == expected.keys()
    for alert_id, result in live.items():
        assert (result["status"], result["reason"]) == (expected[alert_id]["status"], expected[alert_id]["reason"])
        assert_equal(result, expected[alert_id], 1e-5)
    accounts = [orjson.loads(line) for line in service.text().splitlines() if '"event":"accounts"' in line][-1]
    report = orjson.loads(summary.read_bytes())
    assert {name: accounts[name] for name in ("read", "classified", "not_classified", "rejected")} == {
        name: report[name] for name in ("read", "classified", "not_classified", "rejected")
    }


def test_what_is_wrong_in_real_life(stage, run, tmp_path, shared_data):
    """Malformed, edge and foreign packets: accounted for as by the replay, none stops the rest."""
    folders = [shared_data / "alerts" / name for name in ("malformed", "edge", "other_surveys")]
    messages = [m for m in read_messages(folders) if hasattr(m, "value") and len(m.value) < 7_000_000]
    stage.publish([message.value for message in messages])
    source = tmp_path / "messages"
    source.mkdir()
    for number, message in enumerate(messages):
        (source / f"{number:04d}.avro").write_bytes(message.value)
    summary = tmp_path / "summary.json"
    flags = ["--weights", str(stage.weights), "--allow-untrained", "--output", str(tmp_path / "out.jsonl")]
    assert replay([str(source), *flags, "--summary", str(summary)]) == FAILED  # for none of them can be classified
    service = run(stage.flags(tmp_path / "store"))
    assert service.wait() == 0
    accounts = [orjson.loads(line) for line in service.text().splitlines() if '"event":"accounts"' in line][-1]
    report = orjson.loads(summary.read_bytes())
    assert accounts["rejected"] == report["rejected"]
    assert accounts["read"] == report["read"]
    assert len(stage.read(stage.dead_letters)) == sum(report["rejected"].values())
