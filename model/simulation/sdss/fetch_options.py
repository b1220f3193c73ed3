"""Command line of ``ictc-fetch-sdss``, answered before what reads images is imported."""

import argparse
from pathlib import Path

from model.commands import add_common_options
from model.simulation.cli import mjd, number, whole_number
from model.simulation.datasets.recipe_schema import LARGEST_PX, MOST_OBJECTS, SMALLEST_PX
from model.simulation.sdss.frames import BANDS as SDSS_BANDS
from model.simulation.sdss.frames import BASE_URL

SUPERNOVA_SURVEY_MJD = (53_600.0, 54_470.0)  # autumns of 2005, 2006 and 2007
STAMP_PX = 64
LONGEST_PAUSE_S = 3600
SMALLEST_CACHE_GB, LARGEST_CACHE_GB = 0.1, 100_000  # the five frames of a field take 0.015


def parser_of_fetch() -> argparse.ArgumentParser:
    """Options of ``ictc-fetch-sdss``."""
    parser = argparse.ArgumentParser(
        "ictc-fetch-sdss", description="Real image series of SDSS Stripe 82, in the format of ictc-simulate dataset."
    )
    parser.add_argument(
        "--positions", type=Path, required=True, metavar="CSV", help="columns id, class, ra, dec, split"
    )
    parser.add_argument(
        "--catalogue", type=Path, metavar="FITS", help="SNID, RA, DECL of ids that come without position"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--bands", default=SDSS_BANDS, type=_bands, help="default: %(default)s")
    parser.add_argument(
        "--size",
        type=whole_number(SMALLEST_PX, LARGEST_PX),
        default=STAMP_PX,
        metavar="PIXELS",
        help="side of a stamp (%(default)s)",
    )
    parser.add_argument("--first-mjd", type=mjd, default=SUPERNOVA_SURVEY_MJD[0])
    parser.add_argument("--last-mjd", type=mjd, default=SUPERNOVA_SURVEY_MJD[1])
    parser.add_argument("--limit", type=whole_number(1, MOST_OBJECTS), metavar="N", help="only the first N objects")
    parser.add_argument("--fields", type=Path, metavar="CSV", help="which fields there are, instead of asking SDSS")
    parser.add_argument("--base-url", default=BASE_URL, help="server of the frames, or a mirror (%(default)s)")
    parser.add_argument(
        "--pause",
        type=number(0, LONGEST_PAUSE_S),
        default=1.0,
        metavar="SECONDS",
        help="between requests (%(default)s)",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="of downloaded frames (default: OUT.frames)")
    parser.add_argument(
        "--cache-gb",
        type=number(SMALLEST_CACHE_GB, LARGEST_CACHE_GB),
        default=20.0,
        help="then the oldest frames go (%(default)s)",
    )
    add_common_options(parser)
    return parser


def _bands(text: str) -> str:
    if not text or set(text) - set(SDSS_BANDS):
        raise argparse.ArgumentTypeError(f"{text!r}: choose of {SDSS_BANDS}")
    return "".join(band for band in SDSS_BANDS if band in text)
