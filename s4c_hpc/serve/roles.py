"""Roles, and what each may see.

==============================================  ======  ========  =====
what                                            viewer  operator  admin
==============================================  ======  ========  =====
our columns of parcels, outlines, declared crop yes     yes       yes
series, mowings, crop types, practices, peers   yes     yes       yes
ids of the declaration (parcel, holding)        no      yes       yes
the declaration's own columns                   no      yes       yes
audit log, limits, names of tokens              no      no        yes
==============================================  ======  ========  =====

What a role may not see it can neither ask for, nor filter or sort by: a condition on a hidden value tells the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from s4c_hpc.parcels.table import COLUMNS, STRATUM

EVERY_SITE: Final = "*"

_SHOWN: Final = frozenset({*COLUMNS.names, STRATUM.name} - {"ori_id"})
"""Names that a declaration cannot give to columns of its own; these say nothing of who farms a parcel."""


class Role(StrEnum):
    """What somebody may do at a site; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role includes another."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    roles: Mapping[str, Role]
    """By site; ``*`` stands for all that are not named."""
    key: str
    """By which requests are counted."""

    def role_at(self, site: str) -> Role | None:
        """The role at a site; ``None``: there is no such site for this caller."""
        return self.roles.get(site, self.roles.get(EVERY_SITE))


def visible(names: Iterable[str], role: Role) -> list[str]:
    """Columns of parcels that a role may see, in their order. What is not known to be harmless is hidden."""
    return [name for name in names if name in _SHOWN or role.may(Role.OPERATOR)]
