"""What an operator does to a store from the command line, for both kinds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servers_or_skip import or_skipped

from benchmarks.neighbours.servers import redis_server
from broker_filter.records import Observation
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import Change, SeriesStore
from broker_filter.service.store_command import main
from model.commands import DONE, FAILED, MISUSE

KEPT, GONE = "ztf/ZTF26kept", "ztf/ZTF26gone"


def fill(store: SeriesStore) -> None:
    """Two objects with three observations each."""
    for key in (KEPT, GONE):
        frames = [
            Observation(n, 60_000.0 + n, 1, 5.0, 1.0, np.zeros((1, 4, 4), np.float16), np.ones(1, np.float32))
            for n in range(3)
        ]
        store.add([(key, frame) for frame in frames])
        store.settle([Change(key, (0, 1, 2), 99, 1)])
    store.close()


@pytest.fixture(params=["lmdb", "redis"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """A filled store, as the command line names it."""
    if request.param == "lmdb":
        fill(LmdbSeriesStore(tmp_path / "store"))
        yield ["--path", str(tmp_path / "store")]
        return
    with or_skipped(redis_server(tmp_path)) as server:
        fill(RedisSeriesStore(server.url))
        yield ["--url", server.url]


def test_info_verify_and_forget(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Counts are told, rows are checked, and an object that is forgotten leaves alone."""
    assert main(["info", *where]) == DONE
    assert "2 objects, 6 observations" in capsys.readouterr().out
    assert main(["verify", *where]) == DONE
    assert "0 damaged" in capsys.readouterr().out
    assert main(["forget", GONE, *where]) == DONE
    assert "3 observations forgotten" in capsys.readouterr().out
    assert main(["forget", GONE, *where]) == MISUSE
    assert main(["verify", *where]) == DONE
    assert "3 observations" in capsys.readouterr().out


@pytest.mark.parametrize("action", [["verify"], ["info"], ["backup", "copy"]])
def test_a_store_whose_file_is_gone_is_no_absent_one(
    action: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that held a store until its file was deleted is damaged; one that never held any is a wrong name."""
    monkeypatch.chdir(tmp_path)
    fill(LmdbSeriesStore(tmp_path / "store"))
    (tmp_path / "store" / "data.mdb").unlink()
    assert main([*action, "--path", "store"]) == FAILED
    assert "is damaged (data.mdb is gone" in capsys.readouterr().err
    assert main([*action, "--path", str(tmp_path)]) == MISUSE
    assert "holds no embedded store" in capsys.readouterr().err


def test_a_backup_comes_back(where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy holds the same series, and nothing is written over."""
    copy = tmp_path / "copy"
    assert main(["backup", str(copy), *where]) == DONE
    assert main(["backup", str(copy), *where]) == MISUSE
    if where[0] == "--path":
        again = ["--path", str(copy)]
    else:
        assert main(["restore", str(copy), *where]) == MISUSE
        folder = tmp_path / "again"
        folder.mkdir()
        with redis_server(folder) as server:
            assert main(["restore", str(copy), "--url", server.url]) == DONE
            capsys.readouterr()
            assert main(["info", "--url", server.url]) == DONE
            assert "2 objects, 6 observations" in capsys.readouterr().out
        return
    capsys.readouterr()
    assert main(["info", *again]) == DONE
    assert "2 objects, 6 observations" in capsys.readouterr().out


def test_a_broken_backup_restores_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup is its owner's alone; one that breaks off or lies about a size is refused before anything is written."""
    with or_skipped(redis_server(tmp_path)) as server:
        fill(RedisSeriesStore(server.url))
        copy = tmp_path / "copy"
        assert main(["backup", str(copy), "--url", server.url]) == DONE
        assert copy.stat().st_mode & 0o777 == 0o600
        whole = copy.read_bytes()
        for broken in (whole[:-10], whole + b"\0\0", whole[:24] + b"\xff" * 8 + whole[32:]):
            copy.write_bytes(broken)
            folder = tmp_path / f"again{len(broken)}{broken[24]}"
            folder.mkdir()
            with redis_server(folder) as other:
                assert main(["restore", str(copy), "--url", other.url]) == MISUSE
                assert "nothing is restored" in capsys.readouterr().err
                assert main(["info", "--url", other.url]) == DONE
                assert ": 0 objects" in capsys.readouterr().out
        assert main(["backup", str(tmp_path / "x"), "--url", "nonsense://"]) == MISUSE


@pytest.mark.parametrize("arguments", [["backup"], ["info", "target"], ["forget"]])
def test_what_needs_a_target_says_so(where: list[str], arguments: list[str]) -> None:
    """A missing or needless target is a wrong use."""
    assert main([*arguments, *where]) == MISUSE


def test_no_store_is_made_by_looking(tmp_path: Path) -> None:
    """A mistyped folder is told, not created."""
    assert main(["info", "--path", str(tmp_path / "nowhere")]) == MISUSE
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("url", ["http://host", "host:1", "redis://127.0.0.1:1/0?no_such=1"])
@pytest.mark.parametrize("arguments", [["info"], ["backup", "target"], ["migrate"]])
def test_what_is_no_shared_store_says_so(arguments: list[str], url: str) -> None:
    """An address of another kind, or with an option that nobody knows, is a wrong use."""
    assert main([*arguments, "--url", url]) == MISUSE


@pytest.mark.parametrize("key", ["ztf/" + "a" * 5_000, "ztf/\udcff", ""])
def test_what_is_no_key_says_so(where: list[str], key: str) -> None:
    """A name that no object can have is a wrong use."""
    assert main(["forget", key, *where]) == MISUSE
