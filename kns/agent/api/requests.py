"""Requests of the API: which resource a path means, and what the query asks for.

    /api/v1/namespaces/shop/pods/web/log        core
    /apis/apps/v1/deployments                   all namespaces

Source: k8s.io/apiserver/pkg/endpoints/request (RequestInfo).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kns.agent.api.decoding import FieldValidation
from kns.agent.api.status import bad_request, not_found
from kns.kinds.resources import NAMESPACE, Resource, by_plural

#: numbers of a query, less those that need all of 64 bits
_INT64 = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class APIUser:
    """Who asks; a member of `system:masters` may do anything."""

    name: str
    groups: tuple[str, ...] = ()


ADMIN = APIUser("kns-admin", ("system:masters", "system:authenticated"))


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """What a path means; without a name all objects, without a namespace those of all."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class APIRequest:
    """One request below `/api` or `/apis`, its body read."""

    method: str
    target: RequestTarget
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    body: bytes = b""
    user: APIUser = ADMIN
    agent: str = ""

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be kept of it."""
        asked = self.query.get("dryRun", "")
        if asked not in {"", "All"}:
            raise bad_request(f'Invalid value: ["{asked}"]: Unsupported value: must be "All"')
        return asked == "All"

    @property
    def field_validation(self) -> FieldValidation:
        """What becomes of unknown fields; the API's own default is to warn."""
        asked = self.query.get("fieldValidation") or FieldValidation.WARN
        try:
            return FieldValidation(asked)
        except ValueError:
            raise bad_request(f'fieldValidation: Unsupported value: "{asked}"') from None

    @property
    def manager(self) -> str:
        """Who owns the fields that are written: as named, or the program's name."""
        return self.query.get("fieldManager") or self.agent.partition("/")[0] or "unknown"

    def number(self, name: str) -> int | None:
        """A number of the query; None without one."""
        text = self.query.get(name, "")
        if not text:
            return None
        if not _INT64.fullmatch(text):
            raise bad_request(f'invalid value for {name}: "{text}"')
        return int(text)

    def flag(self, name: str) -> bool:
        """A switch of the query."""
        return self.query.get(name, "").lower() in {"true", "1", "t"}


def target_of(path: str) -> RequestTarget:
    """What a path below `/api` or `/apis` means. StatusError 404 for what is not served."""
    parts = [part for part in path.split("/") if part]
    version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    if parts[0] == "api" and parts[1:2] != ["v1"]:
        raise not_found()
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in NAMESPACE.subresources:
        return _target(version, rest[1], rest[2:])
    return _target(version, "", rest)


def _target(version: str, namespace: str, rest: list[str]) -> RequestTarget:
    resource = by_plural(version, rest[0]) if rest else None
    if resource is None or (namespace and not resource.namespaced):
        raise not_found()
    name, below = (rest[1] if len(rest) > 1 else ""), rest[2:]
    if resource.namespaced and name and not namespace:
        raise not_found()
    if below and below[0] not in resource.subresources:
        raise not_found()
    if len(below) > 1:
        raise not_found()
    return RequestTarget(resource, namespace, name, "".join(below))
