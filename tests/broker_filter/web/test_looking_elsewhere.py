"""``ictc-look`` at a store, at the index beside it, and at a running service."""

import dataclasses
import fcntl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from night_of_objects import Service
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker_filter.archive.look import main
from broker_filter.classify.classifier import load_classifiers
from broker_filter.errors import ConfigurationError
from broker_filter.look.held import answers_again, observations_in
from broker_filter.look.served import ServedObjects, UnknownObjectError
from broker_filter.look.story import story_of
from broker_filter.monitoring.http import HttpServer, application
from broker_filter.records import Accounts, Classification
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.web.api import Api
from broker_filter.web.index import ObjectIndex
from broker_filter.web.rate_limit import RateLimit

pytestmark = pytest.mark.usefixtures("networks_once")
ARCSEC_PER_PIXEL = 1.01


def serve(service: Service, limit: RateLimit) -> HttpServer:
    """A server of the query interface."""
    return HttpServer("127.0.0.1", 0, application({}, None, Api(service.lobby, Accounts, limit).routes()))


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    """Where a service answers, as often as it is asked."""
    with serve(service, RateLimit(1e6, 10**6)) as server:
        yield server.address


@pytest.fixture(scope="module")
def silent(service: Service) -> Iterator[str]:
    """Where a service answers whose query interface is off."""
    with HttpServer("127.0.0.1", 0, application({}, None, [])) as server:
        yield server.address


@pytest.mark.slow
def test_a_service_tells_the_story_that_its_store_holds(service: Service) -> None:
    """Answers are those that were published, the rest is the store's to 5 digits; a limited rate only takes longer."""
    view = service.objects.find(service.longest)
    assert view is not None
    observations = observations_in(service.store, service.longest)
    assert observations is not None
    held = story_of(observations[1], view.answers, service.objects.channels("ztf"), ARCSEC_PER_PIXEL)
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    with serve(service, RateLimit(1.0, 3, lambda: now_s[0])) as server, ServedObjects(server.address, sleep) as client:
        story = client.story(service.longest)
    assert story.answers == held.answers and story.alert_ids == held.alert_ids and story.channels == held.channels
    assert len(story.epochs) == len(held.epochs) > 0
    np.testing.assert_allclose(story.epochs.flux_P, held.epochs.flux_P, rtol=1e-5)
    np.testing.assert_allclose(story.epochs.flux_error_P, held.epochs.flux_error_P, rtol=1e-5)
    theirs, ours = (
        one.frames.pixels_TCHW.astype(float) * one.frames.scale_TC[..., None, None] for one in (story, held)
    )
    np.testing.assert_allclose(theirs, ours, rtol=2e-3, atol=2e-3 * float(held.frames.scale_TC.max()))
    assert now_s[0] >= len(story.alert_ids) - 2


@pytest.mark.parametrize(
    ("content", "encoding"), [(b"{", ""), (b"[" * 100_000, ""), (b"[9" + b"9" * 9_999 + b"]", ""), (b"[]", "gzip")]
)
def test_what_is_no_answer_is_one_line(content: bytes, encoding: str) -> None:
    """Broken JSON, and answers that would have to be inflated, are one clear error."""

    def answer(_: Request) -> Response:
        headers = {"Content-Encoding": encoding} if encoding else {}
        return Response(content, headers=headers, media_type="application/json")

    routes = [Route("/api/objects", answer)]
    with (
        HttpServer("127.0.0.1", 0, application({}, None, routes)) as server,
        ServedObjects(server.address) as served,
        pytest.raises(ConfigurationError, match=r"does not answer as a service|encoded as 'gzip'"),
    ):
        served.newest(5)


def test_a_service_is_asked_for_alerts_by_id(service: Service, address: str) -> None:
    """However many ids are asked for, the answers that were published come in order of time."""
    published = sorted((one for some in service.answers.values() for one in some), key=lambda one: one.time_mjd)
    with ServedObjects(address) as served:
        assert served.answers_to([*range(-3, 250), 1 << 63, *(one.alert_id for one in published)]) == published
        assert served.answers_to([]) == served.answers_to([1]) == []


def test_a_service_without_the_interface_or_the_object_is_one_line(
    address: str, silent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing is said with its remedy, and the exit status tells misuse from failure."""
    out = ["--out", str(tmp_path / "sheet.png")]
    assert main(["--service", address, "--object", "ZTF00none", *out]) == 1
    assert "no alert of ZTF00none" in capsys.readouterr().err
    assert main(["--service", silent, "--object", "ZTF00none", *out]) == 2
    assert "http.api: true" in capsys.readouterr().err
    assert main(["--service", "http://127.0.0.1:1", "--object", "ZTF00none", *out]) == 1
    assert "no service answers" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="without a user"):
        ServedObjects("http://user:secret@host")
    with ServedObjects(address) as client, pytest.raises(UnknownObjectError, match="ZTF00none"):
        client.story("ZTF00none")


def test_command_draws_what_a_service_knows(service: Service, address: str, tmp_path: Path) -> None:
    """Without names the objects with most alerts become a contact sheet."""
    out = tmp_path / "all.png"
    assert main(["--service", address, "--limit", "3", "--out", str(out)]) == 0
    assert np.asarray(imread(out)).std() > 0.05


def plain(answer: Classification) -> Classification:
    """What of an answer depends neither on the clock nor on the last bits of a sum."""
    return dataclasses.replace(
        answer, probabilities={}, broad_probabilities=None, unknown_score=None,
        ingest_time_ms=0, publication_time_ms=0, alert_time_ms=0,
    )  # fmt: skip


def test_a_store_without_an_index_is_classified_again(service: Service) -> None:
    """The answers are those that the stream gave, from the stamps and pasts that the store holds."""
    series_there = observations_in(service.store, f"ztf/{service.longest}")
    assert series_there is not None and series_there[0] == f"ztf/{service.longest}"
    again = answers_again(*series_there, load_classifiers(["ztf"]))
    published = sorted(service.answers[service.longest], key=lambda one: (one.time_mjd, one.alert_id))
    for ours, theirs in zip(again, published, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)
        assert plain(ours) == plain(theirs)


@pytest.mark.slow
def test_command_draws_objects_of_a_store(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the index beside the store nothing need be named; without it objects are; what is not there is said."""
    folder, out = tmp_path / "store", tmp_path / "sheet.png"
    store = LmdbSeriesStore(folder, sync=False)
    store.put_whole(list(service.store.whole()))
    store.close()
    with (folder / "owner.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["--store", str(folder), "--object", "ZTF1", "--out", str(out)]) == 2
    assert "belongs to a running process" in capsys.readouterr().err
    assert main(["--store", str(folder), "--out", str(out)]) == 2
    assert "name those to draw with --object" in capsys.readouterr().err
    assert main(["--store", str(folder), "--object", service.longest, "--object", "ZTF00none", "--out", str(out)]) == 1
    output = capsys.readouterr()
    assert "no alert of ZTF00none" in output.err and "classified again" in output.err and output.out == f"{out}\n"
    index = ObjectIndex(folder / "objects.sqlite")
    index.enter([answer for answers in service.answers.values() for answer in answers])
    index.close()
    assert main(["--store", str(folder), "--out", str(out)]) == 0
    assert "classified again" not in capsys.readouterr().err
    assert main(["--store", str(tmp_path / "absent"), "--out", str(out)]) == 2
    assert "holds no embedded store" in capsys.readouterr().err


@pytest.mark.slow
def test_command_draws_objects_of_a_shared_store(
    service: Service, redis_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objects of a Redis-protocol server are drawn while others use it: named, or those that an index names."""
    url, out = f"redis://127.0.0.1:{redis_port}/9", tmp_path / "sheet.png"
    shared = RedisSeriesStore(url)
    shared.put_whole(list(service.store.whole()))
    look = ["--store", url, "--out", str(out)]
    assert main(look) == 2
    assert "name those to draw with --object" in capsys.readouterr().err
    assert main([*look, "--object", service.longest]) == 0
    assert f"no index has answers to {service.longest}: classified again" in capsys.readouterr().err
    assert np.asarray(imread(out)).std() > 0.05
    series_there = observations_in(shared, service.longest)
    assert series_there is not None
    held = observations_in(service.store, service.longest)
    assert held is not None and [one.alert_id for one in series_there[1]] == [one.alert_id for one in held[1]]
    path = tmp_path / "objects.sqlite"
    index = ObjectIndex(path)
    index.enter([answer for answers in service.answers.values() for answer in answers])
    index.close()
    assert main([*look, "--index", str(path), "--object", "ZTF00none"]) == 1
    assert f"no alert of ZTF00none: {url}" in capsys.readouterr().err
    assert main([*look, "--index", str(path), "--each"]) == 0
    output = capsys.readouterr()
    assert "classified again" not in output.err
    assert {line.rpartition("-")[2] for line in output.out.split()} == {f"{name}.png" for name in service.answers}
    shared.close()


def test_a_shared_store_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that does not answer is named with its address and without its password."""
    url = "redis://:secret@127.0.0.1:1/0"
    assert main(["--store", url, "--object", "ZTF1", "--out", str(tmp_path / "sheet.png")]) == 1
    output = capsys.readouterr().err
    assert "127.0.0.1:1" in output and "secret" not in output and len(output.strip().splitlines()) == 1
