"""Connections to databases as they may be shown: without their password."""

from __future__ import annotations

import re
from typing import Final

_PASSWORD: Final = re.compile(
    r"([?&]password=)[^&\s]*"  # of an address
    r"|(password\s*=\s*)(?:'(?:[^'\\]|\\.)*(?:'|$)"  # in quotes, which may not be closed
    r"|(?:\\.|[^\s\\])+(?:\s+[^\s=]+(?=\s+[^\s=]|\s*$))*)"  # plain, and words behind it that are no key
    r"|(:/+[^:/@]*:).*(?=@)",
    re.IGNORECASE | re.DOTALL,
)


def without_password(text: str) -> str:
    """A connection as it may stand in messages and reports; what may belong to the password is left out as well."""
    return _PASSWORD.sub(lambda m: f"{m.group(m.lastindex or 0)}***", text)
