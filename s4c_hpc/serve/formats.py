"""Tables as JSON, CSV or a stream of Arrow: one table, three writers, so that all three say the same.

JSON has a list a column (as JRC's service has), which is a third of the bytes of a list of rows. Numbers are written by
Arrow with as many digits as tell them apart in their own precision; what is not a number is null.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from starlette.responses import Response

from s4c_hpc.core.ipc import read_metadata
from s4c_hpc.markers import unknown_to_null
from s4c_hpc.parcels.columns import plain
from s4c_hpc.serve.problems import Problem

_FORMULA: Final = "^([=+@\\t\\r-])"
"""How text begins that spreadsheets calculate."""

Format = Literal["json", "csv", "arrow"]

JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "json": JSON,
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}


def wanted_format(accept: str, asked: Format | None) -> Format:
    """What the caller wants: ``?format=`` counts before ``Accept``.

    Raises
    ------
    Problem
        406, if it is none of ours.
    """
    if asked is not None:
        return asked
    weighted = []
    for i, part in enumerate(accept.split(",") if accept.strip() else ["*/*"]):
        kind, *parameters = [text.strip().lower() for text in part.split(";")]
        q = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weighted.append((-float(q), i, kind))
        except ValueError:
            continue
    for minus_q, _, kind in sorted(weighted):
        if minus_q == 0:
            continue
        for name, media_type in MEDIA_TYPES.items():
            if kind in {media_type, "*/*", media_type.partition("/")[0] + "/*"} or (kind, name) == (GEOJSON, "json"):
                return name
    raise Problem(406, "there is no such form of the answer", where="Accept", hint=", ".join(MEDIA_TYPES.values()))


def table_response(
    table: pa.Table, form: Format, about: Mapping[str, Any], *, next_link: str | None = None
) -> Response:
    """A table as an answer.

    Parameters
    ----------
    about : what stands before the columns in JSON, and in the schema's metadata in Arrow
    next_link : address of the next page
    """
    headers = {"Vary": "Accept, Authorization"} | ({"Link": f'<{next_link}>; rel="next"'} if next_link else {})
    if form == "csv":
        return Response(csv_bytes(table), headers=headers, media_type=MEDIA_TYPES[form])
    if form == "arrow":
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
        return Response(arrow_bytes(table, texts), headers=headers, media_type=MEDIA_TYPES[form])
    more = {**about, "links": [{"rel": "next", "href": next_link, "type": JSON}] if next_link else []}
    return Response(json_text(table, more), headers=headers, media_type=JSON)


def json_text(table: pa.Table, about: Mapping[str, Any]) -> str:
    """``about``, then ``rows``, ``columns`` (what each means) and ``values`` (a list a column)."""
    values = ",".join(f"{json.dumps(name)}:{_json_list(table[name])}" for name in table.column_names)
    head = json.dumps({**about, "rows": table.num_rows, "columns": described(table.schema)}, ensure_ascii=False)
    return f'{head[:-1]}, "values":{{{values}}}}}'


def described(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """Type and meaning of each column."""
    return {field.name: {"type": str(field.type), **read_metadata(field)} for field in schema}


def csv_bytes(table: pa.Table) -> bytes:
    """CSV with empty cells for what is not known, and times in ISO 8601.

    Text that a spreadsheet would run as a formula has an apostrophe before it, as OWASP advises: it is declared by
    farmers and opened by officers. The other forms have it as it is.
    """
    shown = unknown_to_null(plain(table))
    for i, field in enumerate(shown.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            shown = shown.set_column(i, field.name, pc.replace_substring_regex(shown.column(i), _FORMULA, r"'\1"))
        elif pa.types.is_timestamp(field.type):
            shown = shown.set_column(i, field.name, _times(shown.column(i)))
        elif pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise Problem(406, f"CSV cannot hold {field.name}", where="format", hint="take json or arrow")
    out = io.BytesIO()
    pa.csv.write_csv(shown, out)
    return out.getvalue()


def arrow_bytes(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """An IPC stream of one table."""
    told = table.replace_schema_metadata({**read_metadata(table.schema), **about})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, told.schema) as writer:
        writer.write_table(told)
    return out.getvalue()


def _json_list(column: pa.ChunkedArray) -> str:
    kind = column.type
    if pa.types.is_floating(kind):
        text = pc.if_else(pc.is_finite(column), column.cast(pa.string()), pa.scalar(None, pa.string()))
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        text = column.cast(pa.string())
    elif pa.types.is_timestamp(kind):
        text = _quoted(_times(column))
    elif pa.types.is_date(kind):
        text = _quoted(column.cast(pa.string()))
    else:
        # Few distinct texts, as a rule: each is written once.
        coded = column.combine_chunks().dictionary_encode() if column.num_chunks != 0 else pa.array([], kind)
        if not isinstance(coded, pa.DictionaryArray):
            return "[]"
        texts = pa.array([json.dumps(v, ensure_ascii=False, default=str) for v in coded.dictionary.to_pylist()])
        text = texts.cast(pa.string()).take(coded.indices)
    return "[" + ",".join(pc.fill_null(text, "null").to_pylist()) + "]"


def _quoted(texts: Any) -> Any:
    return pc.binary_join_element_wise('"', texts, '"', "")


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    seconds = column.cast(pa.timestamp("s", "UTC"), safe=False)
    return pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
