"""The live service against the replay of the same alerts, and against everything that goes wrong on the way."""

import random
import signal
import time
from collections import Counter

import pytest
from nights import assert_equal, last_of_each, night, replayed
from raw_produce import produce
from stages import DONE_LIMIT_S, FOREVER
from watching import committed, wait_until

from broker_filter.errors import Rejection

KILLS = 20
# Of a member that is killed at once; the embedded server puts one that stays out again after a second.
SOON_FORGOTTEN = {"session.timeout.ms": 500, "heartbeat.interval.ms": 150}


def identity(result):
    return (result["objectId"], result["alertId"], result["classifier"], result["classifierVersion"])


@pytest.mark.parametrize("deterministic", [False, True])
def test_live_equals_replay(stage, run, tmp_path, deterministic):
    """Spread over partitions and batches and with duplicates, the last word on each alert is the replay's."""
    packets = list(night())
    doubled = packets + random.Random(5).sample(packets, 10)
    stage.publish(doubled)
    mode = ("--model.deterministic",) if deterministic else ()
    batch = ("--batch.alert-limit", "5" if deterministic else "11")
    assert run(stage.flags(tmp_path / "store", *batch, *mode)).wait() == 0
    expected = replayed(packets, stage.weights, tmp_path, *(["--deterministic"] if deterministic else []))
    live = last_of_each(stage.results())
    assert live.keys() == expected.keys()
    for alert_id, result in live.items():
        assert result["key"] == result["objectId"].encode()
        assert_equal(result, expected[alert_id], 0.0 if deterministic else 1e-5)


def test_killed_twenty_times(stage, run, tmp_path):
    """No alert is without a classification, and every duplicate is recognisable and equal to its twin."""
    packets = list(night(6, KILLS))
    store, mode = tmp_path / "store", ("--batch.alert-limit", "2", *FOREVER)
    rng = random.Random(KILLS)
    for number in range(KILLS):
        stage.publish(packets[6 * number : 6 * (number + 1)])
        process = run(stage.flags(store, *mode, group=SOON_FORGOTTEN))
        process.wait_for("partitions assigned")
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        time.sleep(0.5)  # until the group knows that it is dead
    survivor = run(stage.flags(store, *mode))
    survivor.wait_for("partitions assigned")
    wait_until(lambda: sum(committed(stage).values()) == len(packets), DONE_LIMIT_S)
    assert survivor.stop() == 0
    results = [r for r in stage.results() if not r["revision"]]
    expected = replayed(packets, stage.weights, tmp_path)
    last = last_of_each(stage.results())
    assert last.keys() == expected.keys()
    twins: dict = {}
    for result in results:
        twins.setdefault((identity(result), result["nObservations"]), []).append(result)
    for same in twins.values():
        for twin in same[1:]:
            assert_equal(twin, same[0], 1e-5)
    for alert_id, result in last.items():
        assert_equal(result, expected[alert_id], 1e-5)


def test_poison_never_stops_the_stream(stage, run, tmp_path):
    """Whatever lies between good alerts goes to the dead letters, byte for byte, with the reason and the place."""
    packets = list(night(3, 2))
    rng = random.Random(3)
    poison = [b"", b"Obj\x01", rng.randbytes(300), packets[0][:-500], packets[0][:3000], b"\x00\x00\x00\x30\x39rest"]
    poison += [bytes(b ^ (rng.random() < 0.02) for b in packets[1][:4000]), b"\x00" * 70_000]
    mixed = [p for pair in zip(poison, [*packets, b"x", b"y"], strict=True) for p in pair]
    stage.publish(mixed)
    service = run(stage.flags(tmp_path / "store"))
    assert service.wait() == 0
    assert len(last_of_each(stage.results())) == len(packets)
    letters = stage.read(stage.dead_letters)
    assert Counter(m.value() or b"" for m in letters) == Counter([*poison, b"x", b"y"])
    published = stage.read(stage.alerts)
    at = {(m.partition(), m.offset()): m.value() or b"" for m in published}
    for letter in letters:
        headers = dict(letter.headers())
        assert headers["ictc.topic"] == stage.alerts.encode()
        assert at[int(headers["ictc.partition"]), int(headers["ictc.offset"])] == (letter.value() or b"")
        assert headers["ictc.reason"].decode() in set(Rejection)
        assert headers["ictc.error"]
        assert int(headers["ictc.timestamp"]) > 1_600_000_000_000
        assert headers["producer_timestamp"] == b"1700000000000"
    assert '"balanced":true' in service.text()
    assert f'"read":{len(mixed)}' in service.text()


def test_headers_that_are_no_text(stage, run, tmp_path):
    """An alert whose headers no client can read is classified, and junk goes to the dead letters all the same."""
    (packet,) = night(1, 1)
    for value in (packet, b"junk") * 20:
        produce(stage.brokers, stage.alerts, value, [(b"ok", b"1"), (b"\xff\xfe\x80", b"2"), (b"", None)])
    service = run(stage.flags(tmp_path / "store"))
    assert service.wait() == 0, service.text()
    assert '"read":40' in service.text()
    assert len(last_of_each(stage.results())) == 1
    letters = stage.read(stage.dead_letters)
    assert len(letters) == 20
    for letter in letters:
        assert dict(letter.headers())["ictc.headers_unreadable"]


def test_asked_to_end_it_finishes_what_it_took(stage, run, tmp_path):
    """SIGTERM drains: what was read is delivered and committed, and the next run begins behind it."""
    packets = list(night(6, 4))
    stage.publish(packets)
    flags = stage.flags(tmp_path / "store", "--batch.alert-limit", "3")
    first = run(flags)
    first.wait_for('"event":"batch"')
    assert first.stop() == 0
    assert '"drained":true' in first.text()
    assert run(flags).wait() == 0
    identities = [identity(r) for r in stage.results() if not r["revision"]]
    assert len(identities) == len(set(identities)) == len(packets)


def test_a_second_signal_forces(broker, hosted, run, tmp_path):
    """Who cannot wait for the drain says so twice; a broker that hangs keeps it from its end."""
    hosted.publish(list(night(6, 10)))
    limits = ("--life.drain-s", "60", "--batch.alert-limit", "1")
    service = run(hosted.flags(tmp_path / "store", *limits, *FOREVER))
    service.wait_for('"event":"batch"')
    broker.process.send_signal(signal.SIGSTOP)
    service.signal(signal.SIGTERM)
    service.wait_for('"event":"drain"')
    service.signal(signal.SIGTERM)
    assert service.wait(5) == -signal.SIGTERM
