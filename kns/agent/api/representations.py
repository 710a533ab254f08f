"""What of an object a client wants to see: all, a row of a table, or its metadata alone.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from kns.kinds.columns import columns_of, row
from kns.kinds.common import Object
from kns.kinds.objects import mapping, mappings
from kns.kinds.resources import Resource
from kns.labfile.reader import JSON

META = "meta.k8s.io/v1"
_NAME_FORMAT = "name"


class Representation(StrEnum):
    """The forms of an answer."""

    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


def wanted(accept: str) -> Representation:
    """The first form of an Accept header that there is; what kubectl asks for tables."""
    for choice in accept.split(","):
        parts = [part.strip() for part in choice.split(";")]
        asked = dict(part.partition("=")[::2] for part in parts[1:])
        if parts[0] not in {"application/json", "*/*", "application/*", ""}:
            continue
        kind = asked.get("as", "")
        if kind == "Table" and asked.get("v", "v1") == "v1":
            return Representation.TABLE
        if kind in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
            return Representation.METADATA
        if not kind:
            return Representation.OBJECT
    return Representation.OBJECT


def represented(
    obj: Object, resource: Resource, form: Representation, now: float, include: str = "Metadata"
) -> Object:
    """An object, or a list of them, in the form that is wanted."""
    is_list = obj.get("kind") == f"{resource.kind}List"
    if obj.get("kind") not in {resource.kind, f"{resource.kind}List"}:
        return obj
    match form:
        case Representation.OBJECT:
            return obj
        case Representation.TABLE:
            found = mappings(obj, "items") if is_list else [obj]
            return table(resource, found, mapping(obj, "metadata"), now, include)
        case Representation.METADATA:
            if not is_list:
                return _metadata(obj)
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": META,
                "metadata": obj["metadata"],
                "items": [_metadata(item) for item in mappings(obj, "items")],
            }


def table(
    resource: Resource,
    found: Sequence[Object],
    own: Object,
    now: float,
    include: str = "Metadata",
) -> Object:
    """Objects as a Table of kubectl's columns; `include` says what of each object goes along."""
    columns = columns_of(resource)
    definitions: list[JSON] = [
        {
            "name": column.head,
            "type": "string",
            "format": _NAME_FORMAT if column.head == "Name" else "",
            "description": "",
            "priority": int(column.wide),
        }
        for column in columns.columns
    ]
    kept = ("resourceVersion", "continue", "remainingItemCount")
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": {key: own[key] for key in kept if key in own},
        "columnDefinitions": definitions,
        "rows": [
            {"cells": list(row(obj, columns, now)), **_included(obj, include)} for obj in found
        ],
    }


def _included(obj: Object, include: str) -> Object:
    match include:
        case "None":
            return {}
        case "Object":
            return {"object": obj}
        case _:
            return {"object": _metadata(obj)}


def _metadata(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": obj.get("metadata")}
