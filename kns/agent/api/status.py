"""Errors in the API's own form: Status objects.

Source: k8s.io/apimachinery/pkg/api/errors, whose reasons, codes and sentences these are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kns.agent.store import AlreadyExistsError, ConflictError, ExpiredError, NotFoundError
from kns.errors import KnsError
from kns.kinds.common import Object
from kns.kinds.resources import Resource
from kns.labfile.reader import JSON


@dataclass(frozen=True, slots=True)
class FieldCause:
    """One thing that is wrong: at which field, and its reason as `FieldValueInvalid`."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class StatusError(KnsError):
    """A request that is refused, with the HTTP status that says so."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, details or {}

    @property
    def body(self) -> Object:
        """The Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def success(resource: Resource, name: str, uid: str) -> Object:
    """What a deletion answers that leaves nothing."""
    details: Object = {"name": name, "kind": resource.plural, "uid": uid}
    if resource.group:
        details["group"] = resource.group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _of(resource: Resource | None, name: str, kind: str = "") -> Object:
    details: Object = {"name": name} if name else {}
    if resource is not None:
        if resource.group:
            details["group"] = resource.group
        details["kind"] = kind or resource.plural
    return details


def not_found(resource: Resource | None = None, name: str = "") -> StatusError:
    """There is no such object, or no such path."""
    if resource is None:
        message = "the server could not find the requested resource"
    else:
        message = f'{resource.full_name} "{name}" not found'
    return StatusError(404, "NotFound", message, details=_of(resource, name))


def method_not_allowed(resource: Resource | None = None) -> StatusError:
    """The resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, details=_of(resource, ""))


def unavailable() -> StatusError:
    """A `kns up` takes its time, or has failed halfway; try again."""
    message = "the lab is being brought to its file; try again"
    return StatusError(503, "ServiceUnavailable", message)


def bad_request(message: str) -> StatusError:
    """The request makes no sense."""
    return StatusError(400, "BadRequest", message)


def invalid(resource: Resource, name: str, causes: Iterable[FieldCause]) -> StatusError:
    """An object that breaks the rules of its kind."""
    return _invalid(_kind(resource), _of(resource, name, resource.kind), causes)


def invalid_options(group: str, kind: str, causes: Iterable[FieldCause]) -> StatusError:
    """Options of a request that break the rules of theirs."""
    return _invalid(f"{kind}.{group}", {"group": group, "kind": kind}, causes)


def _invalid(kind: str, details: Object, causes: Iterable[FieldCause]) -> StatusError:
    found = tuple(causes)
    told = ", ".join(map(str, found))
    shown = f"[{told}]" if len(found) > 1 else told
    message = f'{kind} "{details.get("name", "")}" is invalid: {shown}'
    return StatusError(422, "Invalid", message, details={**details, "causes": _listed(found)})


def _listed(causes: Iterable[FieldCause]) -> list[JSON]:
    return [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]


def _kind(resource: Resource) -> str:
    return f"{resource.kind}.{resource.group}" if resource.group else resource.kind


def conflict(
    resource: Resource, name: str, why: str, causes: Iterable[FieldCause] = ()
) -> StatusError:
    """Somebody else was faster, or owns a field."""
    details = _of(resource, name)
    if listed := _listed(causes):
        return StatusError(409, "Conflict", why, details={"causes": listed})
    message = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=details)


def forbidden(resource: Resource | None, name: str, why: str) -> StatusError:
    """The user may not."""
    what = resource.full_name if resource is not None else ""
    named = f'{what} "{name}"' if name else what
    message = f"{named} is forbidden: {why}" if named else f"forbidden: {why}"
    return StatusError(403, "Forbidden", message, details=_of(resource, name))


def unauthorized() -> StatusError:
    """Nobody knows the user."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def unsupported_media_type(given: str, known: Iterable[str]) -> StatusError:
    """A body or patch of a form that is not read."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(known)
    )
    return StatusError(415, "UnsupportedMediaType", f"{message} (got {given})")


def expired(message: str) -> StatusError:
    """What is asked for is no longer kept."""
    return StatusError(410, "Expired", message)


def too_large_version(asked: int, current: int) -> StatusError:
    """A version that is yet to come."""
    message = f"Too large resource version: {asked}, current: {current}"
    cause: Object = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details: Object = {"retryAfterSeconds": 1, "causes": [cause]}
    return StatusError(504, "Timeout", f"Timeout: {message}", details=details)


def of_store(error: KnsError) -> StatusError:
    """What the store refused, in the API's form."""
    match error:
        case StatusError():
            return error
        case NotFoundError():
            return not_found(error.resource, error.name)
        case AlreadyExistsError():
            details = _of(error.resource, error.name)
            return StatusError(409, "AlreadyExists", error.message, details=details)
        case ConflictError():
            details = _of(error.resource, error.name)
            return StatusError(409, "Conflict", error.message, details=details)
        case ExpiredError():
            return expired(error.message)
        case _:
            told = ": ".join(filter(None, (error.message, error.hint)))
            return StatusError(500, "InternalError", f"Internal error occurred: {told}")
