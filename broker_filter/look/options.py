"""Command line of ``ictc-look``. Knows nothing of what is done with the options."""

import argparse
from pathlib import Path

from model.cli import add_common_options, picture_path

OBJECT_LIMIT = 60


def parser() -> argparse.ArgumentParser:
    """Options of ``ictc-look``."""
    p = argparse.ArgumentParser(
        "ictc-look",
        description="Draw what is known of objects: stamps, light curve, and the answer after each alert. One object "
        "becomes a sheet, several become a contact sheet, or a sheet each in a folder.",
    )
    p.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file, folder, tar or tar.gz of alerts")
    p.add_argument(
        "--object",
        action="append",
        default=[],
        dest="objects",
        metavar="ID",
        help="that is wanted; repeat; all without it",
    )
    p.add_argument("--out", type=picture_path, required=True, metavar="FILE", help="picture to write: png, svg, pdf")
    p.add_argument("--each", action="store_true", help="a sheet for each object, named FILE-OBJECT")
    p.add_argument("--dark", action="store_true", help="on dark ground")
    p.add_argument(
        "--limit",
        type=int,
        default=OBJECT_LIMIT,
        metavar="N",
        help="most objects, those with most alerts (default: %(default)s)",
    )
    p.add_argument(
        "--weights", action="append", default=[], metavar="PATH|SURVEY", help="network to use; repeat for each survey"
    )
    p.add_argument("--allow-untrained", action="store_true", help="accept networks that were never trained")
    p.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    p.add_argument("--schema", type=Path, metavar="FILE", help="schema of alerts that carry neither id nor schema")
    p.add_argument("--schemas", type=Path, metavar="FOLDER", help="schemas by id, for ids that the program lacks")
    add_common_options(p)
    return p
