"""The dictionary of the guides, ``dictionary.md``: every column and every file, made from the code that writes them.

``python -m s4c_hpc.guides.dictionary`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from s4c_hpc.config import load_config
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.text import markdown_table
from s4c_hpc.markers.relations import ACQUISITION_COLUMNS, FACTS, OBSERVATION_COLUMNS, PARCEL_COLUMNS, Meaning
from s4c_hpc.report.describe import describe
from s4c_hpc.report.markdown import markdown_lines
from s4c_hpc.report.questions import QUESTIONS

PAGE: Final = Path(__file__).with_suffix(".md")

_HEAD: Final = """# Dictionary: what every file and column means

In a minute: look a column up here, or ask for it where you are: `s4c markers describe l4c`, which for a workspace with
files says what those files say of themselves. Each column also carries its meaning, unit and codes in its metadata.

Made by `python -m s4c_hpc.guides.dictionary`; a test compares it with the code. Sets of dates are those of the
configuration that `s4c init` writes.

## Names

| name | grammar | example |
|---|---|---|
| values of a date | `{sensor}_{variable}_{statistic}__{date}` | `s2_ndvi_mean__20180507` |
| pixels by class | `{sensor}_{grid}_n_{class}__{date}` | `s2_10m_n_cloud__20180507` |
| of radar: orbit and pass | `{sensor}_{orbit}_{variable}_...` | `s1_117a_vv_minus_vh_db_mean__20180507` |
| in a series file, of one date | `{variable}_{statistic}`, `n_{class}` | `ndvi_mean`, `n_cloud` |
| features of a period | `XX_{first day}_{sensor}_{statistic}_{index}` | `XX_2018_05_01_s2_mean_ndvi` |
| radar by week, month, season | `XX_W{week}_...`, `XX_M{month}_...`, `XX_S_...` | `XX_W201818_ASC_VV_BCK_MEAN` |

Where a sensor came twice on a day, all columns of that day have the time as well: `__20180507t102648`. Floats that are
not known are NaN. Rows are in the order of `NewID`, the number that a parcel keeps from version to version; `parcels`
says which id of the declaration it has.

## Files of a workspace

![What lies where](workspace.svg)

| path | what |
|---|---|
| `s4c.toml` | the configuration: the only file that people write |
| `catalog/products.parquet` | the index of products: where, when, tile, whether usable, why not |
| `parcels/v0001/` | a version of the declaration (GeoParquet), its report, its tiles; never changed |
| `markers/<set>/<period>/<site>_<tile>.arrow` | results, a row a parcel; of events a row each |
| the same, `.manifest.json` | what went into it, what was missing and why |
| `tiles/<tile>/series/` | every acquisition as computed; `current.json` names the files that count |
| `tiles/<tile>/compact/` | months of them parcel by parcel |
| `tiles/<tile>/features/<sensor>/` | features of the season |
| `tiles/<tile>/confounders/` | what else may have changed coherence, by parcel and acquisition |
| `tiles/<tile>/raster/` | rasters that were asked for |
| `tiles/<tile>/stack/`, `index/`, `mask/` | pixels of farmland and whose they are: what makes a new index cheap |
| `imported/<name>/` | series from elsewhere, an import a folder |
| `run/<id>/` | plan, journals and logs of a run |
| `state/` | what is done, failed and was measured, folded from the journals; may be deleted |
| `report.html` | the report |
| `tmp/` | of running tasks; garbage when nothing runs |
"""

_VIEWS: Final = "What `s4c markers sql` and the database know beside the sets; a set is called "


def dictionary_page() -> str:
    """The text of the page."""
    config = load_config(bundled("configs/template.toml")).config
    names = "; ".join(f"`{key}`: `{relation.name}`" for key, relation in FACTS.items())
    acquisitions = {field.name: Meaning.of(field) for field in ACQUISITION_COLUMNS}
    parts: list[str] = [
        _HEAD,
        "# Columns of the sets\n",
        *markdown_lines(describe(None, config), QUESTIONS),
        "\n# Views of SQL\n",
        f"{_VIEWS}{names}.\n",
        *_view("parcels", PARCEL_COLUMNS),
        *_view("acquisitions", acquisitions),
        *_view("mdb1_long and mdb1_columns", OBSERVATION_COLUMNS),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _view(name: str, columns: Mapping[str, Meaning]) -> Iterator[str]:
    yield f"## {name}\n"
    yield from markdown_table(("column", "meaning"), ((f"`{column}`", meaning) for column, meaning in columns.items()))
    yield ""


if __name__ == "__main__":
    sys.stdout.write(dictionary_page())
