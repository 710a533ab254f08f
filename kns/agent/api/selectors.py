"""Label and field selectors of requests.

Source: k8s.io/apimachinery/pkg/labels (the grammar) and fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kns.agent.api.status import bad_request
from kns.kinds.common import Object
from kns.kinds.objects import labels_of, part
from kns.kinds.resources import Resource

#: commas that are not in brackets
_COMMA = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"(?P<key>[^\s!=]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)")
_COMPARED = re.compile(r"(?P<key>[^\s!=<>]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s=!]*)")
_LABEL_VALUE = re.compile(r"[-A-Za-z0-9_.]*")
_EXISTS = re.compile(r"(?P<not>!?)\s*(?P<key>[A-Za-z0-9][-A-Za-z0-9_./]*)")
#: fields that every kind can be selected by, and those of a kind
_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_OWN_FIELDS: Mapping[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "Pod": "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName "
        "spec.hostNetwork status.phase status.podIP status.nominatedNodeName",
        "Event": "involvedObject.kind involvedObject.namespace involvedObject.name "
        "involvedObject.uid involvedObject.apiVersion involvedObject.resourceVersion "
        "involvedObject.fieldPath reason reportingComponent source type",
        "Secret": "type",
        "Namespace": "status.phase",
        "ReplicaSet": "status.replicas",
        "ReplicationController": "status.replicas",
        "Node": "spec.unschedulable",
        "Service": "spec.clusterIP spec.type",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: a key, and what its value must be."""

    key: str
    #: in, notin, exists, absent, >, <
    op: str
    values: tuple[str, ...] = ()

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it."""
        value = labels.get(self.key)
        match self.op:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                return _compared(value, self.op, self.values[0])


def _compared(value: str | None, op: str, bound: str) -> bool:
    if value is None or not value.lstrip("-").isdecimal() or not bound.lstrip("-").isdecimal():
        return False
    return int(value) > int(bound) if op == ">" else int(value) < int(bound)


@dataclass(frozen=True, slots=True)
class RequestSelector:
    """What a list or watch is restricted to."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def admits(self, obj: Object) -> bool:
        """Whether the object is selected."""
        if self.labels:
            found = labels_of(obj)
            if not all(term.admits(found) for term in self.labels):
                return False
        return all(term.admits({term.key: _field(obj, term.key)}) for term in self.fields)


def _field(obj: Object, path: str) -> str:
    value = part(obj, *path.split("."))
    if path == "source":
        value = part(obj, "source", "component") or part(obj, "reportingComponent")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def selector(resource: Resource, labels: str, fields: str) -> RequestSelector:
    """What `labelSelector` and `fieldSelector` mean. StatusError 400 if they can't be parsed."""
    terms = tuple(_label_term(term) for term in _terms(labels))
    return RequestSelector(terms, tuple(_field_term(resource, term) for term in _terms(fields)))


def _terms(text: str) -> list[str]:
    return [term.strip() for term in _COMMA.split(text) if term.strip()]


def _label_term(term: str) -> Requirement:
    if found := _SET.fullmatch(term):
        values = tuple(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], found["op"], values)
    if (found := _COMPARED.fullmatch(term)) and _LABEL_VALUE.fullmatch(found["value"]):
        op = {"=": "in", "==": "in", "!=": "notin"}.get(found["op"], found["op"])
        return Requirement(found["key"], op, (found["value"],))
    if found := _EXISTS.fullmatch(term):
        return Requirement(found["key"], "absent" if found["not"] else "exists")
    message = f"unable to parse requirement: {term!r}"
    raise bad_request(message)


def _field_term(resource: Resource, term: str) -> Requirement:
    found = _COMPARED.fullmatch(term)
    if found is None or found["op"] in {"<", ">"}:
        raise bad_request(f"invalid selector: {term!r}; can't understand it")
    key = found["key"]
    if key not in _FIELDS and key not in _OWN_FIELDS.get(resource.kind, ()):
        raise bad_request(
            f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label '
            f'selector "", field selector "{term}": field label not supported: {key}'
        )
    return Requirement(key, "notin" if found["op"] == "!=" else "in", (found["value"],))
