"""kube-proxy's releases: in which of them it began to write something otherwise.

A difference is a row of `SINCE`; the code that writes the rules asks `release.has(…)` at the one
place where it shows. What is proven is what the captured rules of a release prove.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ReleaseChange(StrEnum):
    """What a release of kube-proxy writes otherwise than those before it."""

    FIREWALL_ELEMENTS_WITHOUT_COMMENT = "nftables: the elements of firewall-ips have no comment"
    INTERFACES_BY_NAME = "nftables: iifname, which may be a prefix, in place of iif"


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A minor release of Kubernetes: `1.30`."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def has(self, change: ReleaseChange) -> bool:
        """True if this release is one that writes so."""
        return self >= SINCE[change]


#: the release whose rules are written unless another is asked for
DEFAULT: Final = Release(1, 30)
#: in the order of the releases
SINCE: Final[Mapping[ReleaseChange, Release]] = {
    ReleaseChange.FIREWALL_ELEMENTS_WITHOUT_COMMENT: Release(1, 31),
    ReleaseChange.INTERFACES_BY_NAME: Release(1, 33),
}
