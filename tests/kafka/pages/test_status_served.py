"""The status page of a running service, as a person and as a browser see it, and the log lines beside it."""

import shutil
import struct
import subprocess
import time
import urllib.request

import orjson
import pytest
from nights import night
from stages import FOREVER

from broker_filter.kafka.local_broker import free_port

CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--window-size=1280,1600",
)
WIDTH, HEIGHT = 1280, 1600
BROKEN = b"no packet"


@pytest.fixture
def address(stage, run, tmp_path):
    """Where a service serves that has classified a small night, with a broken message in it."""
    packets = [*night(6, 4), BROKEN]
    stage.publish(packets)
    port = free_port()
    flags = ("--http.port", str(port), *FOREVER, "--batch.alert-limit", "10")
    service = run(stage.flags(tmp_path / "store", *flags))
    service.wait_for('"event":"rejected"')
    address = f"http://127.0.0.1:{port}/"
    deadline_s = time.monotonic() + 30
    while f"ictc_alerts_read_total {len(packets)}" not in totals(address) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    yield address
    assert service.stop() == 0
    check_log(service.text(), len(packets))


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def totals(address: str) -> str:
    lines = [line.rsplit(" ", 1) for line in get(f"{address}metrics").splitlines() if line.startswith("ictc_alerts_re")]
    return f"ictc_alerts_read_total {sum(float(v) for name, v in lines if 'read_total' in name):.0f}"


def check_log(text: str, published: int) -> None:
    """One JSON line for each batch and each rejection, and the batches add up."""
    lines = [orjson.loads(line) for line in text.splitlines()]
    batches = [line for line in lines if line["event"] == "batch"]
    assert sum(line["alerts"] for line in batches) == published
    assert all(
        line["alerts"] == line["classified"] + line["not_classified"] + line["rejected"] and line["total_s"] >= 0
        for line in batches
    )
    (rejected,) = [line for line in lines if line["event"] == "rejected"]
    assert rejected.keys() >= {"time", "level", "room", "reason", "detail", "topic", "partition", "offset"}
    assert (rejected["reason"], rejected["level"]) == ("not_avro", "warning")


def test_the_page_shows_what_the_stream_did(address, tmp_path):
    """Accounts, lag, stamps and histories are there, and a browser draws them without asking anybody else."""
    page = get(address)
    assert page.count('src="data:image/png;base64,') == 18
    assert page.count("<polyline") == 1 + 6 * 4  # the rate, and four classes of six objects
    assert "ZTF26test005" in page
    assert 'reason"><th>not_avro</th><td>1</td>' in page
    assert "classified</th><td>24</td>" in page
    accounts = orjson.loads(get(f"{address}accounts.json"))
    assert (accounts["total"]["read"], accounts["total"]["classified"]) == (25, 24)
    assert sum(night["classified"] for night in accounts["nights"]) == 24
    assert [(n["night"], n["rejected"]) for n in accounts["nights"] if n["rejected"]] == [(None, {"not_avro": 1})]
    assert len([n for n in accounts["nights"] if n["night"]]) == 4
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium: install one to see the page as a browser draws it")
    picture = tmp_path / "page.png"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    subprocess.run(
        [browser, *CHROMIUM_FLAGS, profile, f"--screenshot={picture}", address],
        check=True,
        capture_output=True,
        timeout=60,
    )
    png = picture.read_bytes()
    assert struct.unpack(">II", png[16:24]) == (WIDTH, HEIGHT)
    assert len(png) > 100_000  # stamps compress badly: an empty page has 10 kB
