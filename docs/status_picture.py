"""Run the demo and photograph its service's pages with a headless Chromium: ``python docs/status_picture.py``.

It writes docs/images/status.png, objects.png, object.png, object-dark.png and object-phone.png.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from broker_filter import demo

IMAGES = Path(__file__).resolve().parent / "images"
DARK, LIGHT = 0, 1  # Chromium's preferred colour schemes
PAGES = {  # name -> address, width and height in pixels, colour scheme; {} is the object with most alerts
    "status": ("/", 1280, 1260, LIGHT),
    "objects": ("/objects?order=alerts", 1280, 760, LIGHT),
    "object": ("/object/{}", 1280, 1330, LIGHT),
    "object-dark": ("/object/{}", 1280, 1330, DARK),
    "object-phone": ("/object/{}", 500, 1480, LIGHT),
}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=4000"),
)


def main() -> int:
    """Take the pictures; 0 when the demo went well."""
    browser = shutil.which("chromium")
    if browser is None:
        print("no chromium on the path: install one", file=sys.stderr)
        return 2

    def look(address: str) -> None:
        with urllib.request.urlopen(f"{address}objects?order=alerts", timeout=10) as listed:  # noqa: S310 - our own page
            most_alerts = re.findall(rb'href="/object/(\w+)"', listed.read())[0].decode()
        for name, (path, width, height, scheme) in PAGES.items():
            with tempfile.TemporaryDirectory() as profile:
                window = (f"--window-size={width},{height}", f"--blink-settings=preferredColorScheme={scheme}")
                picture = (f"--user-data-dir={profile}", f"--screenshot={IMAGES / name}.png")
                place = address.rstrip("/") + path.format(most_alerts)
                subprocess.run(  # noqa: S603 - our own page
                    [browser, *FLAGS, *window, *picture, place], check=True, timeout=90, stderr=subprocess.DEVNULL
                )

    return demo.main(look=look)


if __name__ == "__main__":
    sys.exit(main())
