"""From bodies to objects: unknown fields, wrong types, protobuf."""

from __future__ import annotations

import pytest

from kns.agent.api.decoding import FieldValidation, decoded, json_of
from kns.agent.api.protobuf import PROTOBUF
from kns.agent.api.status import StatusError
from kns.kinds.api_types import type_of, type_table
from kns.kinds.common import Object
from kns.kinds.resources import DEPLOYMENT, LAB, POD, RESOURCES, SERVICE
from kns.labfile.reader import JSON


def service(**spec: JSON) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec}


def test_every_kind_has_its_fields_and_each_type_is_there() -> None:
    table = type_table()
    assert [found.kind for found in RESOURCES if type_of(found) is None] == [LAB.kind]
    named = {
        item.name
        for kind in table.values()
        for field in kind.fields.values()
        for item in (field, field.item)
        if item is not None and item.name
    }
    assert named <= set(table)


def test_an_unknown_field_is_refused_warned_of_or_passed_over() -> None:
    value = service(ports=[{"port": 80, "targetprt": 1}], selektor={})
    unknown = ('unknown field "spec.ports[0].targetprt"', 'unknown field "spec.selektor"')
    with pytest.raises(StatusError, match="strict decoding error") as caught:
        decoded(value, SERVICE, type_of(SERVICE), FieldValidation.STRICT)
    assert all(message in caught.value.message for message in unknown)
    warned = decoded(value, SERVICE, type_of(SERVICE), FieldValidation.WARN)
    assert warned.warnings == unknown
    assert warned.object == service(ports=[{"port": 80}])
    ignored = decoded(value, SERVICE, type_of(SERVICE), FieldValidation.IGNORE)
    assert ignored.warnings == ()


def test_nulls_are_fields_left_out() -> None:
    value = service(type=None, ports=[{"port": 80, "name": None}])
    made = decoded(value, SERVICE, type_of(SERVICE), FieldValidation.STRICT)
    assert made.object == service(ports=[{"port": 80}])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"ports": "80"}, "cannot unmarshal string into Go struct field"),
        ({"ports": [{"port": "80"}]}, "spec.ports[0].port of type int32"),
        ({"selector": {"a": 1}}, "cannot unmarshal number"),
        ({"publishNotReadyAddresses": "yes"}, "of type bool"),
    ],
)
def test_a_wrong_type_is_refused(spec: Object, said: str) -> None:
    with pytest.raises(StatusError) as caught:
        decoded(service(**spec), SERVICE, type_of(SERVICE), FieldValidation.IGNORE)
    assert said in caught.value.message
    assert caught.value.code == 400


def test_another_kind_is_refused() -> None:
    with pytest.raises(StatusError, match="does not match the expected kind Pod"):
        decoded(service(), POD, type_of(POD), FieldValidation.WARN)
    with pytest.raises(StatusError, match="does not match the expected API version"):
        decoded(service(), DEPLOYMENT, type_of(DEPLOYMENT), FieldValidation.WARN)


def test_bodies_are_json_yaml_or_protobuf() -> None:
    assert json_of(b'{"a": 1}', "application/json") == {"a": 1}
    assert json_of(b"a: 1\n", "application/yaml") == {"a": 1}
    for body, content_type, code in (
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b"a: 1\n---\nb: 2\n", "application/yaml", 400),
        (b"<a/>", "application/xml", 415),
        (b"no", PROTOBUF, 400),
        (b"k8s\0\x0a\x7f", PROTOBUF, 400),
    ):
        with pytest.raises(StatusError) as caught:
            json_of(body, content_type)
        assert caught.value.code == code


@pytest.mark.parametrize("body", [b'{"\\ud800": "\\udc00"}', b'{"\xed\xa0\x80": "\xed\xb0\x80"}'])
def test_half_of_a_surrogate_pair_is_a_replacement_character(body: bytes) -> None:
    """As Go reads it; nobody could write it down."""
    assert json_of(body, "application/json") == {"\ufffd": "\ufffd"}
    assert json_of(b'"\\ud83d\\ude00"', "application/json") == "\N{GRINNING FACE}"


def _message(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data)]) + data


def _unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    head = _message(1, api_version) + _message(2, kind)
    return b"k8s\0" + _message(1, head) + _message(2, raw)


def test_an_object_in_protobuf() -> None:
    metadata = _message(1, "dep") + _message(11, _message(1, "app") + _message(2, "web"))
    container = _message(1, "web") + _message(6, _message(2, 0) + _message(3, 80) + _message(4, ""))
    template = _message(2, _message(2, container))
    surge = _message(1, 1) + _message(3, "25%")
    strategy = _message(2, _message(2, surge) + _message(1, _message(2, 1)))
    spec = _message(1, 0) + _message(3, template) + _message(4, strategy) + _message(7, 0)
    body = _unknown("apps/v1", "Deployment", _message(1, metadata) + _message(2, spec))
    assert json_of(body, PROTOBUF) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dep", "labels": {"app": "web"}},
        "spec": {
            "replicas": 0,
            "template": {
                "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]}
            },
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        },
    }


def test_bytes_in_protobuf_are_base64() -> None:
    body = _unknown("v1", "Secret", _message(2, _message(1, "a") + _message(2, b"\xff")))
    made = json_of(body, PROTOBUF)
    assert isinstance(made, dict)
    assert made["data"] == {"a": "/w=="}


def test_a_field_of_an_unknown_number_is_never_dropped() -> None:
    with pytest.raises(StatusError) as caught:
        json_of(_unknown("v1", "Secret", _message(15, "x")), PROTOBUF)
    assert caught.value.code == 415
