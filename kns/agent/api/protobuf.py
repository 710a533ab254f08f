"""Objects in protobuf, which Go clients send of the kinds that they know: read, never written.

A body is `k8s\\0` and a runtime.Unknown: apiVersion and kind in field 1, the object in field 2.

Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf; the encoding of protocol buffers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from kns.agent.api.status import StatusError, bad_request, unsupported_media_type
from kns.agent.store import timestamp
from kns.kinds.api_types import FieldType, Holds, ObjectType, object_type, type_name, type_table
from kns.kinds.common import Object
from kns.labfile.reader import JSON

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_Wire = int | bytes
#: fields that are set to nothing on purpose where they are 0 or false: Go has pointers of them
_MEANT = frozenset({
    "replicas", "terminationGracePeriodSeconds", "enableServiceLinks", "gracePeriodSeconds",
    "automountServiceAccountToken", "allocateLoadBalancerNodePorts", "revisionHistoryLimit",
    "runAsUser", "runAsGroup", "runAsNonRoot", "allowPrivilegeEscalation", "privileged",
    "readOnlyRootFilesystem", "optional", "tolerationSeconds", "defaultMode",
})  # fmt: skip


def object_of(body: bytes) -> Object:
    """The object. StatusError 400 if it is none, 415 if it has fields of unknown numbers."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message")
    try:
        whole = dict(_fields(body[len(_MAGIC) :]))
        head = {number: _text(value) for number, value in _fields(_bytes(whole.get(1, b"")))}
        api_version, kind = head.get(1, ""), head.get(2, "")
        group, _, version = api_version.rpartition("/")
        found = type_table().get(type_name(group, version, kind))
        if found is None:
            raise _unreadable(f"{api_version} {kind}")
        read = _object(_bytes(whole.get(2, b"")), found)
    except (IndexError, UnicodeDecodeError, OverflowError):
        raise bad_request("the protobuf message is cut off, or none") from None
    return {**read, "apiVersion": api_version, "kind": kind}


def _unreadable(what: str) -> StatusError:
    return unsupported_media_type(f"{PROTOBUF} of {what}", ("application/json", "application/yaml"))


def _fields(data: bytes) -> Iterator[tuple[int, _Wire]]:
    """The fields of a message: number and value."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        match key & 7:
            case 0:
                value, position = _varint(data, position)
                yield key >> 3, value
            case 2:
                size, position = _varint(data, position)
                if position + size > len(data):
                    raise IndexError
                yield key >> 3, data[position : position + size]
                position += size
            case 1 | 5 as width:
                size = 8 if width == 1 else 4
                yield key >> 3, data[position : position + size]
                position += size
            case _:
                raise IndexError


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            # a negative number comes in the two's complement of 64 bits
            return value - (1 << 64) if value >= 1 << 63 else value, position


def _bytes(value: _Wire) -> bytes:
    if isinstance(value, int):
        raise IndexError
    return value


def _text(value: _Wire) -> str:
    return _bytes(value).decode()


def _object(data: bytes, kind: ObjectType, prefix: tuple[int, ...] = ()) -> Object:
    by_number = {field.numbers: (name, field) for name, field in kind.fields.items()}
    made: Object = {}
    for number, value in _fields(data):
        path = (*prefix, number)
        if path in by_number:
            name, field = by_number[path]
            _put(made, name, field, value)
        elif any(numbers[: len(path)] == path for numbers in by_number):
            made.update(_object(_bytes(value), kind, path))
        elif value not in {b"", 0}:
            raise _unreadable(f"a {kind.name} with a field {number}")
    return {name: value for name, value in made.items() if value is not None}


def _put(made: Object, name: str, field: FieldType, value: _Wire) -> None:
    if field.holds is Holds.LIST and field.item is not None:
        listed = made.setdefault(name, [])
        assert isinstance(listed, list)  # noqa: S101 - made one line above
        listed.append(_value(value, field.item))
    elif field.holds is Holds.MAP and field.item is not None:
        entries = made.setdefault(name, {})
        assert isinstance(entries, dict)  # noqa: S101 - made one line above
        pair = dict(_fields(_bytes(value)))
        entries[_text(pair.get(1, b""))] = _value(pair.get(2, b""), field.item)
    else:
        read = _value(value, field)
        # Go writes fields that nobody set, too
        is_set = read or field.required or (name in _MEANT and read is not None)
        made[name] = read if is_set else None


def _value(value: _Wire, field: FieldType) -> JSON:
    match field.holds:
        case Holds.INTEGER:
            return value if isinstance(value, int) else None
        case Holds.BOOLEAN:
            return bool(value)
        case Holds.BYTES:
            return base64.b64encode(_bytes(value)).decode()
        case Holds.OBJECT:
            kind = object_type(field)
            return _object(_bytes(value), kind) if kind is not None else None
        case Holds.TIME:
            seconds = dict(_fields(_bytes(value))).get(1)
            return timestamp(seconds) if isinstance(seconds, int) else None
        case Holds.QUANTITY:
            return _text(dict(_fields(_bytes(value))).get(1, b""))
        case Holds.INT_OR_STRING:
            parts = dict(_fields(_bytes(value)))
            number = parts.get(2, 0)
            return (
                _text(parts.get(3, b""))
                if parts.get(1)
                else int(number)
                if isinstance(number, int)
                else 0
            )
        case Holds.STRING:
            return _text(value)
        case _:
            raise _unreadable(f"a field of {field.holds}")
