"""Run the demo and photograph its status page with a headless Chromium: ``python docs/status_picture.py``.

It writes docs/images/status.png; with --dark as somebody sees it whose screen is dark.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from broker_filter import demo

PICTURE = Path(__file__).resolve().parent / "images" / "status.png"
WIDTH, HEIGHT = 1280, 1210  # the top of the page, with the first objects
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the picture; 0 when the demo went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--png", type=Path, default=PICTURE)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--height", type=int, default=HEIGHT, help=f"pixels (default: {HEIGHT})")
    options = parser.parse_args(arguments)
    browser = shutil.which("chromium")
    if browser is None:
        print("no chromium on the path: install one", file=sys.stderr)
        return 2

    def look(address: str) -> None:
        with tempfile.TemporaryDirectory() as profile:
            scheme = f"--blink-settings=preferredColorScheme={0 if options.dark else 1}"
            window = f"--window-size={WIDTH},{options.height}"
            picture = f"--screenshot={options.png.resolve()}"
            subprocess.run(  # noqa: S603 - our own page
                [browser, *FLAGS, scheme, window, f"--user-data-dir={profile}", picture, address],
                check=True,
                timeout=60,
                stderr=subprocess.DEVNULL,
            )

    return demo.main(look=look)


if __name__ == "__main__":
    sys.exit(main())
