"""Which column answers which question, plainly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Question:
    """A question and where its answer stands."""

    question: str
    answer: str
    sets: tuple[str, ...]
    """Those that the answer names."""


QUESTIONS: Final = (
    Question(
        "Was the field harvested, and when?",
        "l4c: H_W_START and H_W_END, the week; -10001 is no harvest, -10000 missing data (STATUS says which). "
        "l4c-evidence: the row with decision = harvest: verdict, start, end, confidence.",
        ("l4c", "l4c-evidence"),
    ),
    Question(
        "Is the catch crop there?",
        "l4c: C_INDEX of parcels with PRACTICE = 1 (4 STRONG ... 1 POOR), period P_START to P_END; which of M6 to M10 "
        "is 0 says why not. l4c-evidence: the row with decision = catch-crop.",
        ("l4c", "l4c-evidence"),
    ),
    Question(
        "Was fallow land mulched or mown?",
        "l4c: MOW_START to MOW_END with MOW_CONF, of parcels with PRACTICE = 2; mulching and mowing look alike. "
        "l4c-evidence: the row with decision = mowing. In reference mode neither is there: M8 = 0 says that vegetation "
        "was lost in the period, M10 = 0 that coherence rose.",
        ("l4c", "l4c-evidence"),
    ),
    Question(
        "Was land lying fallow as declared?",
        "l4c: C_INDEX of parcels with PRACTICE = 2; a harvest between P_START and P_END (H_W_START) speaks against it. "
        "l4c-evidence: decision = fallow.",
        ("l4c", "l4c-evidence"),
    ),
    Question(
        "Is the nitrogen-fixing crop there?",
        "l4c: C_INDEX of parcels with PRACTICE = 3. l4c-evidence: decision = nitrogen-fixing.",
        ("l4c", "l4c-evidence"),
    ),
    Question(
        "Was the field ploughed after the harvest?",
        "l4c: TL_W_START and TL_W_END (there with practices.rules.tillage = true); -10001 is no tillage. "
        "l4c-evidence: decision = tillage.",
        ("l4c", "l4c-evidence"),
    ),
    Question(
        "How often was grassland mown, and when?",
        "l4b-parcels: mow_n. l4b: a row a mowing, between start and end; date is the middle, confidence how sure "
        "it is.",
        ("l4b", "l4b-parcels"),
    ),
    Question(
        "Was the mowing rule of the crop kept?",
        "l4b-parcels: compl (1 yes, 2 no, 3 also outside of the periods, 0 not assessed, -1 no rule).",
        ("l4b-parcels",),
    ),
    Question(
        "Which crop is it, and does that fit the declaration?",
        "l4a: CT_pred_1 and CT_conf_1 against CT_decl; light sums it up.",
        ("l4a",),
    ),
    Question(
        "Why is there no answer?",
        "l4c: STATUS. l4b-parcels: assessed and reason. l4a: role and reason. l4c-evidence: verdict = undecided, and "
        "reason.",
        ("l4c", "l4b-parcels", "l4a", "l4c-evidence"),
    ),
    Question(
        "May rain have made the change?",
        "l4c-evidence: doubts (bits: 1 rain, 2 recovery after rain, 4 common rise); confidence is lower then. "
        "l4c: H_QUALITY and C_QUALITY are about gaps of radar, not about rain.",
        ("l4c-evidence", "l4c"),
    ),
)
