"""How the lab's API is reached: a port of the loopback, the lab's certificate, a token.

    api/token   what a client must show
    api/port    written last: until then the API is not there yet

Whoever runs `kns up` opens the port in his own network namespace and hands it to the agent, which
is in none of them; an agent that is started again gets the same port, so that a kubeconfig lasts.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from kns.compile.paths import LabPaths
from kns.engine import certificates
from kns.engine.private import ensure_folder, write_private
from kns.kernel import netns, sockets

LOOPBACK = "127.0.0.1"
#: the certificate's name in the lab's folder `tls`, which no host of an Ingress has
_CERTIFICATE = "kubernetes.api"
#: under which names and addresses the API is asked for
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", LOOPBACK)


def listen(paths: LabPaths) -> socket.socket:
    """A listening socket of this process' loopback, on the lab's earlier port if that is free.

    From any thread, in whichever netns that is. OSError if there is no loopback.
    """
    try:
        return netns.call_home(sockets.open_here, LOOPBACK, port_of(paths) or 0)
    except OSError:
        return netns.call_home(sockets.open_here, LOOPBACK, 0)


def port_of(paths: LabPaths) -> int | None:
    """The port on which the API was served last; None if it never was."""
    try:
        return int((paths.api / "port").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def token(paths: LabPaths) -> str:
    """What the lab's owner must show; made once."""
    ensure_folder(paths.api)
    file = paths.api / "token"
    if not file.exists():
        write_private(file, os.urandom(32).hex())
    return file.read_text(encoding="ascii")


def certificate(paths: LabPaths, more: Sequence[str] = ()) -> tuple[Path, Path]:
    """The API's certificate and its key, also for `more` names and addresses; made once.

    PlatformError without openssl.
    """
    # of other names there is another one: clients may go on to trust the lab's CA
    suffix = hashlib.sha256("\n".join(more).encode()).hexdigest()[:8]
    name = f"{_CERTIFICATE}.{suffix}" if more else _CERTIFICATE
    names = dict.fromkeys((*NAMES, *more))
    return certificates.ensure_server(paths, paths.lab, name, names)


def publish(paths: LabPaths, port: int) -> None:
    """Say that the API is there."""
    write_private(paths.api / "port", f"{port}\n")
