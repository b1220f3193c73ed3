"""The pages in a real browser: drawn, without an error, on desktop and phone, light and dark."""

import asyncio
import io
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from night_of_objects import Service
from PIL import Image

from broker_filter.monitoring.http import application
from broker_filter.web.pages import Pages

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install the package chromium"),
    pytest.mark.timeout(240),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=3000"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    """Where a browser finds the pages."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = application({}, None, Pages(service.lobby).routes())
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def chromium(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the browser once."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def picture(tmp_path: Path, address: str, width: int, *more: str) -> np.ndarray:
    """What somebody sees."""
    path = tmp_path / "page.png"
    chromium(tmp_path, f"--screenshot={path}", f"--window-size={width},1300", *more, address)
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)


def test_script_draws_every_answer_without_an_error(service: Service, address: str, tmp_path: Path) -> None:
    """The charts have a point for each answer and class, the strip a column for each alert; the console is silent."""
    done = chromium(tmp_path, "--dump-dom", f"{address}/object/{service.longest}")
    answers = [one for one in service.answers[service.longest] if one.probabilities]
    assert f'data-drawn="{len(service.answers[service.longest])}"' in done.stdout
    probabilities = re.search(r'<svg id="probabilities".*?</svg>', done.stdout, re.S)
    assert probabilities is not None and probabilities[0].count("<circle") == len(answers) * len(
        answers[0].probabilities
    )
    assert done.stdout.count('class="epoch') == len(answers)
    assert not re.search(r"CONSOLE.*(error|refused|violat)", done.stderr, re.I)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_pages_fit_desktop_and_phone(service: Service, address: str, tmp_path: Path, width: int) -> None:
    """Nothing sticks out at the right: the last columns of pixels are the page's ground from top to bottom."""
    for path in (f"/object/{service.longest}", "/objects"):
        seen = picture(tmp_path, address + path, width)
        assert seen.shape[1] == width and seen.std() > 10
        assert np.ptp(seen[:, -3:], axis=0).max() < 4


@pytest.mark.slow
def test_dark_page_is_dark(service: Service, address: str, tmp_path: Path) -> None:
    """Who prefers dark pages gets one."""
    path = f"{address}/object/{service.longest}"
    dark = picture(tmp_path, path, 800, "--blink-settings=preferredColorScheme=0")
    light = picture(tmp_path, path, 800, "--blink-settings=preferredColorScheme=1")
    assert np.median(dark) < 60 and np.median(light) > 200
