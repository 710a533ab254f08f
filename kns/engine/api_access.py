"""How the lab's API is reached: a port of the loopback, the lab's certificate, a token.

    api/token   what a client must show
    api/port    written last: until then the API is not there yet

Whoever runs `kns up` opens the port in his own network namespace and hands it to the agent, which
is in none of them; an agent that is started again gets the same port, so that a kubeconfig lasts.
"""

from __future__ import annotations

import base64
import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from kns.compile.paths import LabPaths
from kns.engine import certificates
from kns.engine.private import ensure_folder, write_private
from kns.errors import PlatformError, UsageError
from kns.kernel import sockets
from kns.labfile.dump import dump_yaml

_LOOPBACK = "127.0.0.1"
#: the certificate's name in the lab's folder `tls`, which no host of an Ingress has
_CERTIFICATE = "kubernetes.api"
#: under which names and addresses the API is asked for
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", _LOOPBACK)


@dataclass(frozen=True, slots=True)
class APIFiles:
    """What the API shows and asks for."""

    certificate: Path
    key: Path
    token: str


def listen(paths: LabPaths) -> socket.socket:
    """A listening socket of the loopback here, on the lab's earlier port if that is free."""
    try:
        return sockets.open_here(_LOOPBACK, _port(paths) or 0)
    except OSError:
        return sockets.open_here(_LOOPBACK, 0)


def _port(paths: LabPaths) -> int | None:
    try:
        return int((paths.api / "port").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def prepare(paths: LabPaths, service: IPv4Address | None = None) -> APIFiles:
    """Make the certificate and the token, once. PlatformError without openssl."""
    ensure_folder(paths.api)
    names = (*NAMES, str(service)) if service is not None else NAMES
    certificate, key = certificates.ensure_server(paths, paths.lab, _CERTIFICATE, names)
    file = paths.api / "token"
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return APIFiles(certificate, key, file.read_text(encoding="ascii"))


def publish(paths: LabPaths, port: int) -> None:
    """Say that the API is there."""
    write_private(paths.api / "port", f"{port}\n")


def kubeconfig(paths: LabPaths) -> str:
    """The kubeconfig of a lab. UsageError if it has no API yet."""
    port = _port(paths)
    if port is None:
        raise UsageError(
            f"the lab {paths.lab} has no API",
            hint="its agent begins to serve one a moment after kns up; kns status tells of it",
        )
    try:
        token = (paths.api / "token").read_text(encoding="ascii")
        authority = (paths.tls / "ca.pem").read_bytes()
    except OSError as error:
        hint = "kns up makes them again"
        raise PlatformError(f"the API's files can't be read: {error}", hint=hint) from error
    name = f"kns-{paths.lab}"
    return dump_yaml(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": f"https://{_LOOPBACK}:{port}",
                        "certificate-authority-data": base64.b64encode(authority).decode(),
                    },
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )
