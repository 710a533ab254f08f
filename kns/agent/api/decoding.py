"""From the body of a request to an object of its kind: unknown fields told, wrong types refused.

Source: the decoding of k8s.io/apimachinery (serializer/json, strict errors) and the query parameter
`fieldValidation` of the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, cast

from kns.agent.api.protobuf import PROTOBUF, object_of
from kns.agent.api.status import StatusError, bad_request, unsupported_media_type
from kns.kinds.api_types import FieldType, Holds, ObjectType, object_type
from kns.kinds.common import Object
from kns.kinds.resources import Resource
from kns.kinds.unknown_fields import unknown_in
from kns.labfile.document import Path
from kns.labfile.parse import parse_stream
from kns.labfile.reader import JSON

_SURROGATE = re.compile("[\ud800-\udfff]")
#: what a scalar's Go type is called, for the sentence that its users know
_GO = {
    Holds.STRING: "string",
    Holds.INTEGER: "int32",
    Holds.NUMBER: "float64",
    Holds.BOOLEAN: "bool",
    Holds.INT_OR_STRING: "intstr.IntOrString",
    Holds.QUANTITY: "resource.Quantity",
    Holds.TIME: "v1.Time",
    Holds.BYTES: "[]uint8",
}


class FieldValidation(StrEnum):
    """What becomes of a request with fields that its kind has not."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The object with the fields of its kind alone, and what is to be said of the others."""

    object: Object
    warnings: tuple[str, ...] = ()


def json_of(body: bytes, content_type: str) -> JSON:
    """The value in a body. StatusError 400 if it is none, 415 for another form."""
    if content_type == PROTOBUF:
        return object_of(body)
    if "json" not in content_type and "yaml" not in content_type:
        raise unsupported_media_type(content_type, ("application/json", "application/yaml"))
    if "yaml" in content_type:
        documents = parse_stream(body, "body").documents
        if len(documents) != 1:
            return _not_read("not one YAML document")
        return cast("JSON", documents[0].data)
    try:
        return _without_lone_surrogates(json.loads(body, parse_constant=_not_read))
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested deeply
        return _not_read(str(error))


def _without_lone_surrogates(value: JSON) -> JSON:
    """As Go reads JSON: half of a surrogate pair, which nobody can write down, is U+FFFD."""
    written = json.dumps(value, ensure_ascii=False)
    if written.isascii() or not _SURROGATE.search(written):
        return value
    made: JSON = json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", written))
    return made


def _not_read(why: str) -> NoReturn:
    raise bad_request(f"couldn't get version/kind; json parse error: {why}")


def decoded(
    value: JSON, resource: Resource, kind: ObjectType | None, validation: FieldValidation
) -> Decoded:
    """The object that a request brings. StatusError 400 if it is none of the resource's."""
    if not isinstance(value, dict):
        raise bad_request("the object provided is unrecognized (must be of type Object)")
    given = value.get("apiVersion", resource.api_version), value.get("kind", resource.kind)
    if given != (resource.api_version, resource.kind):
        message = (
            f"the API version in the data ({given[0]}) does not match the expected API version "
            f"({resource.api_version})"
            if given[0] != resource.api_version
            else f"{given[1]} in the data does not match the expected kind {resource.kind}"
        )
        raise bad_request(message)
    value = {**value, "apiVersion": resource.api_version, "kind": resource.kind}
    if kind is None:
        return Decoded(value)
    if wrong := wrong_type(value, kind):
        raise _refused(resource, wrong)
    unknown = tuple(f'unknown field "{_dotted(path)}"' for path, _ in unknown_in(value, kind))
    if unknown and validation is FieldValidation.STRICT:
        raise _refused(resource, f"strict decoding error: {', '.join(unknown)}")
    return Decoded(_pruned(value, kind), () if validation is FieldValidation.IGNORE else unknown)


def _refused(resource: Resource, why: str) -> StatusError:
    kind, version = resource.kind, resource.version
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def _dotted(path: Path) -> str:
    """As Go's decoder shows it: `spec.ports[0].name`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]


def wrong_type(value: Object, kind: ObjectType) -> str:
    """What is of another type than its field, in the decoder's words; empty if nothing is."""
    return next(_wrong(value, kind, ""), "")


def _wrong(value: Object, kind: ObjectType, path: str) -> Iterator[str]:
    """What is of another type than its field, in the decoder's words."""
    for key, item in value.items():
        field = kind.fields.get(key)
        if field is not None and item is not None:
            yield from _wrong_value(item, field, f"{path}.{key}" if path else key, kind)


def _wrong_value(value: JSON, field: FieldType, path: str, kind: ObjectType) -> Iterator[str]:
    if not _fits(value, field.holds):
        go = _GO.get(field.holds, f"Go {field.holds}")
        what = f"json: cannot unmarshal {_json_type(value)} into Go struct field "
        name = kind.name.rpartition(".")[2]
        yield f"{what}{name}.{path} of type {go}"
    elif isinstance(value, list) and field.item is not None:
        for index, item in enumerate(value):
            if item is not None:
                yield from _wrong_value(item, field.item, f"{path}[{index}]", kind)
    elif isinstance(value, dict) and field.holds is Holds.MAP and field.item is not None:
        for key, item in value.items():
            if item is not None:
                yield from _wrong_value(item, field.item, f"{path}.{key}", kind)
    elif isinstance(value, dict) and (below := object_type(field)) is not None:
        yield from _wrong(value, below, path)


def _fits(value: JSON, holds: Holds) -> bool:
    match holds:
        case Holds.ANYTHING:
            return True
        case Holds.STRING | Holds.TIME | Holds.BYTES:
            return isinstance(value, str)
        case Holds.BOOLEAN:
            return isinstance(value, bool)
        case Holds.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool) and _is_int64(value)
        case Holds.INT_OR_STRING | Holds.QUANTITY | Holds.NUMBER:
            return isinstance(value, int | str | float) and not isinstance(value, bool)
        case Holds.LIST:
            return isinstance(value, list)
        case Holds.MAP | Holds.OBJECT:
            return isinstance(value, dict)


def _is_int64(value: int) -> bool:
    return -(1 << 63) <= value < 1 << 63


def _json_type(value: JSON) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def _pruned(value: Object, kind: ObjectType) -> Object:
    """Without fields that the kind has not, and without nulls."""
    made: Object = {}
    for key, item in value.items():
        field = kind.fields.get(key)
        if field is not None and item is not None:
            made[key] = _pruned_value(item, field)
    return made


def _pruned_value(value: JSON, field: FieldType) -> JSON:
    below = object_type(field)
    if isinstance(value, dict) and below is not None:
        return _pruned(value, below)
    if isinstance(value, dict) and field.item is not None:
        return {key: _pruned_value(item, field.item) for key, item in value.items()}
    if isinstance(value, list) and field.item is not None:
        return [_pruned_value(item, field.item) for item in value]
    return value
