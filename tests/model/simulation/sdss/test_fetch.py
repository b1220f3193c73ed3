"""Fetching Stripe 82: from a server of frames to a data set, through every way a download can fail."""

import bz2
import csv
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from model.data.dataset import Dataset, DatasetError
from model.simulation.sdss.catalogue import PositionsError, read_positions
from model.simulation.sdss.cutouts import BadFrameError, cut_stamp
from model.simulation.sdss.fetch import fetch, main, missing_path
from model.simulation.sdss.frames import CoverageError, Field, FieldTable, FrameStore, FrameUnavailableError
from model.simulation.survey.cameras import CAMERAS
from model.simulation.survey.psf import images as psf_images

RA, DEC = 10.0, 0.1
SOURCE_NMGY = 500.0
SIZE = (300, 200)  # columns and rows of our small frames
NMGY_NJY = 3630.78


def write_frame(
    path: Path, band: str, tai_s: float, brightness: float, seeing_arcsec: float = 1.4, **changes: object
) -> None:
    """A corrected frame as the survey writes it: TAN WCS with rows along right ascension, bzip2."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [150.0, 100.0]
    wcs.wcs.crval = [RA + 0.002, DEC - 0.001]
    wcs.wcs.cd = np.array([[0.0, 0.396 / 3600], [0.396 / 3600, 0.0]])
    header = wcs.to_header()
    header.update({"BUNIT": "nanomaggy", "TAI": tai_s, "FILTER": band, "C_OBS": 26322.0} | changes)
    x, y = wcs.all_world2pix(RA, DEC, 0)
    centre = np.array([x - SIZE[0] // 2]), np.array([y - SIZE[1] // 2])
    psf = psf_images(np.array([seeing_arcsec / 0.396]), *centre, SIZE[::-1], CAMERAS["sdss"].psf)[0]
    noise = np.random.default_rng(int(tai_s)).normal(0, 0.02, psf.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    units = fits.HDUList([fits.PrimaryHDU((brightness * psf + noise).astype(np.float32), header)])
    with bz2.open(path, "wb") as file:
        units.writeto(file)


class FrameServer(http.server.ThreadingHTTPServer):
    """Serves a folder; can break off, fail for a while, and remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), FrameHandler)
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.break_off_once: set[str] = set()
        self.fail_times: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class FrameHandler(http.server.BaseHTTPRequestHandler):
    server: FrameServer

    def do_GET(self) -> None:
        name = Path(self.path).name
        wanted = self.headers.get("Range")
        self.server.requests.append((name, wanted))
        path = self.server.folder / self.path.lstrip("/")
        if self.server.fail_times.get(name, 0) > 0:
            self.server.fail_times[name] -= 1
            self.send_error(503)
            return
        if not path.is_file():
            self.send_error(404)
            return
        content, start = path.read_bytes(), 0
        if wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        body = content[start:]
        if name in self.server.break_off_once:
            self.server.break_off_once.discard(name)
            body = body[: len(body) // 2]  # ends early without saying so, as a proxy does
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def seeing(field: Field, band: str) -> float:
    return field.seeing_arcsec["ugriz".index(band)]


FIELDS = [
    Field(4874, 301, 3, 100, 53_640.3, (1.6, 1.5, 1.4, 1.3, 1.35)),
    Field(5622, 301, 3, 200, 53_656.2, (1.4,) * 5),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FrameServer]:
    """Two scans of one position in g and r, the source twice as bright in the second."""
    for n, field in enumerate(FIELDS):
        for band in "gr":
            write_frame(
                tmp_path / "sas" / field.frame_path(band),
                band,
                field.mjd * 86_400,
                SOURCE_NMGY * (n + 1),
                seeing(field, band),
            )
    server = FrameServer(tmp_path / "sas")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def write_fields(path: Path, fields: list[Field] = FIELDS) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        psf = [f"psfWidth_{band}" for band in "ugriz"]
        rows.writerow(["run", "rerun", "camcol", "field", "mjd", "raMin", "raMax", "decMin", "decMax", *psf])
        for f in fields:
            rows.writerow([f.run, f.rerun, f.camcol, f.field, f.mjd, 9.9, 10.1, 0.0, 0.2, *f.seeing_arcsec])
    return path


def write_positions(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["id,ra,dec,class,split", *rows]) + "\n")
    return path


def ask(server: FrameServer, folder: Path, *more: str) -> int:
    positions = folder / "positions.csv"
    if not positions.exists():
        write_positions(positions, f"7,{RA},{DEC},AGN,test", "8,20.0,0.5,SNIa,train")
    fields = write_fields(folder / "fields.csv")
    words = ["--positions", positions, "--fields", fields, "--base-url", server.url, "--bands", "gr", "--pause", "0"]
    return main([str(word) for word in [*words, "--out", folder / "set", "--size", "32", *more]])


def test_frames_become_a_data_set(tmp_path: Path, server: FrameServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Stamps are cut about the position, calibrated to nJy, timed, measured; what no scan covers is told."""
    assert ask(server, tmp_path) == 1
    dataset = Dataset.open(tmp_path / "set")
    assert len(dataset) == 1 and dataset.object_ids.tolist() == [7] and dataset.splits["test"].tolist() == [0]
    series = dataset.series(0)
    assert series.pixels_TCHW.shape == (4, 1, 32, 32) and set(series.band_T.tolist()) == {1, 2}
    pixels = series.pixels_TCHW.astype(np.float64) * series.scale_TC[..., None, None]
    totals = pixels.sum((1, 2, 3)) / NMGY_NJY
    np.testing.assert_allclose(totals, [500, 500, 1000, 1000], rtol=0.03)
    np.testing.assert_allclose(series.flux_T / NMGY_NJY, totals, rtol=0.03)
    brightest = np.unravel_index(np.argmax(pixels[0, 0]), (32, 32))
    assert brightest == (16, 16)
    truth = dataset.truth().to_pylist()[0]
    row_s = 26_322e-6
    assert truth["first_mjd"] * 86_400 - FIELDS[0].mjd * 86_400 == pytest.approx(100 * row_s, abs=30 * row_s)
    assert truth["run_T"] == [4874, 4874, 5622, 5622]
    assert "not fetched: 1 objects" in capsys.readouterr().out
    assert "8,object,no scan covers it" in missing_path(tmp_path / "set").read_text()


def test_the_wcs_of_a_stamp_points_at_its_object(tmp_path: Path, server: FrameServer) -> None:
    """The WCS kept with each frame puts the object within half a pixel of the stamp's centre."""
    ask(server, tmp_path)
    values = np.array(Dataset.open(tmp_path / "set").truth().to_pylist()[0]["wcs_T8"]).reshape(4, 8)
    for row in values:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = row[:2], row[2:4], row[4:].reshape(2, 2)
        x, y = wcs.all_world2pix(RA, DEC, 0)
        assert abs(x - 16) <= 0.5 and abs(y - 16) <= 0.5


def test_a_missing_frame_does_not_cost_the_object(
    tmp_path: Path, server: FrameServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of a series is kept, and the missing frame is listed with the server's answer."""
    (tmp_path / "sas" / FIELDS[1].frame_path("r")).unlink()
    assert ask(server, tmp_path) == 1
    assert len(Dataset.open(tmp_path / "set").series(0)) == 3
    assert "404" in missing_path(tmp_path / "set").read_text()


def test_everything_fetched_is_success(tmp_path: Path, server: FrameServer) -> None:
    """With nothing missing the status is 0 and the list is empty."""
    write_positions(tmp_path / "positions.csv", f"7,{RA},{DEC},AGN,test")
    assert ask(server, tmp_path) == 0
    assert missing_path(tmp_path / "set").read_text().splitlines() == ["object_id,what,reason"]


def test_frames_are_fetched_once(tmp_path: Path, server: FrameServer) -> None:
    """A second data set from the same cache asks the server for nothing."""
    ask(server, tmp_path)
    requests = len(server.requests)
    assert requests == 4
    ask(server, tmp_path, "--out", str(tmp_path / "again"), "--cache", str(tmp_path / "set.frames"))
    assert len(server.requests) == requests


def test_a_damaged_ledger_is_told(tmp_path: Path, server: FrameServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list of checksums is a line with a remedy, not the end of every further fetch."""
    (tmp_path / "set.frames").mkdir()
    (tmp_path / "set.frames" / "frames.json").write_text("")
    assert ask(server, tmp_path) == 1
    assert "frames.json is damaged: remove it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--cache-gb", "nan"], "is not a number from 0.1"),
        (["--cache-gb", "-1"], "is not a number from 0.1"),
        (["--pause", "-5"], "is not a number from 0 to 3600"),
        (["--first-mjd", "54000", "--last-mjd", "53900"], "is later than --last-mjd"),
    ],
)
def test_options_that_make_no_sense(
    tmp_path: Path, server: FrameServer, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    """Waits, rooms and spans that nothing can keep to are refused before anybody is asked."""
    with pytest.raises(SystemExit, match="2"):
        ask(server, tmp_path, *more)
    assert message in capsys.readouterr().err
    assert not server.requests


def test_a_list_that_was_mended_is_another(tmp_path: Path, server: FrameServer) -> None:
    """What is known again of a data set is each position with its class and split, not the id alone."""
    ask(server, tmp_path)
    manifest = Dataset.open(tmp_path / "set").manifest
    assert manifest["recipe"]["positions"][0] == [7, pytest.approx(RA), DEC, "AGN", "test"]


def quick_store(server: FrameServer, folder: Path) -> FrameStore:
    return FrameStore(folder, server.url, pause_s=0, sleep=lambda _: None)


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, server: FrameServer) -> None:
    """After a connection that ended early only the rest is asked for."""
    name = FIELDS[0].frame_name("g")
    server.break_off_once.add(name)
    path = quick_store(server, tmp_path / "cache").frame(FIELDS[0], "g")
    assert path.read_bytes() == (tmp_path / "sas" / FIELDS[0].frame_path("g")).read_bytes()
    assert server.requests[0][1] is None and (server.requests[1][1] or "").startswith("bytes=")


def test_a_busy_server_is_asked_again(tmp_path: Path, server: FrameServer) -> None:
    """Passing errors are waited out, lasting ones end with the reason."""
    server.fail_times[FIELDS[0].frame_name("g")] = 2
    assert quick_store(server, tmp_path / "cache").frame(FIELDS[0], "g").exists()
    server.fail_times[FIELDS[0].frame_name("r")] = 99
    with pytest.raises(FrameUnavailableError, match="503"):
        quick_store(server, tmp_path / "cache").frame(FIELDS[0], "r")


def test_a_changed_frame_is_fetched_again(tmp_path: Path, server: FrameServer) -> None:
    """A cached file that is not what was fetched is not trusted."""
    store = quick_store(server, tmp_path / "cache")
    path = store.frame(FIELDS[0], "g")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + b"wrong")
    assert quick_store(server, tmp_path / "cache").frame(FIELDS[0], "g").read_bytes() == whole


def test_what_is_no_frame_is_not_kept(tmp_path: Path, server: FrameServer) -> None:
    """A page of HTML in place of a frame is refused after a few attempts."""
    (tmp_path / "sas" / FIELDS[0].frame_path("g")).write_bytes(b"<html>maintenance</html>")
    with pytest.raises(FrameUnavailableError, match="4 attempts"):
        quick_store(server, tmp_path / "cache").frame(FIELDS[0], "g")
    assert not list((tmp_path / "cache").glob("*.bz2*"))


def test_the_cache_is_bounded(tmp_path: Path, server: FrameServer) -> None:
    """When the folder is full the oldest frames go."""
    store = FrameStore(tmp_path / "cache", server.url, 0, limit_bytes=3_400_000, sleep=lambda _: None)
    for field in FIELDS:
        for band in "gr":
            store.frame(field, band)
    assert 1 <= len(list((tmp_path / "cache").glob("*.bz2"))) < 4


def test_an_absent_server_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without network every frame is listed as missing, and the data set is empty but whole."""
    store = FrameStore(tmp_path / "cache", "http://127.0.0.1:1", 0, sleep=lambda _: None)
    with pytest.raises(FrameUnavailableError, match="refused"):
        store.frame(FIELDS[0], "g")


def test_other_images_are_refused(tmp_path: Path) -> None:
    """A frame in counts, without a time, or of another place is an error that says so."""
    for change, message in (({"BUNIT": "ADU"}, "not in nanomaggies"), ({"CRVAL1": 50.0}, "does not show")):
        write_frame(tmp_path / "frame.fits.bz2", "g", 4.6e9, 1.0, **change)
        with pytest.raises(BadFrameError, match=message):
            cut_stamp(tmp_path / "frame.fits.bz2", RA, DEC, 32)


def test_stamps_at_an_edge_are_padded(tmp_path: Path) -> None:
    """Pixels that the frame does not have are NaN."""
    write_frame(tmp_path / "frame.fits.bz2", "g", 4.6e9, 1.0, CRPIX1=20.0)
    stamp = cut_stamp(tmp_path / "frame.fits.bz2", RA, DEC, 64)
    assert stamp.pixels_HW.shape == (64, 64) and np.isnan(stamp.pixels_HW[:, 0]).all()
    assert np.isfinite(stamp.pixels_HW).mean() > 0.3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,10,0,Quark,a"], "Quark"),
        (["x,10,0,AGN,a"], "x"),
        ([f"{2**63},10,0,AGN,a"], "64 bits"),
        (["1,10,95,AGN,a"], "no position"),
        (["1,10,0,AGN,a", "1,11,0,AGN,a"], "twice"),
        ([], "lists no object"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    """The row that cannot be read is named."""
    with pytest.raises(PositionsError, match=message):
        read_positions(write_positions(tmp_path / "positions.csv", *rows))


def test_ids_need_a_catalogue(tmp_path: Path) -> None:
    """A list of ids alone is refused with the way out."""
    (tmp_path / "ids.csv").write_text("class,sdss_sn_cid\nAGNs,13832\n")
    with pytest.raises(PositionsError, match="--catalogue"):
        read_positions(tmp_path / "ids.csv")


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, short rows, and fields without numbers are told with their file."""
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"id,class,ra,dec\n1,AGN,10,\xff\xfe\n")
    with pytest.raises(PositionsError, match="in UTF-8"):
        read_positions(broken)
    with pytest.raises(CoverageError, match="cannot read"):
        FieldTable(broken)
    with pytest.raises(PositionsError, match="as a FITS table"):
        read_positions(broken, broken)
    broken.write_text("id,class,ra,dec\n1,AGN\n")
    with pytest.raises(PositionsError, match=r"broken.csv:2: the row is shorter"):
        read_positions(broken)
    broken.write_text(",".join(FieldTable.NEEDED) + "\n1,2,3,4,5,6,7,8,nine\n")
    with pytest.raises(CoverageError, match=r"broken.csv:2: could not convert"):
        FieldTable(broken)
    missing_path(tmp_path / "set").write_text("object_id\none\n")
    with pytest.raises(DatasetError, match="move it away"):
        fetch([], FieldTable.__new__(FieldTable), FrameStore(tmp_path / "cache"), tmp_path / "set")


def test_the_ids_of_the_experiment_have_positions(shared_data: Path) -> None:
    """Every id of the published experiment is found in the catalogue, on Stripe 82."""
    folder = shared_data / "science/sdss"
    positions = read_positions(folder / "stripe82_object_ids.csv", folder / "sdss_sn_candidates.fits.gz")
    assert len(positions) == 8248
    assert all(abs(position.dec_deg) < 1.5 for position in positions)
    assert {position.label for position in positions} == {"AGN", "SNIa", "Variable", "SNOther"}


def test_a_scan_counts_once(tmp_path: Path) -> None:
    """A position on two overlapping frames of one scan gives one field."""
    twice = [FIELDS[0], Field(4874, 301, 3, 101, 53_640.3, (1.4,) * 5)]
    table = FieldTable(write_fields(tmp_path / "fields.csv", twice))
    assert [f.field for f in table.fields(RA, DEC, 53_600, 54_470)] == [100]
    assert table.fields(RA, DEC, 53_700, 54_470) == []
