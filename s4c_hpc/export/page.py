"""The page that describes the database, ``SCHEMA.md``: made from the contract, so that it says what there is.

``python -m s4c_hpc.export.page`` prints it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from s4c_hpc.core.text import markdown_table
from s4c_hpc.export.contract import CONTRACT, Table, tables
from s4c_hpc.export.views import DatabaseView, database_views

PAGE: Final = Path(__file__).with_name("SCHEMA.md")

_HEAD: Final = f"""# The database

What `s4c export postgis` makes, contract `{CONTRACT}`. `python -m s4c_hpc.export.page` prints this page; a test
compares it with the code, and the code with a database. Tables and columns carry the same words as comments (`\\d+`
in psql).

Names are those of the files in small letters, and those of the views of `s4c markers sql`: a query on one runs on the
other, but for values of markers, which are views `<set>_long` there. Unknown values are NULL.

## Use

```sh
pip install 's4c-hpc[postgis]'
export PGPASSFILE=~/.pgpass                       # host:port:database:user:password, mode 600
s4c export postgis 'host=db.example dbname=farms user=s4c_writer' --columns 's2_ndvi_mean__*'
s4c export postgis service=farms                  # later: only what is new or has changed
```

A password on the command line is seen by everybody on the machine, so it does not belong there. `--marker-set` and
`--columns` choose, `--since 2018-06-01` leaves what was over before, `--all-versions` keeps older parcels, `--drop`
starts anew. What the workspace has no more goes from the database, too; so a schema is of one workspace, and parcels
of another are refused: give each site a `--schema` of its own.

Each file of the workspace is a transaction: readers see all of it, as it was or as it is. An export that is killed
leaves whole files, and the next one goes on. `exports` says what is there; a file without a row in it is exported
again.

In QGIS add `parcel_map` (key `newid`) or `mowing_map` (key `id`) as a layer. Conditions on `newid` or `date` of
`markers` read little: each marker file is a partition whose days the planner knows. A value takes some 60 bytes with
its index, in files 4: choose columns, and leave a season of all variables of a large region in files.

## Privileges

The owner of the database, once; the writer needs nothing else:

```sql
CREATE EXTENSION IF NOT EXISTS postgis;   -- in any schema
CREATE ROLE s4c_writer LOGIN;
CREATE ROLE s4c_reader LOGIN;
CREATE SCHEMA s4c AUTHORIZATION s4c_writer;
GRANT USAGE ON SCHEMA s4c TO s4c_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE s4c_writer IN SCHEMA s4c GRANT SELECT ON TABLES TO s4c_reader;
```

Whoever may see maps but no single value gets `GRANT SELECT ON s4c.parcel_map, s4c.mowing_map` instead of the default
privileges. A schema that holds tables of others is refused; `--drop` removes ours only, never what others built on
them.
"""


def schema_page() -> str:
    """The text of the page."""
    parts = [_HEAD, "## Views\n", *(_view(v) for v in database_views()), "## Tables\n", *(_table(t) for t in tables())]
    return "\n".join(parts)


def _table(table: Table) -> str:
    key = f" Key: {', '.join(f'`{k}`' for k in table.key)}." if table.key else ""
    lines = markdown_table(("column", "type", "meaning"), ((f"`{c.name}`", c.kind, c.meaning) for c in table.columns))
    return "\n".join((f"### {table.name}\n\n{table.about}.{key}\n", *lines, ""))


def _view(view: DatabaseView) -> str:
    lines = markdown_table(("column", "meaning"), ((f"`{name}`", meaning) for name, meaning in view.columns.items()))
    return "\n".join((f"### {view.name}\n\n{view.about}.\n", *lines, ""))


if __name__ == "__main__":
    sys.stdout.write(schema_page())
