"""What objects of several kinds have in common."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import StrEnum

from kns.labfile.reader import JSON

#: of name servers, over UDP and TCP
DNS_PORT = 53
#: rand.SafeEncodeString: no vowels and nothing that looks like another letter
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
Labels = Mapping[str, str]
#: an object as the API server would print it
Object = dict[str, JSON]


class Protocol(StrEnum):
    """A transport protocol under Kubernetes' name; kube-proxy writes it in lower case."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


def safe_encoded(number: int) -> str:
    """A number as rand.SafeEncodeString writes its decimal digits."""
    return "".join(SAFE_LETTERS[ord(digit) % len(SAFE_LETTERS)] for digit in str(number))


def metadata(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    *,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """`metadata` of an object; a namespace or mapping that is empty is left out."""
    result: Object = {"name": name}
    if namespace:
        result["namespace"] = namespace
    if labels:
        result["labels"] = dict(labels)
    if annotations:
        result["annotations"] = dict(annotations)
    return result


def uid_of(lab: str, kind: str, namespace: str, name: str) -> str:
    """A UID as the API server gives one, but always the same for the object of that name."""
    full_name = f"{namespace}/{name}" if namespace else name
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"kns://{lab}/{kind.lower()}s/{full_name}"))
