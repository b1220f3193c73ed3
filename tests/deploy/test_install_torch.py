"""Which build of PyTorch ``make install`` takes."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy import install_torch


@pytest.fixture
def index() -> Iterator[str]:
    """An index of packages on loopback that knows torch."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/torch/" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the builds differ on Linux alone")
def test_the_cpu_build_is_taken_where_its_index_answers(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the index there, the CPU build is asked for, and name and size of what is installed are printed."""
    assert install_torch.main(["auto", "--index", index]) == 0
    out = capsys.readouterr().out
    assert "(cpu build)" in out
    assert "GB installed" in out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the builds differ on Linux alone")
def test_the_default_build_is_taken_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the index, the size of what comes is told before, and nothing fails."""
    assert install_torch.main(["auto", "--index", "http://127.0.0.1:9"]) == 0
    out = capsys.readouterr().out
    assert "does not answer" in out
    assert "5 GB" in out
    assert "(default build)" in out


def test_a_build_that_is_named_is_taken(index: str) -> None:
    """``cpu`` adds the index to pip's, ``default`` does not."""
    assert install_torch.pip_command("cpu", index)[-2:] == ["--extra-index-url", index]
    assert index not in install_torch.pip_command("default", index)
