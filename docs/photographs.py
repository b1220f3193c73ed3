"""Pictures of the program at work: ``python docs/photographs.py [ALERTS]``, by a headless Chromium.

Without ALERTS: docs/images/status.png, the front page of the demo's service, and the outputs of the notebook.
With ALERTS, a folder of real ZTF alerts in which SN 2021rhu is: its alert, its sheet, a contact sheet, a notebook
(``pip install nbconvert``), and the pages of a service that has read them all from Kafka. Every picture of an object
says by which weights it was drawn.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

from broker_filter import demo
from broker_filter.archive import inspect, look, replay
from broker_filter.config import KafkaSettings
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.local_broker import free_port, local_broker

DOCS = Path(__file__).resolve().parent
IMAGES, NOTEBOOK = DOCS / "images", DOCS / "from_alerts_to_classes.ipynb"
SUPERNOVA, FIRST_ALERT = "ZTF21abiuvdk", "1642404680815015001.avro"  # SN 2021rhu, type Ia
CONTACT_OBJECTS = 8
DARK, LIGHT = 0, 1  # Chromium's preferred colour schemes
TALL_PX, MARGIN_PX = 3000, 16
READ_LIMIT_S, INDEX_WRITES_S, NOTEBOOK_LIMIT_S = 300.0, 3.0, 300
PAGES = {  # name -> path, width and height in pixels (TALL_PX: down to where the page ends), colour scheme
    "objects": ("/objects?order=alerts", 1280, 760, LIGHT),
    "object": (f"/object/{SUPERNOVA}", 1280, TALL_PX, LIGHT),
    "object-dark": (f"/object/{SUPERNOVA}", 1280, TALL_PX, DARK),
    "object-phone": (f"/object/{SUPERNOVA}", 500, TALL_PX, LIGHT),
}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=4000"),
)


def photograph(address: str, name: str, width_px: int, height_px: int, scheme: int = LIGHT) -> None:
    """Write docs/images/NAME.png of a page; a tall picture ends where the page does."""
    path = IMAGES / f"{name}.png"
    with tempfile.TemporaryDirectory() as profile:
        window = (f"--window-size={width_px},{height_px}", f"--blink-settings=preferredColorScheme={scheme}")
        command = ["chromium", *FLAGS, *window, f"--user-data-dir={profile}", f"--screenshot={path}", address]
        subprocess.run(command, check=True, timeout=90, stderr=subprocess.DEVNULL)  # noqa: S603 - our own page
    if height_px == TALL_PX:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
            drawn = np.flatnonzero((pixels != pixels[-1, -1]).any(axis=(1, 2)))
            picture.crop((0, 0, width_px, min(height_px, int(drawn[-1]) + MARGIN_PX))).save(path, optimize=True)
    print(path)


def simulated() -> int:
    """Photograph the front page of the demo's service and run the notebook; 0 when the demo went well."""
    notebook = nbformat.read(NOTEBOOK, 4)
    NotebookClient(notebook, timeout=NOTEBOOK_LIMIT_S, resources={"metadata": {"path": str(DOCS.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it was run
    nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK)
    return demo.main(look=lambda address: photograph(address, "status", 1280, 1260))


def real_objects(alerts: Path) -> int:
    """Draw and photograph real objects; 0 when all went well."""
    sheet, contact = str(IMAGES / "look-sn2021rhu.png"), str(IMAGES / "look-contact.png")
    (first,) = alerts.rglob(FIRST_ALERT)
    statuses = [
        inspect.main([str(first), "--png", str(IMAGES / "inspect-sn2021rhu.png")]),
        look.main([str(alerts), "--object", SUPERNOVA, "--out", sheet]),
        look.main([str(alerts), "--limit", str(CONTACT_OBJECTS), "--out", contact]),
    ]
    with _service_that_read(alerts) as address:
        for name, (path, width_px, height_px, scheme) in PAGES.items():
            photograph(address + path, name, width_px, height_px, scheme)
    _notebook_of(alerts)
    return max(statuses)


@contextmanager
def _service_that_read(alerts: Path) -> Iterator[str]:
    """The address of a service that has read these alerts from Kafka, each in order of time."""
    with local_broker() as broker, tempfile.TemporaryDirectory(prefix="ictc-pictures-") as folder:
        topics = ("pictures-alerts", "pictures-out", "pictures-dead")
        Admin(KafkaSettings(brokers=broker.address)).create(topics, 1)
        replay.main([str(alerts), "--publish", topics[0], "--brokers", broker.address])
        count, port = sum(path.is_file() for path in alerts.rglob("*.avro")), free_port()
        flags = (
            f"--kafka.brokers {broker.address} --kafka.topics {topics[0]} --kafka.group pictures --model.weights ztf "
            f"--output.topic {topics[1]} --dead-letter.topic {topics[2]} --store.path {folder}/store "
            f"--http.port {port} --http.api --log.level error"
        )
        command = [sys.executable, "-m", "broker_filter.service.main", *flags.split()]
        service = subprocess.Popen(command)  # noqa: S603 - our own program
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until(lambda: _alerts_read(address) >= count and service.poll() is None)
            time.sleep(INDEX_WRITES_S)
            yield address
        finally:
            service.terminate()
            service.wait(60)


def _alerts_read(address: str) -> int:
    """How many alerts a service has read; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"{address}/api/accounts", timeout=10) as answer:  # noqa: S310 - our own page
            return int(json.load(answer)["read"])
    except OSError:
        return 0


def _wait_until(is_done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + READ_LIMIT_S
    while not is_done():
        if time.monotonic() > end_s:
            raise TimeoutError(f"the service has not read all alerts within {READ_LIMIT_S:.0f} s")
        time.sleep(0.5)


def _notebook_of(alerts: Path) -> None:
    """Photograph a notebook in which the supernova shows itself."""
    from nbconvert import HTMLExporter  # noqa: PLC0415 - of this picture only

    cells = (
        'import ictc\n\nclassifier = ictc.Classifier.load("ztf")\n'
        f'result = classifier.classify_files("{alerts.name}/", objects=["{SUPERNOVA}"])\nresult',
        'columns = ["mjd", "band", "magnitude", "snr", "broad_SN", "p_SNIa", "p_SNOther", "unknownScore"]\n'
        "result.table[columns][::6].to_pandas().round(3)",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=NOTEBOOK_LIMIT_S, resources={"metadata": {"path": str(alerts.parent)}}).execute()
    body, _ = HTMLExporter().from_notebook_node(notebook)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "notebook.html"
        page.write_text(body, "utf-8")
        photograph(page.as_uri(), "notebook-sn2021rhu", 1280, TALL_PX)


def main(arguments: list[str]) -> int:
    """Take the pictures; 0 when all went well, 2 where a Chromium or the folder is missing."""
    if shutil.which("chromium") is None:
        print("no chromium on the path: install one", file=sys.stderr)
        return 2
    if not arguments:
        return simulated()
    folder = Path(arguments[0]).resolve()
    if not any(folder.rglob(FIRST_ALERT)):
        print(f"{folder} does not hold {FIRST_ALERT}, the first alert of {SUPERNOVA}", file=sys.stderr)
        return 2
    return real_objects(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
