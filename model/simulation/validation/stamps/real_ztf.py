"""Stamps and a few numbers of a folder of real ZTF alerts, for validation. Knows no service."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import fastavro
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from model.series import fit_to_size

STAMP_PX = 63
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
POSITIVE = ("t", "1")
EXPOSURE_DECIMALS = 5  # of a Julian date: a second; exposures are 38 s apart or more


@dataclass(frozen=True, slots=True)
class RealStamps:
    """Triplets of ``N`` alerts (science, template, difference) in DN, and what their packets say."""

    pixels_NCHW: NDArray[np.float32]  # DN, NaN where masked or off the detector; differences in the sense new - old
    whole_N: NDArray[np.bool_]  # the stamp came in full size
    object_N: NDArray[np.str_]
    exposure_N: NDArray[np.float64]  # when it began, Julian date rounded to a second
    template_N: NDArray[np.str_]  # field, quadrant of the camera and filter: one template each
    band_N: NDArray[np.int64]  # index in BANDS
    number: dict[str, NDArray[np.float64]]  # fields of ``candidate``, NaN where null


FIELDS = ("magpsf", "diffmaglim", "magzpsci", "magnr", "distnr", "sgscore1", "fwhm", "rb", "ra", "dec")


def read(folder: Path) -> RealStamps:
    """Read every ``*.avro`` below a folder, in order of name.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    paths = sorted(folder.rglob("*.avro"))
    if not paths:
        raise FileNotFoundError(f"no ZTF alerts (*.avro) below {folder}")
    pixels, whole, names, exposures, templates, bands, rows = [], [], [], [], [], [], []
    for path in paths:
        with path.open("rb") as file:
            for alert in fastavro.reader(file):
                if not isinstance(alert, dict):
                    continue
                candidate = alert["candidate"]
                stamps = [_stamp(alert[name]["stampData"]) for name in CUTOUTS]
                whole.append(stamps[0].shape == (STAMP_PX, STAMP_PX))
                triplet = np.stack([_on_full_size(stamp) for stamp in stamps])
                # Packets of fading sources carry the difference with its sign turned.
                triplet[2] *= 1 if candidate["isdiffpos"] in POSITIVE else -1
                pixels.append(triplet)
                names.append(alert["objectId"])
                exposures.append(round(candidate["jd"], EXPOSURE_DECIMALS))
                templates.append("/".join(str(candidate[field]) for field in ("field", "rcid", "fid")))
                bands.append(candidate["fid"])
                rows.append([_number(candidate.get(field)) for field in FIELDS])
    columns = np.array(rows, np.float64).T
    return RealStamps(
        np.stack(pixels),
        np.array(whole),
        np.array(names),
        np.array(exposures),
        np.array(templates),
        np.array(bands),
        dict(zip(FIELDS, columns, strict=True)),
    )


def _stamp(compressed: bytes) -> NDArray[np.float32]:
    # The cards of ZTF's stamps are not all standard; the pixels are.
    with fits.open(io.BytesIO(gzip.decompress(compressed)), ignore_missing_simple=True) as hdus:
        return np.asarray(hdus[0].data, np.float32)


def _on_full_size(stamp_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    return fit_to_size(stamp_HW[None], STAMP_PX)[0]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
