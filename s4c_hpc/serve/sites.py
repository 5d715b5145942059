"""Sites and their seasons: each workspace is a season of the site that its configuration names.

What a workspace holds changes while it is served, so every request asks for a *look* at it. A look is made anew when
a pointer of the series, an import or a version of the parcels is another one than before, which is asked of the file
system at most once a second; files that an older look has open stay what they were.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import versions
from s4c_hpc.parcels.store import PARCELS, Stamp, stamp
from s4c_hpc.series import ParcelSeries, open_series
from s4c_hpc.serve.book import Book, Outlines
from s4c_hpc.serve.problems import Problem

LATEST: Final = "latest"
_BOOKS: Final = 3
"""Versions of parcels of a season that stay in memory."""
_FRESH_S: Final = 1.0
"""How long a look is believed without asking the file system."""


class Shelf:
    """The versions of parcels that were asked for last."""

    def __init__(self, workspace: Workspace) -> None:
        """Nothing is read yet."""
        self._workspace, self._outlines = workspace, Outlines()
        self._books: dict[tuple[str, Stamp], Book] = {}
        self._lock = Lock()

    def book(self, version: str) -> Book:
        """The parcels of a version, which is there.

        Raises
        ------
        Problem
            503, if its file is damaged.
        """
        with self._lock:
            key = version, stamp(self._workspace.parcels / version / PARCELS)
            try:
                book = self._books.pop(key, None) or Book(self._workspace, version, self._outlines)
            except InputError as error:
                raise Problem(503, "a file is damaged", where=f"parcels {version}", hint="tell the operator") from error
            self._books[key] = book  # the last one is the one used last
            if len(self._books) > _BOOKS:
                del self._books[next(iter(self._books))]
            return book


class Look:
    """What a workspace held when it was last looked at."""

    def __init__(self, workspace: Workspace, names: Sequence[str], shelf: Shelf) -> None:
        """Nothing is read yet."""
        self.versions = tuple(names)
        """Of the parcels, oldest first; at least one."""
        self.series = open_series(workspace)
        self._shelf, self._series_lock = shelf, Lock()

    def book(self, version: str | None = None) -> Book:
        """The parcels of a version, of the newest by default.

        Raises
        ------
        Problem
            404, if there is no such version.
        """
        name = version or self.versions[-1]
        if name not in self.versions:
            raise Problem(
                404, "there is no such version of the parcels", hint=f"versions are {listing([*self.versions])}"
            )
        return self._shelf.book(name)

    def parcel(self, new_id: int, sensor: str | None, grid: str | None) -> tuple[ParcelSeries, ...]:
        """One parcel's series; one at a time, because the reader keeps files open. See ``Series.parcel``."""
        with self._series_lock:
            return self.series.parcel(new_id, sensor=sensor, grid=grid)


class Season:
    """A workspace."""

    def __init__(self, workspace: Workspace, site: str, start: dt.date, end: dt.date) -> None:
        """Nothing is read yet."""
        self.workspace, self.site, self.start, self.end = workspace, site, start, end
        self._shelf = Shelf(workspace)
        self._lock = Lock()
        self._look: Look | None = None
        self._stamp: object = None
        self._asked = 0.0

    @property
    def id(self) -> str:
        """First and last day: ``2018-03-01_2018-10-31``."""
        return f"{self.start}_{self.end}"

    def fresh(self) -> Look | None:
        """The look at the workspace, if it was made or confirmed just now; touches no file."""
        look = self._look
        return look if time.monotonic() - self._asked < _FRESH_S else None

    def look(self) -> Look:
        """What the workspace holds now.

        Raises
        ------
        Problem
            404, if it has no parcels.
        """
        with self._lock:
            if (look := self.fresh()) is not None:
                return look
            names = versions(self.workspace)
            found = (tuple(names), *_stamps(self.workspace))
            if self._look is None or found != self._stamp:
                if not names:
                    raise Problem(404, "there are no parcels yet", where=self.site, hint="run 's4c parcels import'")
                self._look = Look(self.workspace, names, self._shelf)
                self._stamp = found
            self._asked = time.monotonic()
            return self._look

    def forget(self) -> None:
        """Look anew at the next request: a file was gone that a look knew of."""
        with self._lock:
            self._look = None


def _stamps(workspace: Workspace) -> Iterable[object]:
    pointers = [*workspace.root.glob("tiles/*/series/current.json"), *workspace.imported.glob("*/current.json")]
    for path in sorted(pointers):
        try:
            yield str(path), stamp(path)
        except FileNotFoundError:
            continue


@dataclass(frozen=True)
class Site:
    """A site and its seasons, the latest last."""

    name: str
    seasons: tuple[Season, ...]

    def season(self, text: str) -> Season | None:
        """A season by its id, by the year in which it ends if that is one only, or ``latest``."""
        if text == LATEST:
            return self.seasons[-1]
        found = [one for one in self.seasons if text in {one.id, str(one.end.year)}]
        exact = [one for one in found if one.id == text]
        return exact[0] if exact else found[0] if len(found) == 1 else None


def open_sites(roots: Sequence[Path]) -> Mapping[str, Site]:
    """Sites of workspaces, by name.

    Raises
    ------
    MissingDataError
        A folder is no workspace.
    ConfigError
        Two workspaces are of the same season of a site, or a configuration is wrong.
    """
    found: dict[str, dict[str, Season]] = {}
    for root in roots:
        workspace = Workspace(root.resolve()).require()
        site = load_config(workspace.config).config.site
        season = Season(workspace, site.name, site.season_start, site.season_end)
        others = found.setdefault(site.name, {})
        if season.id in others:
            raise ConfigError(
                f"two workspaces are of site {site.name}, season {season.id}",
                where=f"{others[season.id].workspace.root}, {root}",
                hint="name one of them",
            )
        others[season.id] = season
    return {
        name: Site(name, tuple(sorted(seasons.values(), key=lambda one: (one.end, one.start))))
        for name, seasons in sorted(found.items())
    }
