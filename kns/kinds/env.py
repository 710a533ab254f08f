"""A container's `env` and `envFrom`: values, fields of its pod, keys of ConfigMaps and Secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kns.kinds.fields import ANY_TEXT, ARGUMENT, ENV_NAME, FLAG
from kns.labfile.reader import REQUIRED, Choice, Text
from kns.labfile.shape import Field, Shape
from kns.labfile.wording import RefusedError, quoted_list

#: the fields of a pod that a variable may have (pkg/apis/core/validation, validEnvDownwardAPI…)
FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
#: one label or annotation
SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class SourceKind(StrEnum):
    """Where a variable's value comes from that is no field of its pod."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - the kind's name
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True)
class KeySource:
    """A key of a ConfigMap or Secret; without `key` all of them, their names after `prefix`."""

    kind: SourceKind
    name: str
    key: str = ""
    optional: bool = False
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class EnvVar:
    """An environment variable; `value` may refer to others as `$(NAME)`.

    With `field_path` the value is that field's of the pod, with `source` another object's: in what
    is read it is empty, and resolved it is there, any `$` in it doubled so that nothing expands.
    """

    name: str
    value: str = ""
    field_path: str = ""
    source: KeySource | None = None


def literal(text: str) -> str:
    """A value that means itself: what is referred to is not expanded once more."""
    return text.replace("$", "$$")


# -- reading ---------------------------------------------------------------------------------------


def _path_objection(value: str) -> str:
    if value in FIELD_PATHS or SUBSCRIPT.fullmatch(value):
        return ""
    known = quoted_list((*FIELD_PATHS, "metadata.labels['KEY']", "metadata.annotations['KEY']"))
    return f"is no field that a variable may have: supported values: {known}"


def _filled(value: str) -> str:
    return "" if value else REQUIRED


_NAME = Text(_filled)
_FIELD_REF = Shape(
    lambda field_path, **_rest: EnvVar("", field_path=field_path),
    Field("apiVersion", Choice(("v1",)), zero=True, default="v1"),
    Field("fieldPath", Text(_path_objection), required=True),
    title="ObjectFieldSelector",
    doc="A field of the pod.",
)


def _key_ref(kind: SourceKind) -> Shape[EnvVar]:
    return Shape(
        lambda name, key, optional=False: EnvVar("", source=KeySource(kind, name, key, optional)),
        Field("name", _NAME, required=True),
        Field("key", _NAME, required=True),
        Field("optional", FLAG, default=False),
        title=f"{kind}KeySelector",
        doc=f"A key of a {kind} of the pod's namespace.",
    )


_RESOURCE_REF = Shape(
    lambda resource, **_rest: EnvVar("", source=KeySource(SourceKind.RESOURCE, resource)),
    Field("resource", _NAME, required=True),
    Field("containerName", ANY_TEXT, default=None),
    Field("divisor", ANY_TEXT, default=None),
    title="ResourceFieldSelector",
    doc="A limit or request of the container, which kns has none of.",
)
_KINDS = ("fieldRef", "configMapKeyRef", "secretKeyRef", "resourceFieldRef")


def _value_from(**found: EnvVar) -> EnvVar:
    if not found:
        raise RefusedError(f"Invalid value: must specify one of: {', '.join(_KINDS)}")
    if len(found) > 1:
        raise RefusedError("Invalid value: may not have more than one field specified at a time")
    return next(iter(found.values()))


_VALUE_FROM = Shape(
    _value_from,
    Field("fieldRef", _FIELD_REF, default=None),
    Field("configMapKeyRef", _key_ref(SourceKind.CONFIG_MAP), default=None),
    Field("secretKeyRef", _key_ref(SourceKind.SECRET), default=None),
    Field("resourceFieldRef", _RESOURCE_REF, default=None),
    title="EnvVarSource",
    doc="Where a variable's value comes from: one of these.",
)


def _env_var(name: str, value: str = "", value_from: EnvVar | None = None) -> EnvVar:
    if value_from is None:
        return EnvVar(name, value)
    if value:
        raise RefusedError("Invalid value: may not have `valueFrom` when `value` is not empty")
    return EnvVar(name, field_path=value_from.field_path, source=value_from.source)


def _whole(kind: SourceKind) -> Shape[KeySource]:
    return Shape(
        lambda name, optional=False: KeySource(kind, name, optional=optional),
        Field("name", _NAME, required=True),
        Field("optional", FLAG, default=False),
        title=f"{kind}EnvSource",
        doc=f"All keys of a {kind} of the pod's namespace.",
    )


def _env_from(prefix: str = "", **found: Any) -> KeySource:
    if len(found) != 1:
        raise RefusedError("Invalid value: must specify one of: configMapRef, secretRef")
    (source,) = found.values()
    return KeySource(source.kind, source.name, optional=source.optional, prefix=prefix)


ENV = Shape(
    _env_var,
    Field("name", ENV_NAME, required=True),
    Field("value", ARGUMENT),
    Field("valueFrom", _VALUE_FROM, default=None),
    of=EnvVar,
    doc="An environment variable; `value` may refer to others as `$(NAME)`.",
)
ENV_FROM = Shape(
    _env_from,
    Field("prefix", ANY_TEXT, default=""),
    Field("configMapRef", _whole(SourceKind.CONFIG_MAP), default=None),
    Field("secretRef", _whole(SourceKind.SECRET), default=None),
    title="EnvFromSource",
    doc="Variables of all keys of a ConfigMap or Secret.",
)
