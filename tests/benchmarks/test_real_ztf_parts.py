"""Repaired clocks, strata and scores of the benchmark on real alerts; packets are made by hand."""

import fastavro
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.real_ztf.alerts import clock_stood_still, facts_of, jd_of_pid, may_be_opened, repair, repaired_copy
from benchmarks.real_ztf.rises import ia_without_rise
from benchmarks.real_ztf.scores import auc, honest_error, p10, paired, recalls_at

EPOCH = {"jd": 2460236.06, "pid": None, "magpsf": 19.0, "isdiffpos": "t"}
PIDS = (2452138991815, 2455207541815, 2458169221815)


def packet():
    """A record as others repacked them: one time for everything."""
    own = EPOCH | {"pid": 2481115011815, "ra": 10.0, "dec": 20.0, "jdstarthist": 2460236.0}
    past = [EPOCH | {"pid": pid} for pid in PIDS]
    return {"candid": 7, "objectId": "ZTF18abc", "candidate": own, "prv_candidates": past}


def test_a_repacked_packet_gets_its_times_back():
    """The first digits of an exposure's number are its day, the next five its fraction."""
    assert jd_of_pid(595210484315) == pytest.approx(2458349.71048, abs=1e-9)
    record = packet()
    assert clock_stood_still(record)
    repair(record)
    assert not clock_stood_still(record)
    assert record["candidate"]["jd"] - record["prv_candidates"][0]["jd"] == pytest.approx(28.97602, abs=1e-5)


def test_what_is_in_flight_is_positive_and_young():
    """A negative difference or a first detection long ago takes a supernova out of flight."""
    record = packet()
    repair(record)
    packet_facts = facts_of(record, "x", repacked=True)
    assert packet_facts.in_flight
    assert packet_facts.detections == 4
    assert packet_facts.by_detections == "4-8 detections"
    old = {**record, "candidate": record["candidate"] | {"jdstarthist": record["candidate"]["jd"] - 300}}
    assert not facts_of(old, "x", repacked=False).in_flight
    negative = {**record, "candidate": record["candidate"] | {"isdiffpos": "f"}}
    assert not facts_of(negative, "x", repacked=True).in_flight


def test_a_light_curve_rises_where_an_epoch_is_brighter_than_an_earlier_one():
    """Five sigma, in one band, later than the other: a limit counts, a decline and another band do not."""
    record = packet()
    repair(record)
    day = record["candidate"]["jd"]
    record["candidate"] |= {"fid": 1, "magpsf": 18.0, "sigmapsf": 0.05}
    limit = {"jd": day - 3, "fid": 1, "magpsf": None, "diffmaglim": 20.0}
    detection = {"jd": day - 2, "fid": 1, "magpsf": 18.02, "sigmapsf": 0.05, "isdiffpos": "t"}
    brighter = detection | {"magpsf": 17.0}
    for past, expected in (
        ([], False),
        ([detection], False),
        ([brighter], False),
        ([limit], True),
        ([limit | {"fid": 2}], False),
        ([limit | {"jd": day - 31}], False),
        ([limit | {"jd": day - 3}, brighter], True),
    ):
        assert facts_of(record | {"prv_candidates": past}, "x", repacked=True).rises is expected


def test_type_ia_said_of_flat_alerts_is_counted_by_class():
    """Only alerts without a rise count, each in its true class."""
    p_NK = np.array([[0.6, 0.4], [0.4, 0.6], [0.3, 0.7], [0.8, 0.2]])
    counted = ia_without_rise(
        np.array([1, 1, 1, 0]), p_NK, np.array([False, False, True, True]), classes=("SNIa", "Variable")
    )
    assert counted["SNIa"] == {"flat": 0, "of": 1}
    assert (counted["Variable"]["flat"], counted["Variable"]["of"]) == (2, 3)
    assert counted["Variable"]["said_ia"]["value"] == 0.5


def test_a_folder_is_copied_with_only_its_broken_clocks_changed(tmp_path):
    """What is whole is linked, what is repacked is written anew."""
    epoch = {"type": "record", "name": "epoch", "fields": [
        {"name": "jd", "type": "double"}, {"name": "pid", "type": ["long", "null"]},
        {"name": "magpsf", "type": ["double", "null"]}, {"name": "isdiffpos", "type": "string"},
    ]}  # fmt: skip
    own = {**epoch, "name": "own", "fields": [*epoch["fields"], *({"name": n, "type": "double"} for n in
                                                                 ("ra", "dec", "jdstarthist"))]}  # fmt: skip
    schema = fastavro.parse_schema({"type": "record", "name": "alert", "fields": [
        {"name": "candid", "type": "long"}, {"name": "objectId", "type": "string"},
        {"name": "candidate", "type": own}, {"name": "prv_candidates", "type": {"type": "array", "items": epoch}},
    ]})  # fmt: skip
    whole = packet() | {"candid": 8, "prv_candidates": [EPOCH | {"jd": 2460000.0 + n} for n in range(3)]}
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for record in (packet(), whole):
        with (folder / f"{record['candid']}.avro").open("wb") as file:
            fastavro.writer(file, schema, [record])
    facts = repaired_copy(folder, out)
    assert [facts[n].repacked for n in (7, 8)] == [True, False]
    assert (out / "8.avro").read_bytes() == (folder / "8.avro").read_bytes()
    with (out / "7.avro").open("rb") as file:
        assert next(fastavro.reader(file))["candidate"]["jd"] == jd_of_pid(2481115011815)


def test_scores_are_order_statistics():
    """With 100 negatives a rate of 10 % lets ten pass; an area counts ties half, as scikit-learn does."""
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 50).round(1), rng.normal(0, 1, 100).round(1)
    bars = np.sort(negative)[::-1][:11]
    np.testing.assert_allclose(recalls_at(positive, negative), [(positive > bar).mean() for bar in bars])
    assert p10(positive, negative) == pytest.approx(recalls_at(positive, negative).mean())
    expected = roc_auc_score(np.r_[np.ones(50), np.zeros(100)], np.r_[positive, negative])
    assert auc(positive, negative) == pytest.approx(expected)
    assert p10(np.ones(5), np.zeros(40)) == 1.0


def test_a_score_is_no_better_than_itself():
    """A paired difference of equal scores is 0 with no spread; one with signal beats noise."""
    rng = np.random.default_rng(1)
    is_n = np.arange(200) < 60
    good, noise = is_n + rng.normal(0, 0.3, 200), rng.normal(0, 1, 200)
    same = paired(good, good, is_n, "auc")
    assert same["low"] == same["high"] == 0.0
    assert paired(good, noise, is_n, "p10")["low"] > 0


def test_an_honest_forecaster_is_not_perfect():
    """Of few objects even exact probabilities look off by a few per cent, of many by less."""
    p = np.random.default_rng(2).dirichlet(np.ones(4), 2000)
    assert 0 < honest_error(p, 50)["median"] < honest_error(p[:100], 50)["median"] < 0.2


def test_half_of_the_objects_may_be_opened():
    """The half is fixed by the name alone."""
    names = [f"ZTF{n}" for n in range(400)]
    assert 150 < sum(map(may_be_opened, names)) < 250
