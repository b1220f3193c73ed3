"""The command ``ictc-fetch-sdss``: a data set of real Stripe 82 stamps, by positions and classes.

Finds the scans that cover each position, fetches their corrected frames, cuts, calibrates, measures and writes what
``ictc-simulate dataset`` writes too. Says what it could not fetch, and goes on from there when run again.
"""

import csv
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from model.commands import DONE, FAILED, INTERRUPTED, MISUSE
from model.data.dataset import Dataset, DatasetContents, DatasetError, DatasetWriter
from model.series import BANDS, MAD_TO_SIGMA, Series, compact
from model.simulation.cli import progress_bar
from model.simulation.datasets.plan import CLASSES
from model.simulation.images import photometry
from model.simulation.sdss.catalogue import CataloguedObject, PositionsError, read_positions
from model.simulation.sdss.cutouts import BadFrameError, Stamp, cut_stamp
from model.simulation.sdss.fetch_options import STAMP_PX, SUPERNOVA_SURVEY_MJD, parser_of_fetch
from model.simulation.sdss.frames import BANDS as SDSS_BANDS
from model.simulation.sdss.frames import (
    FRAME_BYTES,
    CatalogueServer,
    Coverage,
    CoverageError,
    FieldTable,
    FrameStore,
    FrameUnavailableError,
)
from model.simulation.sdss.frames import Field as SdssField
from model.simulation.survey.cameras import CAMERAS, electrons_per_njy
from model.simulation.surveys import SDSS


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that could not be had."""

    object_id: int
    what: str
    reason: str


def fetch(
    positions: Sequence[CataloguedObject],
    coverage: Coverage,
    store: FrameStore,
    folder: Path,
    *,
    size_px: int = STAMP_PX,
    bands: str = SDSS_BANDS,
    mjd_range: tuple[float, float] = SUPERNOVA_SURVEY_MJD,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Missing]:
    """Write the series of every position that has any frame.

    Returns
    -------
    list of what could not be fetched; the data set holds the rest.

    Raises
    ------
    DatasetError
        When the folder holds something else or cannot be written.
    CoverageError
        When nobody can say which frames cover a position.
    """
    request = {
        "name": "stripe82",
        "positions": [dataclasses.astuple(position) for position in positions],
        "bands": bands,
        "mjd_range": list(mjd_range),
    }
    missing: list[Missing] = _read_missing(missing_path(folder))
    contents = DatasetContents("sdss", ("science",), size_px, CLASSES, request, 0, version("ictc"))
    with DatasetWriter(folder, contents) as writer:
        written = set(writer.object_ids)
        for done, position in enumerate(positions):
            progress(done, len(positions))
            if position.object_id in written:
                continue
            missing = [entry for entry in missing if entry.object_id != position.object_id]
            fields = coverage.fields(position.ra_deg, position.dec_deg, *mjd_range)
            frames, lost = _fetch_object(position, fields, store, size_px, bands)
            missing += lost
            if frames:
                _append(writer, position, frames)
            else:
                reason = "no scan covers it" if not fields else "none of its frames could be had"
                missing.append(Missing(position.object_id, "object", reason))
            _write_missing(missing, missing_path(folder))
        progress(len(positions), len(positions))
    return missing


def missing_path(folder: Path) -> Path:
    """Where the list of what could not be fetched lies: beside the data set."""
    return folder.with_name(folder.name + ".missing.csv")


@dataclass(frozen=True, slots=True)
class LocatedStamp:
    """One stamp and where it came from."""

    field: SdssField
    band: str
    stamp: Stamp


def _fetch_object(
    position: CataloguedObject, fields: Sequence[SdssField], store: FrameStore, size_px: int, bands: str
) -> tuple[list[LocatedStamp], list[Missing]]:
    frames: list[LocatedStamp] = []
    missing: list[Missing] = []
    for field in fields:
        for band in bands:
            try:
                stamp = cut_stamp(store.frame(field, band), position.ra_deg, position.dec_deg, size_px)
            except (FrameUnavailableError, BadFrameError) as exc:
                missing.append(Missing(position.object_id, field.frame_name(band), str(exc)))
                continue
            if np.isfinite(stamp.pixels_HW).any():
                frames.append(LocatedStamp(field, band, stamp))
    return sorted(frames, key=lambda f: f.stamp.time_mjd), missing


def _append(writer: DatasetWriter, position: CataloguedObject, frames: list[LocatedStamp]) -> None:
    pixels_THW = np.stack([f.stamp.pixels_HW for f in frames])
    band_T = np.array([BANDS.index(f.band) for f in frames], np.int8)
    time_T = np.array([f.stamp.time_mjd for f in frames])
    seeing_T = np.array([_seeing(f) for f in frames])
    flat_TP = pixels_THW.reshape(len(frames), -1)
    sigma_T = MAD_TO_SIGMA * np.nanmedian(np.abs(flat_TP - np.nanmedian(flat_TP, axis=1, keepdims=True)), axis=1)
    x_T, y_T = (np.array([getattr(f.stamp, axis) for f in frames]) for axis in ("x_px", "y_px"))
    camera = CAMERAS["sdss"]
    electrons_T = electrons_per_njy(SDSS.gain_B, band_T, SDSS.zero_point_mag_B[band_T])
    flux_T, error_T = photometry.forced(
        pixels_THW, seeing_T / SDSS.pixel_arcsec, sigma_T, x_T, y_T, camera.psf, electrons_T
    )
    compacted = [compact(pixels_HW[None]) for pixels_HW in pixels_THW]
    series = Series(
        pixels_TCHW=np.stack([pixels for pixels, _ in compacted]),
        scale_TC=np.stack([scale for _, scale in compacted]),
        band_T=band_T,
        time_T=time_T,
        flux_T=flux_T,
        flux_error_T=error_T,
    )
    truth = {
        "ra_deg": position.ra_deg,
        "dec_deg": position.dec_deg,
        "first_mjd": float(time_T[0]),
        "run_T": [f.field.run for f in frames],
        "camcol_T": [f.field.camcol for f in frames],
        "field_T": [f.field.field for f in frames],
        "seeing_arcsec_T": seeing_T,
        "wcs_T8": np.concatenate([f.stamp.wcs for f in frames]),  # 8 numbers a frame: see sdss_stamps.Stamp
    }
    writer.append(position.object_id, position.label, position.split, None, series, truth)


def _seeing(frame: LocatedStamp) -> float:
    """Of the frame, or the survey's median where nobody measured it."""
    seeing = frame.field.seeing_arcsec[SDSS_BANDS.index(frame.band)]
    return seeing if np.isfinite(seeing) and seeing > 0 else float(SDSS.fwhm_arcsec_B[BANDS.index(frame.band)])


def _write_missing(missing: Sequence[Missing], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("object_id", "what", "reason"))
        rows.writerows((entry.object_id, entry.what, entry.reason) for entry in missing)


def _read_missing(path: Path) -> list[Missing]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Missing(int(row["object_id"]), row["what"], row["reason"]) for row in csv.DictReader(file)]
    except (ValueError, KeyError, TypeError, csv.Error) as exc:
        raise DatasetError(f"{path} is no list of what is missing: move it away: {exc}") from exc


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 everything fetched, 1 some frames are missing or it could not go on, 2 asked wrongly, 130 interrupted.
    """
    parser = parser_of_fetch()
    options = parser.parse_args(arguments)
    if options.first_mjd > options.last_mjd:
        parser.error(f"--first-mjd {options.first_mjd:g} is later than --last-mjd {options.last_mjd:g}")
    try:
        positions = read_positions(options.positions, options.catalogue)[: options.limit]
        coverage: Coverage = FieldTable(options.fields) if options.fields else CatalogueServer(options.pause)
        cache = options.cache or options.out.with_name(options.out.name + ".frames")
        store = FrameStore(cache, options.base_url, options.pause, round(options.cache_gb * 1e9))
        print(f"{len(positions)} objects; frames of some {FRAME_BYTES / 1e6:.0f} MB each go to {cache}")
        with progress_bar("Stripe 82") as progress:
            missing = fetch(
                positions,
                coverage,
                store,
                options.out,
                size_px=options.size,
                bands=options.bands,
                mjd_range=(options.first_mjd, options.last_mjd),
                progress=progress,
            )
    except PositionsError as exc:
        print(f"ictc-fetch-sdss: {exc}", file=sys.stderr)
        return MISUSE
    except (CoverageError, DatasetError, OSError) as exc:
        print(f"ictc-fetch-sdss: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("ictc-fetch-sdss: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return _report(options.out, len(positions), missing)


def _report(folder: Path, wanted: int, missing: Sequence[Missing]) -> int:
    dataset = Dataset.open(folder)
    print(f"{folder}: {len(dataset)} of {wanted} objects, {dataset.manifest['frames']} frames")
    if not missing:
        return DONE
    objects = sum(entry.what == "object" for entry in missing)
    frames = len(missing) - objects
    print(f"not fetched: {objects} objects and {frames} frames, listed with reasons in {missing_path(folder)}")
    for entry in missing[:5]:
        print(f"  object {entry.object_id}: {entry.what}: {entry.reason}")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
