"""The lab's API as kns' own commands speak with it: HTTP over the agent's unix socket.

Whoever may open the socket may do anything, so there is no token. An agent that is not running is
started: the objects are in its journal.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from kns.compile.paths import LabPaths
from kns.engine import agent
from kns.engine.labs import RunningLab
from kns.engine.orders import Converge, Converged, Refused
from kns.errors import ApplyError, UsageError
from kns.kernel import processes
from kns.kinds.common import Object
from kns.kinds.objects import Ref, mapping, mappings, ref_of, text
from kns.kinds.resources import Resource
from kns.labfile.reader import JSON

#: seconds for the API to begin: the agent serves the pods first
START = 60.0
#: seconds for an answer; a write waits until it is so in the kernel
ANSWER = 120.0
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
#: who the API says has written a field
MANAGER = "kns"
_PAUSE = 0.02


class RequestRefusedError(UsageError):
    """The API refuses a request: `code` is HTTP's, `causes` are (field, message)."""

    def __init__(
        self, code: int, message: str, causes: Sequence[tuple[str, str]] = (), *, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code, self.causes = code, tuple(causes)


class NoSuchObjectError(RequestRefusedError):
    """The API has no object of that name."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An object, or a list of them, and what the API warns of."""

    object: Object
    warnings: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """`metadata.resourceVersion`."""
        return text(self.object, "metadata", "resourceVersion")


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class APIClient:
    """The API of one lab. The errors of each request: RequestRefusedError, ApplyError."""

    def __init__(self, paths: LabPaths) -> None:
        self._paths = paths

    # -- objects -----------------------------------------------------------------------------------

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object. NoSuchObjectError if there is none."""
        return self._ask("GET", path_of(resource, namespace, name)).object

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        try:
            return self.get(resource, namespace, name)
        except NoSuchObjectError:
            return None

    def list(self, resource: Resource, namespace: str = "") -> tuple[Object, ...]:
        """The objects of a resource; of all namespaces if none is named."""
        return self.listed(resource, namespace)[1]

    def listed(self, resource: Resource, namespace: str = "") -> tuple[str, tuple[Object, ...]]:
        """The same, and the version after which a watch goes on."""
        found = self._ask("GET", path_of(resource, namespace))
        return found.version, tuple(mappings(found.object, "items"))

    def apply(
        self, resource: Resource, namespace: str, name: str, item: Object, *, dry_run: bool = False
    ) -> Answered:
        """Server-side apply, which makes the object or changes it; what is as it was stays."""
        options = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            options["dryRun"] = "All"
        path = f"{path_of(resource, namespace, name)}?{urlencode(options)}"
        return self._ask("PATCH", path, item, APPLY)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: JSON,
        *,
        form: str = MERGE_PATCH,
        part: str = "",
    ) -> Object:
        """Patch the object, or a subresource of it."""
        path = path_of(resource, namespace, name) + (f"/{part}" if part else "")
        return self._ask("PATCH", path, patch, form).object

    def post(self, path: str, body: Object) -> Object:
        """Post an object to a path."""
        return self._ask("POST", path, body).object

    def delete(self, resource: Resource, namespace: str, name: str, grace: int | None) -> Object:
        """Delete the object, a pod with its own grace period or with `grace` seconds."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options["propagationPolicy"] = "Background"
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return self._ask("DELETE", path_of(resource, namespace, name), options).object

    def watch(self, resource: Resource, namespace: str, version: str) -> Iterator[Object]:
        """The objects of a resource as they are added and changed, until the API ends it."""
        query = urlencode({"watch": "true", "resourceVersion": version})
        connection = _Connection(self._paths.api_socket, None)
        try:
            connection.request("GET", f"{path_of(resource, namespace)}?{query}")
            for line in connection.getresponse():
                event = json.loads(line)
                if event.get("type") in {"ADDED", "MODIFIED"}:
                    yield event["object"]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silence(error) from error
        finally:
            connection.close()

    def settle(self) -> None:
        """Wait until everything that was written is so in the kernel."""
        self._ask("GET", "/readyz/settled")

    def pending(self) -> Mapping[Ref, str]:
        """Wait likewise; what is on its way even then, a line each (`kns.engine.pending`)."""
        found = mappings(self._ask("GET", "/readyz/pending").object, "items")
        return {ref_of(item): text(item, "message") for item in found}

    # -- one request -------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, body: JSON = None, form: str = "application/json"
    ) -> Answered:
        connection = _Connection(self._paths.api_socket, ANSWER)
        headers = {"Content-Type": form, "Accept": "application/json", "User-Agent": MANAGER}
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            content = response.read()
            is_object = response.getheader("Content-Type", "").startswith("application/json")
            answer = json.loads(content) if is_object else {}
            warned = response.headers.get_all("Warning") or ()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._silence(error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _refusal(response.status, answer)
        return Answered(answer, tuple(map(_warning, warned)))

    def _silence(self, error: Exception) -> ApplyError:
        message = f"the lab's API does not answer: {error}"
        return ApplyError(message, hint=f"the agent's log: {self._paths.log}; kns status")


def _warning(header: str) -> str:
    """The text of `299 - "text"` (RFC 7234, 5.5)."""
    quoted = header.partition('"')[2].removesuffix('"')
    return quoted.replace('\\"', '"').replace("\\\\", "\\")


def _refusal(code: int, status: Object) -> RequestRefusedError | ApplyError:
    message = text(status, "message") or f"the lab's API answers {code}"
    found = mappings(mapping(status, "details"), "causes")
    causes = [(text(item, "field"), text(item, "message")) for item in found]
    if code == 404:
        return NoSuchObjectError(code, message)
    if code < 500:
        return RequestRefusedError(code, message, causes)
    return ApplyError(message)


def path_of(resource: Resource, namespace: str = "", name: str = "") -> str:
    """Where the API has the objects of a resource, or one of them."""
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    space = f"/namespaces/{quote(namespace)}" if resource.namespaced and namespace else ""
    return f"{root}{space}/{resource.plural}" + (f"/{quote(name)}" if name else "")


# -- its agent -------------------------------------------------------------------------------------


def connect(lab: RunningLab) -> APIClient:
    """The API of a running lab, whose agent is started if it has none. ApplyError without one."""
    if not agent.is_running(lab.name):
        process = agent.start(lab.name)
        try:
            answer = agent.order(lab.name, Converge(), Converged, process=process)
        finally:
            processes.release(process)
        if isinstance(answer, Refused):
            raise ApplyError(answer.error, hint=answer.hint)
    deadline = time.monotonic() + START
    while not _listens(lab.paths):
        if time.monotonic() > deadline or not agent.is_running(lab.name):
            message = "the lab's agent does not serve its API"
            raise ApplyError(message, hint=f"its log: {lab.paths.log}; kns up starts it again")
        time.sleep(_PAUSE)
    return APIClient(lab.paths)


def _listens(paths: LabPaths) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(str(paths.api_socket))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True
