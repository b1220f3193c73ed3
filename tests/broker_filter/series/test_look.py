"""Looking at an embedded store from outside."""

import subprocess
import sys
from pathlib import Path

import fake_stream as fake
import pytest
import version_2

from broker_filter.errors import FatalError
from broker_filter.series.lmdb.look import look_at
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.store import Change


def test_a_store_can_be_looked_at_while_it_is_owned(tmp_path: Path) -> None:
    """The numbers of a store are seen beside the process that owns it, and after it has gone."""
    assert look_at(tmp_path) is look_at(tmp_path / "absent") is look_at(Path(__file__)) is None
    store = LmdbSeriesStore(tmp_path, max_bytes=1 << 20)
    store.add([("ztf/a", fake.observation(1))])
    store.settle([Change("ztf/a", (1,), 9, 1)])
    program = "import sys; from pathlib import Path; from broker_filter.series.lmdb.look import look_at\n"
    command = [sys.executable, "-c", f"{program}print(look_at(Path(sys.argv[1])))", str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output == "Look(objects=1, observations=1, version=3, is_owned=True)\n"
    store.close()
    seen = look_at(tmp_path)
    assert seen is not None
    assert (seen.objects, seen.is_owned, seen.owner) == (1, False, "")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """A store of version 2 is looked at without being migrated."""
    version_2.write_folder(tmp_path / "store", {"ztf/a": [fake.observation(1)]})
    before = (tmp_path / "store" / "data.mdb").read_bytes()
    seen = look_at(tmp_path / "store")
    assert seen is not None
    assert (seen.objects, seen.observations, seen.version) == (1, 1, 2)
    assert (tmp_path / "store" / "data.mdb").read_bytes() == before


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    """A file that was cut off is named as damaged."""
    LmdbSeriesStore(tmp_path, max_bytes=1 << 20).close()
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(FatalError, match="is damaged"):
        look_at(tmp_path)
