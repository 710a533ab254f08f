"""Secret, as far as the network depends on one: of type kubernetes.io/tls."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from kns.kinds.common import Labels, Object, metadata
from kns.kinds.fields import ANNOTATIONS_FIELD, METADATA_PATHS, NAMED
from kns.labfile.reader import Choice, MapOf
from kns.labfile.shape import Field, Form, Shape

TLS_TYPE = "kubernetes.io/tls"


@dataclass(frozen=True, slots=True)
class TLSSecret:
    """A Secret of type kubernetes.io/tls: `tls.crt` and `tls.key`, in base64 or as they are."""

    namespace: str
    name: str
    certificate: str
    key: str = field(repr=False)


def decoded(value: str) -> str | None:
    """The text of a base64 value; None if it is none."""
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None


# -- reading ---------------------------------------------------------------------------------------


def _secret(
    name: str,
    namespace: str = "default",
    data: Mapping[str, str] | None = None,
    string_data: Mapping[str, str] | None = None,
    **_rest: Labels | str,
) -> TLSSecret:
    """`stringData` wins, as in Kubernetes; what is no text is left out, which the checks tell."""
    plain, encoded = string_data or {}, data or {}
    parts = [
        plain[key] if key in plain else decoded(encoded.get(key, "")) or ""
        for key in ("tls.crt", "tls.key")
    ]
    return TLSSecret(namespace, name, *parts)


SHAPE = Shape(
    _secret,
    *NAMED,
    ANNOTATIONS_FIELD,
    Field("type", Choice((TLS_TYPE,)), default=TLS_TYPE),
    Field("data", MapOf(), default={}),
    Field("stringData", MapOf(), default={}),
    of=TLSSecret,
    title="Secret",
)
FORM = Form(SHAPE, METADATA_PATHS)


# -- writing ---------------------------------------------------------------------------------------


def encoded(value: str) -> str:
    """A text in base64, as `data` has it."""
    return base64.b64encode(value.encode()).decode("ascii")


def write(secret: TLSSecret) -> Object:
    """A v1 Secret of type kubernetes.io/tls, which reads as the same one again."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(secret.name, secret.namespace, {}),
        "type": TLS_TYPE,
        "data": {"tls.crt": encoded(secret.certificate), "tls.key": encoded(secret.key)},
    }
