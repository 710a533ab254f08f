"""Namespace: a name, and labels that network policies select by."""

from __future__ import annotations

from dataclasses import dataclass, field

from kns.kinds.common import Labels, Object, metadata
from kns.kinds.fields import ANNOTATIONS_FIELD, LABELS_FIELD, OBJECT_NAMESPACE
from kns.labfile.reader import Either, Mapped
from kns.labfile.shape import Field, Form, Shape

#: the label that every namespace has, whatever its object says
NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace. In the Lab document its name alone stands for one without labels."""

    name: str
    labels: Labels = field(default_factory=dict)


def with_name_label(namespace: Namespace) -> Namespace:
    """The namespace as the API server keeps it: labelled with its own name."""
    return Namespace(namespace.name, {**namespace.labels, NAME_LABEL: namespace.name})


def _namespace(
    name: str,
    labels: Labels | None = None,
    annotations: Labels | None = None,  # noqa: ARG001 - nothing depends on them
) -> Namespace:
    return Namespace(name, labels or {})


_LONG = Shape(
    _namespace,
    Field("name", OBJECT_NAMESPACE, required=True),
    LABELS_FIELD,
    ANNOTATIONS_FIELD,
    of=Namespace,
)
SHAPE = Either(_LONG, Mapped(OBJECT_NAMESPACE, Namespace))
FORM = Form(_LONG, {name: ("metadata", name) for name in ("name", "labels", "annotations")})


def write(namespace: Namespace) -> Object:
    """A v1 Namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata(namespace.name, "", namespace.labels),
        "status": {"phase": "Active"},
    }
