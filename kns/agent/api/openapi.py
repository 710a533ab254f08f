"""OpenAPI v3 of the served kinds: what `kubectl explain` shows and clients check by.

The fields are those of the type table; what kns says of a kind (its docstring) is its description.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from kns.agent.api.discovery import group_versions
from kns.kinds.api_types import FieldType, Holds, ObjectType, object_type, type_of
from kns.kinds.common import Object
from kns.kinds.lab import SHAPE as LAB_SHAPE
from kns.kinds.resources import LAB, RESOURCES, Resource
from kns.labfile.reader import JSON, Definitions

_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_SCALARS: dict[Holds, Object] = {
    Holds.STRING: {"type": "string"},
    Holds.INTEGER: {"type": "integer", "format": "int32"},
    Holds.NUMBER: {"type": "number"},
    Holds.BOOLEAN: {"type": "boolean"},
    Holds.ANYTHING: {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    Holds.INT_OR_STRING: {"allOf": [{"$ref": f"#/components/schemas/{_INT_OR_STRING}"}]},
    Holds.QUANTITY: {"type": "string"},
    Holds.BYTES: {"type": "string", "format": "byte"},
    Holds.TIME: {"type": "string", "format": "date-time"},
}
_JSON = "application/json"
#: the parameters by which kubectl sees what the server does itself
_WRITE_QUERY = ("dryRun", "fieldManager", "fieldValidation")
_PATCH_FORMS = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


def document_path(api_version: str) -> str:
    """Where the document of a group and version is: `api/v1`, `apis/apps/v1`."""
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def index() -> Object:
    """`/openapi/v3`."""
    paths: Object = {}
    for version in group_versions():
        where = document_path(version)
        paths[where] = {"serverRelativeURL": f"/openapi/v3/{where}"}
    return {"paths": paths}


@cache
def document(api_version: str) -> Object | None:
    """`/openapi/v3/…` of a group and version; None for one that is not served."""
    if api_version not in group_versions():
        return None
    served = [found for found in RESOURCES if found.api_version == api_version]
    paths: Object = {}
    schemas: Object = {_INT_OR_STRING: {"type": "string", "format": "int-or-string"}}
    for found in served:
        for path, operations in _paths(found):
            paths[path] = operations
        if found is LAB:
            schemas.update(_lab_schemas())
        elif (kind := type_of(found)) is not None:
            _collect(kind, schemas)
            schemas[_name(kind.name)] = _schema(kind, found)
    return {
        "openapi": "3.0.0",
        "info": {"title": "kns", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _name(type_name: str) -> str:
    """The name of a type in the documents of Kubernetes."""
    if type_name.startswith(("meta.", "runtime.")):
        return f"io.k8s.apimachinery.pkg.apis.{type_name}"
    return f"io.k8s.api.{type_name}"


def _collect(kind: ObjectType, schemas: Object) -> None:
    """The schemas of a type and of all that are below it."""
    name = _name(kind.name)
    if name in schemas:
        return
    schemas[name] = _schema(kind, None)
    for field in kind.fields.values():
        item: FieldType | None = field
        while item is not None:
            if (below := object_type(item)) is not None:
                _collect(below, schemas)
            item = item.item


def _schema(kind: ObjectType, resource: Resource | None) -> Object:
    properties: Object = {name: _field(field) for name, field in kind.fields.items()}
    required: list[JSON] = [name for name, field in kind.fields.items() if field.required]
    made: Object = {"type": "object", "properties": properties}
    if resource is not None:
        made["description"] = f"{resource.kind}: as the API reference of Kubernetes has it."
        made["x-kubernetes-group-version-kind"] = [_gvk(resource)]
    if kind.atomic:
        made["x-kubernetes-map-type"] = "atomic"
    return {**made, "required": required} if required else made


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _field(field: FieldType) -> Object:
    made = _value(field)
    if field.merge_key is not None:
        made["x-kubernetes-patch-strategy"] = "merge"
        if field.merge_key:
            made["x-kubernetes-patch-merge-key"] = field.merge_key
    if field.holds is Holds.LIST:
        made["x-kubernetes-list-type"] = (
            "atomic" if field.list_keys is None else "map" if field.list_keys else "set"
        )
        if field.list_keys:
            made["x-kubernetes-list-map-keys"] = list(field.list_keys)
    return {**made, "x-kubernetes-map-type": "atomic"} if field.atomic else made


def _value(field: FieldType) -> Object:
    match field.holds:
        case Holds.OBJECT:
            reference: Object = {"$ref": f"#/components/schemas/{_name(field.name)}"}
            return {"allOf": [reference], "default": {}}
        case Holds.LIST:
            return {"type": "array", "items": _value(field.item) if field.item else {}}
        case Holds.MAP:
            return {
                "type": "object",
                "additionalProperties": _value(field.item) if field.item else {},
            }
        case _:
            return dict(_SCALARS[field.holds])


def _lab_schemas() -> Object:
    """The Lab's own schema, in the form of OpenAPI 3.0: no null, no `$defs`."""
    definitions: Definitions = {}
    whole = LAB_SHAPE.own_schema(definitions)
    made: Object = {f"kns.v1.{name}": _translated(rule) for name, rule in definitions.items()}
    lab = _translated(whole)
    assert isinstance(lab, dict)  # noqa: S101 - a mapping stays one
    made["kns.v1.Lab"] = {**lab, "x-kubernetes-group-version-kind": [_gvk(LAB)]}
    return made


def _translated(rule: JSON) -> JSON:
    if isinstance(rule, list):
        return [_translated(item) for item in rule]
    if not isinstance(rule, dict):
        return rule
    choices = rule.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        only = _translated(choices[0])
        rest = {key: item for key, item in rule.items() if key not in {"anyOf", "default"}}
        return {**rest, **only} if isinstance(only, dict) else only
    made: Object = {}
    for key, item in rule.items():
        if key == "$ref" and isinstance(item, str):
            made[key] = item.replace("#/$defs/", "#/components/schemas/kns.v1.")
        elif key == "const":
            made["enum"] = [item]
        elif key not in {"examples", "additionalProperties"} or item is not False:
            made[key] = _translated(item)
    return made


# -- paths -----------------------------------------------------------------------------------------


def _paths(found: Resource) -> Iterator[tuple[str, Object]]:
    root = "/" + document_path(found.api_version)
    below = f"{root}/namespaces/{{namespace}}" if found.namespaced else root
    yield (
        f"{below}/{found.plural}",
        {
            "get": _operation(found, "list", ()),
            "post": _operation(found, "post", _WRITE_QUERY),
        },
    )
    yield (
        f"{below}/{found.plural}/{{name}}",
        {
            "get": _operation(found, "get", ()),
            "put": _operation(found, "put", _WRITE_QUERY),
            "patch": _operation(found, "patch", (*_WRITE_QUERY, "force")),
            "delete": _operation(found, "delete", ("dryRun", "gracePeriodSeconds")),
        },
    )


def _operation(found: Resource, action: str, query: tuple[str, ...]) -> Object:
    made: Object = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(found),
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in query
        ],
        "responses": {"200": {"description": "OK"}},
    }
    if action in {"post", "put"}:
        made["requestBody"] = {"content": {_JSON: {}}}
    if action == "patch":
        forms = _PATCH_FORMS if type_of(found) is not None else _PATCH_FORMS[:3]
        made["requestBody"] = {"content": {form: {} for form in forms}}
    return made
