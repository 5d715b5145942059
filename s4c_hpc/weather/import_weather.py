"""Import precipitation: whole or not at all, and the same content makes the same files."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.atomic import sha256_file, sync_directory, sync_file, write_text
from s4c_hpc.core.errors import ConfigError, NoInputsError, TemporaryError, is_disk_full, listing
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.weather.cells import reaches
from s4c_hpc.weather.daily import Accumulation, daily, told
from s4c_hpc.weather.edition import CONTRACT, POINTER, RAIN, Weather, folder_of, read_weather
from s4c_hpc.weather.field import Field, Tally, merged, sound
from s4c_hpc.weather.read_csv import read_csv
from s4c_hpc.weather.read_grid import FACTORS, GRIB, NETCDF, read_grid

_SUSPECT_MM: Final = 1.0
"""If no day of a month or more had as much, anywhere, the numbers are probably metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files are read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column -> that of the file."""
    cells: Path | None = None
    """Table of cell, lon and lat, for a table without coordinates."""
    unit: str | None = None
    """Of precipitation; by default mm of tables, and what a grid says."""
    date_format: str | None = None
    accumulation: Accumulation = Accumulation.AUTO
    max_distance_km: float | None = None
    """From the centre of a cell; by default half its diagonal."""


def import_weather(files: Sequence[Path], reading: Reading, workspace: Workspace) -> tuple[Weather, bool]:
    """Import files as one; what an earlier import has made is replaced in one step.

    Returns
    -------
    What was made, and whether that is new.

    Raises
    ------
    ConfigError
        If a unit or a column is not known.
    MissingDataError, InputError, ExternalToolError
        If a file cannot be read.
    NoInputsError
        If not one value is of use. What was there stays, as after every error.
    TemporaryError
        If another import is at work, or the disk is full.
    """
    if reading.unit is not None and reading.unit not in FACTORS:
        raise ConfigError(f"{reading.unit!r} is no unit", where="--unit", hint=f"say {', '.join(sorted(FACTORS))}")
    tally = Tally()
    found = merged([sound(_read(path, reading, tally), tally) for path in files], tally)
    accumulation = told(found) if reading.accumulation is Accumulation.AUTO else reading.accumulation
    days, mm = _trimmed(*daily(found, accumulation, tally))
    if not days.size:
        reasons = [f"{one.n} {one.reason}" for one in tally.folded()]
        raise NoInputsError(
            f"not one day of rain can be used: {listing(reasons) or 'no value'}",
            where=listing([str(path) for path in files]),
            hint="mend the files, or say what they hold: 's4c weather import --help'",
        )
    reach = reaches(found.lon, found.lat)
    if reading.max_distance_km is not None:
        reach = np.full(reach.size, reading.max_distance_km)
    with _alone(workspace) as folder, _private(folder) as made:
        _write(made / RAIN, found, reach, days, mm)
        edition = sha256_file(made / RAIN)[:16]
        weather = Weather(
            edition=edition,
            sources=tuple(path.name for path in files),
            n_cells=int(found.lon.size),
            first=_text(days[0]),
            last=_text(days[-1]),
            n_days=int(days.size),
            n_values=int(np.isfinite(mm).sum()),
            missing_days=_spans(days[~np.isfinite(mm).any(axis=0)]),
            reach_km=(round(float(reach.min()), 3), round(float(reach.max()), 3)),
            left_out=tally.folded(),
            notes=tuple(_notes(found, accumulation, reading, days, mm)),
        )
        return weather, _publish(workspace, made, weather)


def _read(path: Path, reading: Reading, tally: Tally) -> Field:
    if path.suffix.lower() in NETCDF | GRIB:
        return read_grid(path, reading.columns.get("precipitation_mm"), reading.unit)
    factor = FACTORS[reading.unit or "mm"]
    return read_csv(path, reading.columns, reading.cells, factor, reading.date_format, tally)


def _trimmed(days: NDArray[np.int64], mm: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Without days of which nothing is known before the first and after the last that are."""
    known = np.flatnonzero(np.isfinite(mm).any(axis=0))
    inside = slice(known[0], known[-1] + 1) if known.size else slice(0, 0)
    return days[inside], mm[:, inside]


def _write(
    path: Path, found: Field, reach: NDArray[np.float64], days: NDArray[np.int64], mm: NDArray[np.float32]
) -> None:
    """A row a cell, its days as one list: the days of a place are a page or two."""
    said = {
        "contract": CONTRACT,
        "first": str(int(days[0])),
        "long_name": "Daily precipitation from the day 'first' (since 1970) on",
        "unit": "mm",
    }
    kind = pa.list_(pa.field("item", pa.float32(), nullable=False), int(days.size))
    schema = pa.schema(
        [
            *(pa.field(name, pa.float64(), nullable=False) for name in ("lon", "lat", "reach_km")),
            pa.field("mm", kind, nullable=False),
        ],
        metadata=said,
    )
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(mm).ravel()), type=kind)
    columns = [pa.array(one) for one in (found.lon, found.lat, reach)]
    write_ipc(path, schema, [pa.RecordBatch.from_arrays([*columns, values], schema=schema)])


def _publish(workspace: Workspace, made: Path, weather: Weather) -> bool:
    """Give the edition its name, then point at it, then remove others."""
    folder = folder_of(workspace)
    final, pointer = folder / weather.edition, folder / POINTER
    with suppress(Exception):
        # Equal text and file: nothing is touched.
        whole = (final / RAIN).stat().st_size == (made / RAIN).stat().st_size
        if whole and read_weather(workspace) == weather:
            return False
    is_same = pointer.is_file() and f'"edition": "{weather.edition}"' in pointer.read_text(encoding="utf-8")
    if final.exists():
        final.rename(made.with_name(f".old-{uuid.uuid4().hex}"))
    sync_file(made / RAIN)
    sync_directory(made)
    made.rename(final)
    sync_directory(folder)
    write_text(pointer, weather.to_json())
    for other in folder.iterdir():
        if other.is_dir() and other != final:
            shutil.rmtree(other, ignore_errors=True)
    return not is_same


@contextmanager
def _alone(workspace: Workspace) -> Iterator[Path]:
    """The folder of the weather, kept for one import at a time where the file system can lock it."""
    folder = folder_of(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TemporaryError(
                "another import is at work", where=str(folder), hint="wait until it is done and run this one again"
            ) from error
        except OSError:
            pass  # NFS without locks
        yield folder
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise TemporaryError(
            f"the disk is full ({error.strerror})", where=str(folder), hint="make room and run the import again"
        ) from error
    finally:
        os.close(descriptor)


@contextmanager
def _private(folder: Path) -> Iterator[Path]:
    """A folder that is gone afterwards unless it got another name."""
    made = folder / f".{uuid.uuid4().hex}"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _spans(days: NDArray[np.int64]) -> tuple[str, ...]:
    """Days as ``2020-05-03`` and ``2020-05-03..2020-05-07``."""
    runs = np.split(days, np.flatnonzero(np.diff(days) > 1) + 1) if days.size else []
    return tuple(_text(run[0]) if run.size == 1 else f"{_text(run[0])}..{_text(run[-1])}" for run in runs)


def _text(day: np.int64) -> str:
    return str(np.datetime64(int(day), "D"))


def _notes(
    found: Field, accumulation: Accumulation, reading: Reading, days: NDArray[np.int64], mm: NDArray[np.float32]
) -> Iterator[str]:
    how = {
        Accumulation.DAY: "values are totals of their dates",
        Accumulation.HOUR: "values are of the hour that ends at their time, 00:00 being the last hour of a day",
        Accumulation.MIDNIGHT: "values are since midnight; that of 00:00 is the total of the day before",
    }[accumulation]
    yield how + (" (as they look; --accumulation says it)" if reading.accumulation is Accumulation.AUTO else "")
    if found.lon.size == 1 and reading.max_distance_km is None:
        yield "one cell only, whose size is not known: say --max-distance-km"
    if days.size >= 30 and np.nanmax(mm) < _SUSPECT_MM:
        yield f"no day has {_SUSPECT_MM:g} mm: if these are metres, say --unit m"
