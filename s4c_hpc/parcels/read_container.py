"""What a file is, whatever it is called: zip files without an extension, Parquet in a zip, archives to be unpacked."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from s4c_hpc.core.errors import InputError, listing

_PARQUET = frozenset({".parquet", ".geoparquet"})
_SOURCES = (".shp", ".gpkg", ".gml", ".geojson", ".json", ".fgb", ".gdb", ".xml", ".kml", ".sqlite", ".tab", ".csv")
"""What a dataset in a zip file ends in; first come, first taken."""
_UNPACKED_BY = {
    b"Rar!\x1a\x07": ("a RAR archive", "unrar x", "Debian packages unrar or unar"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "7z x", "Debian package p7zip-full"),
    b"\x1f\x8b": ("a gzip file", "gunzip", "or 'tar xzf' where the name ends in .tar.gz"),
    b"\xfd7zXZ\x00": ("an xz file", "xz -d", "or 'tar xJf' where the name ends in .tar.xz"),
}
"""First bytes of archives that are not read: what they are, what unpacks them, where that comes from."""
_N_MAGIC = 8


@dataclass(frozen=True, eq=False)
class Container:
    """Where the declaration is: one of the two."""

    dataset: str
    """What GDAL opens."""
    parquet: pa.NativeFile | None
    """An open Parquet file, which GDAL need not know."""


@contextmanager
def container(path: Path) -> Iterator[Container]:
    """Open what a path leads to.

    Raises
    ------
    InputError
        If it is an archive of a kind that has to be unpacked first, or a zip file that holds no or several datasets.
    """
    with ExitStack() as stack:
        if path.is_dir():
            yield Container(str(path), None)
            return
        with path.open("rb") as stream:
            first = stream.read(_N_MAGIC)
        for magic, (what, command, package) in _UNPACKED_BY.items():
            if first.startswith(magic) and not path.name.lower().endswith(".svgz"):
                raise InputError(
                    f"{what}, which is not read",
                    where=str(path),
                    hint=f"unpack it with '{command} {path.name}' ({package}) and name the file that comes out",
                )
        if first[:4] == b"PAR1":
            yield Container("", stack.enter_context(pa.OSFile(str(path))))
        elif first[:4] == b"PK\x03\x04" and path.suffix.lower() not in {".ods", ".xlsx", ".kmz"}:
            yield _in_zip(path, stack)
        elif first.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<"):
            yield Container(_apart(path, stack), None)
        else:
            yield Container(str(path), None)


def _apart(path: Path, stack: ExitStack) -> str:
    """The same file in a folder of its own: GDAL writes what it finds out about a GML file beside it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s4c-")))
    for part in {path, *(path.with_suffix(s) for s in (".gfs", ".xsd"))}:
        if part.exists():
            (folder / part.name).symlink_to(part.resolve())
    return str(folder / path.name)


def _in_zip(path: Path, stack: ExitStack) -> Container:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise InputError(f"a damaged zip file ({error})", where=str(path), hint="copy it again") from error
    names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if any(info.flag_bits & 1 for info in archive.infolist()):
        raise InputError("the zip file is encrypted", where=str(path), hint="unpack it first")
    found = _datasets(names)
    if len(found) != 1:
        what = f"a zip file with {len(found)} datasets" if found else "a zip file without a dataset"
        raise InputError(
            f"{what}: {listing(found or names)}", where=str(path), hint="unpack it and name the file that is meant"
        )
    if PurePosixPath(found[0]).suffix.lower() in _PARQUET:
        return Container("", pa.PythonFile(stack.enter_context(archive.open(found[0])), mode="r"))
    # In braces any name is taken for a zip file; a geodatabase is a folder in it.
    return Container(f"/vsizip/{{{path.resolve()}}}/{found[0]}", None)


def _datasets(names: list[str]) -> list[str]:
    """What can be read among the names of files in a zip file; a shapefile is one thing."""
    folders = {str(p) for n in names for p in PurePosixPath(n).parents if p.suffix.lower() == ".gdb"}
    if folders:
        return sorted(folders)
    for suffixes in (_PARQUET, *({s} for s in _SOURCES)):
        found = [n for n in names if PurePosixPath(n).suffix.lower() in suffixes]
        if found:
            return found
    return []
