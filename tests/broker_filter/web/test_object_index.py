"""The index of objects: what it remembers, for how long, and what it survives."""

import sqlite3
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from night_of_objects import answer

from broker_filter.classify.class_memory import ClassMemory
from broker_filter.errors import ConfigurationError, NotClassified
from broker_filter.records import Classification, Detection
from broker_filter.web.index import ObjectIndex, read_index
from broker_filter.web.index_rows import ANSWERS_OF_OBJECT, SPARE_ANSWERS, pack, summary_of, unpack
from broker_filter.web.query import ObjectQuery


def filled(path: Path, *answers: Classification, **limits: int) -> ObjectIndex:
    """An index that holds these answers."""
    index = ObjectIndex(path / "objects.sqlite", **limits)
    index.enter(answers)
    index.flush()
    return index


def test_answers_come_back_whole_after_a_restart(tmp_path: Path) -> None:
    """What was entered is there in order of time when the file is opened again, every field of it."""
    late, early = answer(alert_id=2, mjd=60_005.0, prediction_set=("SNIa",), coverage=0.9), answer(alert_id=1)
    unanswered = answer(alert_id=3, mjd=60_006.0, probabilities={}, reason=NotClassified.NO_STAMPS, detection=None)
    filled(tmp_path, late, unanswered, early).close()
    index = ObjectIndex(tmp_path / "objects.sqlite")
    summary = index.find("ZTF1")
    assert summary is not None and index.answers(summary) == [early, late, unanswered]
    assert (summary.alert_count, summary.first_mjd, summary.last_mjd) == (3, 60_000.0, 60_006.0)
    assert summary.best == "SNIa" and (summary.ra_deg, summary.dec_deg) == (10.0, 20.0)
    index.close()


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["A", "B", "C"])), min_size=1, max_size=30))
def test_summary_does_not_depend_on_the_order_of_arrival(alerts: list[tuple[int, str]]) -> None:
    """An object's row is a function of its last words, however answers arrived and were batched."""
    import tempfile

    answers = [answer(alert_id=n, mjd=60_000.0 + n, probabilities={best: 0.9, "D": 0.1}, known_count=place)
               for place, (n, best) in enumerate(alerts)]  # fmt: skip
    last = {one.alert_id: one for one in answers}
    with tempfile.TemporaryDirectory() as folder:
        index = ObjectIndex(Path(folder) / "objects.sqlite")
        for one in answers:
            index.enter([one])
            index.flush()
        summary = index.find("ZTF1")
        index.close()
    assert summary == summary_of([last[n] for n in sorted(last)])


def test_changes_of_mind_are_counted(tmp_path: Path) -> None:
    """Each change of the most probable class counts; a revision of one alert does not."""
    minds = ["SNIa", "SNIa", "AGN", "SNIa"]
    index = filled(
        tmp_path,
        *(answer(alert_id=n, mjd=60_000.0 + n, probabilities={best: 1.0}) for n, best in enumerate(minds)),
        answer(alert_id=3, mjd=60_003.0, probabilities={"SNIa": 1.0}, known_count=9, revision=True),
    )
    summary = index.find("ZTF1", "ztf")
    assert summary is not None and summary.changes == 2 and summary.alert_count == 4
    assert index.find("ZTF1", "lsst") is None
    index.close()


def test_objects_beyond_the_limit_leave_longest_silent_first(tmp_path: Path) -> None:
    """The number of objects and the size of the file are bounded; what leaves takes its answers along."""
    answers = [answer(f"ZTF{n}", n) for n in range(1, 41)]
    index = filled(tmp_path, *answers, object_limit=10)
    assert index.count() == 10 and index.find("ZTF30") is None and index.find("ZTF31") is not None
    index.close()
    with sqlite3.connect(tmp_path / "objects.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0] == 10


@pytest.mark.slow
def test_bytes_are_bounded(tmp_path: Path) -> None:
    """However many objects come, the pages in use stay within the limit and a batch."""
    index = ObjectIndex(tmp_path / "objects.sqlite", byte_limit=1 << 20)
    for start in range(0, 6000, 500):
        index.enter([answer(f"ZTF{n}", n) for n in range(start, start + 500)])
        index.flush()
    index.close()
    assert 500 < index.count() < 6000
    with sqlite3.connect(tmp_path / "objects.sqlite") as connection:
        pages, free, size = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in
                             ("page_count", "freelist_count", "page_size"))  # fmt: skip
    assert (pages - free) * size < 1.1 * (1 << 20)


def test_an_object_that_never_ends_keeps_its_newest_answers(tmp_path: Path) -> None:
    """Of one object so many answers are kept, the oldest leave."""
    index = filled(tmp_path, *(answer(alert_id=n, mjd=60_000.0 + n) for n in range(1, 300)))
    summary = index.find("ZTF1")
    assert summary is not None
    remembered = index.answers(summary)
    assert ANSWERS_OF_OBJECT <= len(remembered) <= ANSWERS_OF_OBJECT + SPARE_ANSWERS and remembered[-1].alert_id == 299
    index.close()


@pytest.mark.parametrize("content", [b"this is no database, but as long as one" * 200, b""])
def test_a_file_that_is_no_index_begins_anew(tmp_path: Path, content: bytes) -> None:
    """A damaged file is replaced: looking back is not worth an outage."""
    (tmp_path / "objects.sqlite").write_bytes(content)
    index = filled(tmp_path, answer())
    assert index.count() == 1 and (tmp_path / "objects.sqlite").stat().st_mode & 0o077 == 0
    index.close()


def test_damaged_rows_are_left_out_and_written_anew(tmp_path: Path) -> None:
    """An answer that the disk changed is passed over; an object whose own row is none begins anew."""
    index = filled(tmp_path, *(answer(name, n, 60_000.0 + n) for name in ("ZTF1", "ZTF2") for n in (1, 2, 3)))
    index.close()
    with sqlite3.connect(tmp_path / "objects.sqlite") as connection:
        connection.execute("UPDATE answers SET fields = x'7b22ff' WHERE alert_id = 2")
        connection.execute("UPDATE objects SET alert_count = 'none' WHERE object_id = 'ZTF2'")
    index = filled(tmp_path, *(answer(name, 4, 60_000.5) for name in ("ZTF1", "ZTF2")))
    one, two = index.find("ZTF1"), index.find("ZTF2")
    assert one is not None and [each.alert_id for each in index.answers(one)] == [4, 1, 3]
    assert two is not None and two.alert_count == 1 and [each.alert_id for each in index.answers(two)] == [4]
    index.close()
    assert [len(some) for some in read_index(tmp_path / "objects.sqlite", [], 5).values()] == [3, 1]


def test_damaged_pages_begin_anew(tmp_path: Path) -> None:
    """A file of which a page is none is told from a sound one at the start."""
    index = filled(tmp_path, *(answer(f"ZTF{n}", n) for n in range(200)))
    index.close()
    path = tmp_path / "objects.sqlite"
    content = bytearray(path.read_bytes())
    for start in range(4096 * 4, len(content), 4096 * 3):
        content[start : start + 4096] = bytes(range(256)) * 16
    path.write_bytes(content)
    index = filled(tmp_path, answer())
    assert index.count() == 1
    index.close()


def test_another_version_begins_anew(tmp_path: Path) -> None:
    """An index that a later release wrote is not read."""
    with sqlite3.connect(tmp_path / "objects.sqlite") as connection:
        connection.execute("PRAGMA user_version=99")
    index = filled(tmp_path, answer())
    assert index.count() == 1
    index.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names the file and the setting."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/objects.sqlite cannot be made.*http\.index"):
        ObjectIndex(tmp_path / "file" / "objects.sqlite")


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    """The stream never waits for the index."""
    index = ObjectIndex(tmp_path / "objects.sqlite")
    index.close()  # nobody empties the queue any more
    index.enter([answer(alert_id=n) for n in range(20_010)])
    assert index.dropped_count == 10


def test_packed_answers_are_smaller() -> None:
    """What is null is not stored, and comes back as null."""
    assert unpack(pack(answer())) == answer() and len(pack(answer())) < 620


def at(ra_deg: float | None, dec_deg: float | None) -> Detection:
    """A detection there."""
    return Detection(ra_deg, dec_deg, 1000.0, 50.0, None)


@pytest.mark.parametrize("own_sines", [True, False], ids=["sqlite", "python"])
def test_cones_are_those_of_the_sphere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_sines: bool) -> None:
    """Angles from an arcsecond to ten degrees, across poles and the meridian, are those that astropy computes."""
    monkeypatch.setattr("broker_filter.web.index._has_mathematics", lambda _: own_sines)
    rng = np.random.default_rng(3)
    centres = [(0.0, 0.0), (359.9999, 5.0), (10.0, 90.0), (200.0, -89.999), (77.7, 61.0)]
    for number, (ra, dec) in enumerate(centres):
        index = ObjectIndex(tmp_path / f"{number}.sqlite")
        centre = SkyCoord(ra, dec, unit="deg")
        angles_arcsec = 10.0 ** rng.uniform(-1.0, 4.5, 60)
        places = centre.directional_offset_by(rng.uniform(0.0, 360.0, 60) * u.deg, angles_arcsec * u.arcsec)
        index.enter(
            [
                answer(f"ZTF{n}", n, detection=at(float(place.ra.deg), float(place.dec.deg)))
                for n, place in enumerate(places)
            ]
        )
        index.enter([answer("ZTFnowhere", 99, detection=at(None, None))])
        index.flush()
        for radius in (1.0, 30.0, 3_600.0, 36_000.0):
            query = ObjectQuery(ra=ra, dec=dec, radius=radius, limit=500)
            found = index.select(*query.condition(), query.order_in_sql, query.limit, query.offset)
            assert {one.object_id for one in found} == {f"ZTF{n}" for n in np.flatnonzero(angles_arcsec <= radius)}
        index.close()


def test_cone_and_filters_find_what_they_should(tmp_path: Path) -> None:
    """Every filter keeps what meets it and leaves out what does not; a cone reaches over the meridian."""
    index = filled(
        tmp_path,
        answer("ZTFmeridian", 1, detection=at(359.9999, 5.0)),
        answer("ZTFfar", 2, detection=at(180.0, 5.0), days_since_first=50.0),
        answer("ZTFagn", 3, probabilities={"AGN": 0.6, "SNIa": 0.4}, detection=at(0.0, 80.0), unknown_score=7.0),
    )

    def ids_for(**filters: object) -> set[str]:
        query = ObjectQuery.model_validate(filters)
        return {
            one.object_id for one in index.select(*query.condition(), query.order_in_sql, query.limit, query.offset)
        }

    assert (
        ids_for(ra=0.0001, dec=5.0, radius=1.0) == {"ZTFmeridian"} and ids_for(ra=0.0001, dec=5.0, radius=0.1) == set()
    )
    assert ids_for(**{"class": "AGN"}) == {"ZTFagn"} and ids_for(**{"class": "SNIa"}, min_probability=0.8) == set()
    assert ids_for(min_unknown=5) == {"ZTFagn"} and ids_for(max_age=3) == {"ZTFmeridian", "ZTFagn"}
    assert ids_for(id="ZTFf") == {"ZTFfar"} and ids_for(id="%") == set() and ids_for(survey="lsst") == set()
    assert ids_for(max_magnitude=23.95) == {"ZTFmeridian", "ZTFfar", "ZTFagn"} and ids_for(max_magnitude=20) == set()
    assert len(ids_for(limit=2)) == 2 and len(ids_for(limit=2, offset=2)) == 1 and ids_for(min_alerts=2) == set()
    index.close()


def test_memory_of_classes_tells_the_one_before() -> None:
    """The class before an alert is that of the newest earlier one; the longest silent object is forgotten."""
    memory = ClassMemory(limit=2)
    memory.enter([answer("a", 1, 1.0), answer("a", 2, 2.0, probabilities={"AGN": 1.0}), answer("b", 3, 1.0)])
    assert memory.before("ztf/a", (3.0, 9)) == ((2.0, 2), "AGN")
    assert memory.before("ztf/a", (2.0, 2)) == ((1.0, 1), "SNIa") and memory.before("ztf/a", (1.0, 1)) is None
    memory.enter([answer("c", 4, 1.0), answer("c", 5, 2.0, probabilities={})])
    assert memory.before("ztf/a", (9.0, 9)) is None and memory.before("ztf/c", (9.0, 9)) == ((1.0, 4), "SNIa")
