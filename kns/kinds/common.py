"""What objects of several kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

Labels = Mapping[str, str]


class Protocol(StrEnum):
    """A transport protocol under Kubernetes' name; kube-proxy writes it in lower case."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
