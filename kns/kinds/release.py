"""The releases of kube-proxy that kns knows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Release(StrEnum):
    """A minor release of Kubernetes. Later ones are greater: all have two digits."""

    V1_30 = "1.30"
    V1_31 = "1.31"
    V1_32 = "1.32"
    V1_33 = "1.33"
    V1_34 = "1.34"
    V1_35 = "1.35"
    V1_36 = "1.36"
    V1_37 = "1.37"


#: whose rules are written unless another is asked for
NEWEST: Final = max(Release)
