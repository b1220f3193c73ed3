"""Classifications as a HATS catalogue: Parquet files by HEALPix pixel, the rows of an object together in order of time.

The position of an object is that of its first alert, so that all its rows lie in one pixel; a pixel is as small as the
number of its rows asks for. LSDB and other HATS tools open the folder, pandas and polars its ``dataset`` folder.

References
----------
HATS, IVOA Note 2025: https://www.ivoa.net/documents/Notes/HATS/
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from broker_filter.archive.cluster.shared_folder import SharedFolder
from broker_filter.archive.time_order import SortedFile
from broker_filter.output.tables import ROWS_PER_GROUP, arrow_table, columns_of, row_of
from broker_filter.records import Accounts, Classification, object_key
from broker_filter.series.rows import sortable_order

FINEST_ORDER = 29  # of the column that sorts the rows
COUNT_ORDER = 8  # the smallest pixel of a file, 0.05 square degrees
ROWS_PER_PIXEL = 500_000  # of a file, unless its pixel is of the smallest
HEALPIX = "_healpix_29"
_HEALPIX_BYTES = 8
_END_OF_KEY = b"\0"


class Pixel(NamedTuple):
    """A HEALPix pixel in the nested scheme."""

    order: int
    number: int

    @property
    def bounds(self) -> tuple[int, int]:
        """The pixels of ``FINEST_ORDER`` in it: first, and first behind."""
        shift = 2 * (FINEST_ORDER - self.order)
        return self.number << shift, (self.number + 1) << shift


class SkyOrder:
    """Classifications by position of their object, object and time, in fixed memory.

    Parameters
    ----------
    folder
        For a temporary file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._rows = SortedFile(folder)
        self._position_of_object: dict[str, tuple[float, float, int]] = {}
        self.rows_of_pixel: Counter[int] = Counter()  # of COUNT_ORDER

    def put(self, one: Classification) -> None:
        """Take a classification; those of one object come in order of time."""
        key = object_key(one.survey, one.object_id)
        position = self._position_of_object.get(key)
        if position is None:
            position = self._position_of_object[key] = _position(one)
        healpix = position[2]
        self.rows_of_pixel[healpix >> 2 * (FINEST_ORDER - COUNT_ORDER)] += 1
        name = healpix.to_bytes(_HEALPIX_BYTES, "big") + key.encode() + _END_OF_KEY
        self._rows.put(name + sortable_order(one.time_mjd, one.alert_id), orjson.dumps([position, one]))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of a table, sorted."""
        read = TypeAdapter(Classification).validate_python
        for _, record in self._rows:
            (ra_deg, dec_deg, healpix), one = orjson.loads(record)
            yield {HEALPIX: healpix, "objectRa": ra_deg, "objectDec": dec_deg, **row_of(read(one))}

    def close(self) -> None:
        self._rows.close()


def _position(one: Classification) -> tuple[float, float, int]:
    from hats.pixel_math.spatial_index import compute_spatial_index  # noqa: PLC0415 - of the extra "archive"

    assert one.detection is not None and one.detection.ra_deg is not None and one.detection.dec_deg is not None
    ra_deg, dec_deg = one.detection.ra_deg, one.detection.dec_deg
    return ra_deg, dec_deg, int(compute_spatial_index([ra_deg], [dec_deg])[0])


def schema_of(classes: Sequence[str]) -> pa.Schema:
    """The columns of the catalogue: those of other tables behind the object's position."""
    first = [
        pa.field(HEALPIX, pa.int64(), metadata={"description": "HEALPix pixel of order 29 of the object, nested"}),
        pa.field("objectRa", pa.float64(), metadata={"description": "of the object's first alert", "unit": "deg"}),
        pa.field("objectDec", pa.float64(), metadata={"description": "of the object's first alert", "unit": "deg"}),
    ]
    return pa.schema([*first, *columns_of(tuple(dict.fromkeys(classes)))])


def write_sorted(out: Any, order: SkyOrder, classes: Sequence[str]) -> int:
    """Write the rows of one partition, sorted, into a Parquet file; return how many."""
    schema = schema_of(classes)
    rows = order.rows()
    count = 0
    with pq.ParquetWriter(out, schema) as writer:
        while some := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(arrow_table(some, schema))
            count += len(some)
    return count


def pixels_for(rows_of_pixel: Mapping[int, int], most_rows: int = ROWS_PER_PIXEL) -> list[Pixel]:
    """The largest pixels that hold at most ``most_rows`` rows each, or are of ``COUNT_ORDER``.

    Parameters
    ----------
    rows_of_pixel
        Number of a pixel of ``COUNT_ORDER`` -> its rows.
    """
    counts = [Counter(rows_of_pixel)]
    for _ in range(COUNT_ORDER):
        coarser: Counter[int] = Counter()
        for number, rows in counts[-1].items():
            coarser[number >> 2] += rows
        counts.append(coarser)
    counts.reverse()  # by order
    pixels: list[Pixel] = []
    crowded = set(counts[0])
    for order, of_order in enumerate(counts):
        divided = set()
        for number in sorted(n for n in of_order if n in crowded):
            if of_order[number] <= most_rows or order == COUNT_ORDER:
                pixels.append(Pixel(order, number))
            else:
                divided.add(number)
        crowded = {4 * number + quarter for number in divided for quarter in range(4)}
    return pixels


def write_pixel(work: SharedFolder, names: Sequence[str], catalogue: SharedFolder, pixel: Pixel) -> int:
    """Bring the rows of a pixel together from the files of partitions; return how many."""
    first, behind = pixel.bounds
    filters = [(HEALPIX, ">=", first), (HEALPIX, "<", behind)]
    tables = [pq.read_table(work.path(n), filesystem=work.filesystem, filters=filters) for n in names]
    table = pa.concat_tables(tables).sort_by([(HEALPIX, "ascending"), ("objectId", "ascending"), ("mjd", "ascending")])
    with catalogue.writing(leaf_name(pixel)) as out:
        pq.write_table(table, out)
    return len(table)


def leaf_name(pixel: Pixel) -> str:
    """Where HATS looks for the rows of a pixel."""
    folder = pixel.number // 10_000 * 10_000
    return f"dataset/Norder={pixel.order}/Dir={folder}/Npix={pixel.number}.parquet"


def finish_catalogue(catalogue: SharedFolder, name: str, pixels: Sequence[Pixel], accounts: Accounts) -> None:
    """Write what makes a folder of files a catalogue: properties, the list of pixels, metadata, and the accounts."""
    from hats.catalog import PartitionInfo, TableProperties  # noqa: PLC0415 - of the extra "archive"
    from hats.io.parquet_metadata import write_parquet_metadata  # noqa: PLC0415
    from hats.pixel_math import HealpixPixel  # noqa: PLC0415

    PartitionInfo.from_healpix([HealpixPixel(*pixel) for pixel in pixels]).write_to_file(catalog_path=catalogue.url)
    total_rows = write_parquet_metadata(catalogue.url)
    about = {
        "catalog_name": name,
        "catalog_type": "source",
        "total_rows": total_rows,
        "ra_column": "objectRa",
        "dec_column": "objectDec",
        "healpix_column": HEALPIX,
        "healpix_order": FINEST_ORDER,
        "hats_max_rows": ROWS_PER_PIXEL,
    }
    TableProperties(**about).to_properties_file(catalogue.url)
    catalogue.write_text("summary.json", orjson.dumps(accounts, option=orjson.OPT_INDENT_2).decode() + "\n")
