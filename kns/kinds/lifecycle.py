"""What kubelet asks a container, and tells it: probes, and the hooks `postStart` and `preStop`.

Source: pkg/apis/core/v1/defaults.go (SetDefaults_Probe, SetDefaults_HTTPGetAction) and
pkg/apis/core/validation (validateProbe, validateHandler).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from kns.kinds.common import Object
from kns.kinds.fields import ANY_TEXT, ARGUMENTS, PORT, SECONDS, TARGET_PORT
from kns.labfile.reader import (
    JSON,
    Choice,
    Definitions,
    Fault,
    Integer,
    ListOf,
    Reading,
    Schema,
    Text,
    Type,
)
from kns.labfile.shape import Field, Shape
from kns.labfile.wording import RefusedError


class URIScheme(StrEnum):
    """How an HTTP probe asks."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


@dataclass(frozen=True, slots=True)
class HTTPHeader:
    """A header of an HTTP probe's request."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class HTTPGetAction:
    """A GET that succeeds with a status from 200 to 399; `host` is the pod's address otherwise."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: URIScheme = URIScheme.HTTP
    http_headers: tuple[HTTPHeader, ...] = ()


@dataclass(frozen=True, slots=True)
class TCPSocketAction:
    """A connection that is accepted."""

    port: int | str
    host: str = ""


@dataclass(frozen=True, slots=True)
class ExecAction:
    """A program in the container that exits with 0; no shell runs it."""

    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GRPCAction:
    """A call of gRPC's health service."""

    port: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class SleepAction:
    """A hook that lets time pass."""

    seconds: int


ProbeAction = HTTPGetAction | TCPSocketAction | ExecAction | GRPCAction
HookAction = HTTPGetAction | TCPSocketAction | ExecAction | SleepAction


@dataclass(frozen=True, slots=True)
class Probe:
    """What kubelet asks a container every `periodSeconds`; a threshold is a number of answers."""

    action: ProbeAction
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    #: how long the container has to end if the probe fails; None: as long as the pod
    termination_grace_period_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What is done right after a container's start, and before its end."""

    post_start: HookAction | None = None
    pre_stop: HookAction | None = None


# -- reading ---------------------------------------------------------------------------------------

_HEADER_NAME = re.compile(r"[-A-Za-z0-9]+")
#: the field of each action, in the order in which the API server looks at them
_PROBE_ACTIONS = ("exec", "http_get", "tcp_socket", "grpc")
_HOOK_ACTIONS = ("exec", "http_get", "tcp_socket", "sleep")
_NAMES = {"http_get": "httpGet", "tcp_socket": "tcpSocket"}


def _header_objection(name: str) -> str:
    if _HEADER_NAME.fullmatch(name):
        return ""
    return (
        "a valid HTTP header must consist of alphanumeric characters or '-' "
        "(e.g. 'X-Header-Name', or 'Accept', regex used for validation is '[-A-Za-z0-9]+')"
    )


_HEADER = Shape(
    HTTPHeader,
    Field("name", Text(_header_objection), required=True),
    Field("value", ANY_TEXT, required=True),
)
_HTTP_GET = Shape(
    HTTPGetAction,
    Field("port", TARGET_PORT, required=True),
    Field("path", ANY_TEXT, zero=True),
    Field("host", ANY_TEXT),
    Field("scheme", Choice(URIScheme), zero=True),
    Field("httpHeaders", ListOf(_HEADER)),
)
_TCP_SOCKET = Shape(
    TCPSocketAction, Field("port", TARGET_PORT, required=True), Field("host", ANY_TEXT)
)


def _exec(command: tuple[str, ...] = ()) -> ExecAction:
    if not command:
        raise RefusedError("Required value: command")
    return ExecAction(command)


_EXEC = Shape(_exec, Field("command", ARGUMENTS), of=ExecAction)
_GRPC = Shape(GRPCAction, Field("port", PORT, required=True), Field("service", ANY_TEXT))
_SLEEP = Shape(SleepAction, Field("seconds", SECONDS, required=True))
_COMMON = (
    Field("exec", _EXEC, default=None),
    Field("httpGet", _HTTP_GET, default=None),
    Field("tcpSocket", _TCP_SOCKET, default=None),
)


class _OneOf(Type[dict[str, object]]):
    """A mapping of which one field is the action; `action` in what is read."""

    def __init__(self, shape: Shape[dict[str, object]], actions: tuple[str, ...]) -> None:
        self._shape, self._actions = shape, actions

    def read(self, value: object, reading: Reading) -> dict[str, object]:
        """What was read, the action under one name. Exactly one is written."""
        found = self._shape.read(value, reading)
        first, *more = [name for name in self._actions if name in found] or [""]
        if not first:
            raise RefusedError("Required value: must specify a handler type")
        for name in more:
            message = "Forbidden: may not specify more than 1 handler type"
            reading.faults.append(Fault([_NAMES.get(name, name)], message))
        if more:
            raise RefusedError
        rest = {key: item for key, item in found.items() if key not in self._actions}
        return {"action": found[first], **rest}

    def schema(self, definitions: Definitions) -> Schema:
        """The shape's."""
        return self._shape.schema(definitions)


class _ProbeType(Type[Probe]):
    """A probe; what it may not say depends on what it decides."""

    def __init__(self, *, restarts: bool) -> None:
        self._restarts = restarts

    def read(self, value: object, reading: Reading) -> Probe:
        """The probe."""
        fields = _ONE_PROBE.read(value, reading)
        probe = Probe(**fields)  # type: ignore[arg-type]
        if self._restarts and probe.success_threshold != 1:
            fault = Fault(
                ["successThreshold"], f"Invalid value: {probe.success_threshold}: must be 1"
            )
            reading.faults.append(fault)
            raise RefusedError
        grace = probe.termination_grace_period_seconds
        if not self._restarts and grace is not None:
            message = f"Invalid value: {grace}: must not be set for readinessProbes"
            reading.faults.append(Fault(["terminationGracePeriodSeconds"], message))
            raise RefusedError
        return probe

    def schema(self, definitions: Definitions) -> Schema:
        """The same for all three."""
        return _ONE_PROBE.schema(definitions)


_COUNT = Integer(1, 2**31 - 1)
_ONE_PROBE = _OneOf(
    Shape(
        dict,
        *_COMMON,
        Field("grpc", _GRPC, default=None),
        Field("initialDelaySeconds", SECONDS),
        Field("periodSeconds", _COUNT, zero=True),
        Field("timeoutSeconds", _COUNT, zero=True),
        Field("successThreshold", _COUNT, zero=True),
        Field("failureThreshold", _COUNT, zero=True),
        Field("terminationGracePeriodSeconds", _COUNT, default=None),
        of=Probe,
        title="Probe",
        doc=Probe.__doc__ or "",
    ),
    _PROBE_ACTIONS,
)


class _HookType(Type[HookAction]):
    """A hook: one action, and nothing else."""

    def read(self, value: object, reading: Reading) -> HookAction:
        """The action."""
        action = _ONE_HOOK.read(value, reading)["action"]
        assert isinstance(action, HookAction)  # noqa: S101 - the shape has no other
        return action

    def schema(self, definitions: Definitions) -> Schema:
        """One of the actions."""
        return _ONE_HOOK.schema(definitions)


_ONE_HOOK = _OneOf(
    Shape(
        dict,
        *_COMMON,
        Field("sleep", _SLEEP, default=None),
        title="LifecycleHandler",
        doc="One action.",
    ),
    _HOOK_ACTIONS,
)
_LIFECYCLE = Shape(
    Lifecycle,
    Field("postStart", _HookType(), default=None),
    Field("preStop", _HookType(), default=None),
)
#: of a container
FIELDS = (
    Field("readinessProbe", _ProbeType(restarts=False), default=None),
    Field("livenessProbe", _ProbeType(restarts=True), default=None),
    Field("startupProbe", _ProbeType(restarts=True), default=None),
    Field("lifecycle", _LIFECYCLE),
)


# -- writing ---------------------------------------------------------------------------------------


def write_probe(probe: Probe) -> Object:
    """The probe as the API prints it, its defaults written out."""
    grace = probe.termination_grace_period_seconds
    return {
        **_written(probe.action),
        "initialDelaySeconds": probe.initial_delay_seconds,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
        **({"terminationGracePeriodSeconds": grace} if grace is not None else {}),
    }


def write_lifecycle(lifecycle: Lifecycle) -> Object:
    """The hooks as the API prints them."""
    hooks = {"postStart": lifecycle.post_start, "preStop": lifecycle.pre_stop}
    return {name: _written(action) for name, action in hooks.items() if action is not None}


def _written(action: ProbeAction | HookAction) -> Object:
    match action:
        case HTTPGetAction():
            headers: list[JSON] = [
                {"name": header.name, "value": header.value} for header in action.http_headers
            ]
            found: Object = {
                "path": action.path,
                "port": action.port,
                **({"host": action.host} if action.host else {}),
                "scheme": str(action.scheme),
                **({"httpHeaders": headers} if headers else {}),
            }
            return {"httpGet": found}
        case TCPSocketAction():
            host: Object = {"host": action.host} if action.host else {}
            return {"tcpSocket": {"port": action.port, **host}}
        case ExecAction():
            return {"exec": {"command": list(action.command)}}
        case GRPCAction():
            return {"grpc": {"port": action.port, "service": action.service}}
        case SleepAction():
            return {"sleep": {"seconds": action.seconds}}
        case unknown:
            assert_never(unknown)
