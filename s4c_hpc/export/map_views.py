"""What a map shows of each parcel, as one query that PostgreSQL and DuckDB both understand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from s4c_hpc.markers.relations import Meaning
from s4c_hpc.practices.codes import REASONS, Index, Practice, Status

PARCEL_MAP: Final = "parcel_map"
MOWING_MAP: Final = "mowing_map"

PRACTICE_WORDS: Final[Mapping[int, str]] = {
    Practice.NA: "harvest only",
    Practice.CATCH_CROP: "catch crop",
    Practice.FALLOW: "fallow",
    Practice.NFC: "nitrogen-fixing crop",
}
VERDICT_WORDS: Final[Mapping[int, str]] = {
    Index.STRONG: "strong",
    Index.MODERATE: "moderate",
    Index.WEAK: "weak",
    Index.POOR: "poor",
    Index.NA: "data are missing",
    Index.NA1: "too few pixels",
    Index.NR: "not relevant",
}
RULE_WORDS: Final[Mapping[int, str]] = {
    -1: "no rule",
    0: "not assessed",
    1: "mown",
    2: "not mown",
    3: "mown inside and outside of the period",
}
STATUS_WORDS: Final[Mapping[int, str]] = {int(s): REASONS[s] or "judged" for s in Status}

PARCEL_MAP_COLUMNS: Final[Mapping[str, Meaning]] = {
    "newid": Meaning(text="Number of the parcel, unique"),
    "ori_id": Meaning(text="Id in the declaration"),
    "ori_crop": Meaning(text="Declared crop, as the declaration codes it"),
    "tile": Meaning(text="Tile of the parcel"),
    "area_meters": Meaning(text="Area", unit="m2"),
    "crop_declared": Meaning(text="Declared class"),
    "crop_found": Meaning(text="Most likely class"),
    "crop_confidence": Meaning(text="Its probability, 0 to 1", unit="1"),
    "light": Meaning(text="Check of the declaration: green, yellow, red, grey"),
    "mowings": Meaning(text="Number of mowings"),
    "first_mowing": Meaning(text="Day of the first mowing"),
    "last_mowing": Meaning(text="Day of the last mowing"),
    "mowing_rule": Meaning(text="Whether the rule of the crop is kept"),
    "practice": Meaning(text="Declared practice"),
    "practice_verdict": Meaning(text="How sure it is that the practice is there"),
    "practice_status": Meaning(text="Whether practices could be judged, and if not, why"),
    "harvest_from": Meaning(text="Harvest: not before this day"),
    "harvest_to": Meaning(text="Harvest: not after this day"),
    "geometry": Meaning(text="Outline"),
}
MOWING_MAP_COLUMNS: Final[Mapping[str, Meaning]] = {
    "id": Meaning(text="Number of the row, unique"),
    "newid": Meaning(text="Number of the parcel"),
    "ori_id": Meaning(text="Id in the declaration"),
    "event": Meaning(text="Number of the mowing in the season of its parcel, from 1, by time"),
    "date": Meaning(text="Day of the mowing, on average the nearest"),
    "start": Meaning(text="Day of the last look before it"),
    "end": Meaning(text="Day of the first look after it"),
    "confidence": Meaning(text="Probability that it is a mowing", unit="1"),
    "seen_in": Meaning(text="S2, S1, or S2/S1 where both have a part in it"),
    "geometry": Meaning(text="Outline"),
}


def parcel_map() -> str:
    """A row a parcel that is not deleted, with the newest of all that is said of it; ``newid`` is unique."""
    return f"""
SELECT p.newid, p.ori_id, p.ori_crop, p.tile, p.area_meters,
       c.ct_decl AS crop_declared, c.ct_pred_1 AS crop_found, c.ct_conf_1 AS crop_confidence, c.light,
       m.mow_n AS mowings, e.first_mowing, e.last_mowing, {_words("m.compl", RULE_WORDS)} AS mowing_rule,
       {_words("r.practice", PRACTICE_WORDS)} AS practice, {_words("r.c_index", VERDICT_WORDS)} AS practice_verdict,
       {_words("r.status", STATUS_WORDS)} AS practice_status,
       coalesce(h.harvest_from, {_day("r.h_w_start")}) AS harvest_from,
       coalesce(h.harvest_to, {_day("r.h_w_end")}) AS harvest_to,
       p.geometry
FROM parcels p
LEFT JOIN (SELECT * FROM crop_types WHERE {_newest("crop_types")}) c ON c.newid = p.newid
LEFT JOIN (SELECT * FROM mowing_parcels WHERE {_newest("mowing_parcels")}) m ON m.newid = p.newid
LEFT JOIN (SELECT newid, min(date) AS first_mowing, max(date) AS last_mowing FROM mowing_events
           WHERE {_newest("mowing_events")} GROUP BY newid) e ON e.newid = p.newid
LEFT JOIN (SELECT * FROM practices WHERE {_newest("practices")}) r ON r.newid = p.newid
LEFT JOIN (SELECT newid, min(start) AS harvest_from, max("end") AS harvest_to FROM practice_evidence
           WHERE decision = 'harvest' AND verdict = 'found' AND {_newest("practice_evidence")}
           GROUP BY newid) h ON h.newid = p.newid
WHERE NOT p.is_deleted"""


def mowing_map() -> str:
    """A row a mowing of the newest season; ``id`` is unique."""
    return f"""
SELECT CAST(row_number() OVER (ORDER BY e.newid, e.event) AS integer) AS id, e.newid, p.ori_id, e.event, e.date,
       e.start, e."end", e.confidence, e.source AS seen_in, p.geometry
FROM mowing_events e JOIN parcels p ON p.newid = e.newid
WHERE {_newest("mowing_events", "e.")} AND NOT p.is_deleted"""


def _newest(relation: str, of: str = "") -> str:
    return f"{of}period = (SELECT max(period) FROM {relation})"


def _words(column: str, words: Mapping[int, str]) -> str:
    cases = " ".join(f"WHEN {int(code)} THEN '{text}'" for code, text in words.items())
    return f"CASE {column} {cases} END"


def _day(column: str) -> str:
    """A day that is written as a number, 20180716; NULL for codes below 0."""
    year, month = f"CAST(floor({column} / 10000.0) AS integer)", f"CAST(floor({column} % 10000 / 100.0) AS integer)"
    return f"CASE WHEN {column} > 0 THEN make_date({year}, {month}, {column} % 100) END"
