"""The kubeconfig of a lab: where its API is, by whose certificate, with which token."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from kns.compile.paths import LabPaths
from kns.engine.api_access import LOOPBACK, port_of
from kns.engine.labs import agent_pid
from kns.engine.private import write_private
from kns.errors import ApplyError, PlatformError
from kns.kernel import processes
from kns.labfile.dump import dump_yaml

#: seconds until an agent that has just been started serves the API; a slow machine takes ten
_PATIENCE = 60.0
_TURN = 0.05


def wait_for_api(paths: LabPaths) -> None:
    """Until the lab's agent serves the API: `up` does not wait for that.

    PlatformError without openssl, ApplyError if the lab has no agent or that serves none.
    """
    processes.which("openssl")
    deadline = time.monotonic() + _PATIENCE
    while True:
        if agent_pid(paths.lab) is None:
            raise ApplyError(
                f"the lab {paths.lab} has no agent, which serves the API",
                hint="kns up starts it again",
            )
        if port_of(paths) is not None:
            return
        if time.monotonic() > deadline:
            raise ApplyError(
                f"the lab {paths.lab} serves no API, for {_PATIENCE:.0f} s",
                hint=f"why is in {paths.log}; kns up, where there is a loopback, starts it again",
            )
        time.sleep(_TURN)


def write_kubeconfig(paths: LabPaths) -> Path:
    """Write it into the lab's folder, for its owner alone; its path."""
    file = paths.api / "kubeconfig"
    write_private(file, kubeconfig(paths))
    return file


def kubeconfig(paths: LabPaths) -> str:
    """The kubeconfig of a lab. PlatformError if what it is made of can't be read."""
    port = port_of(paths)
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
                        "server": f"https://{LOOPBACK}:{port}",
                        "certificate-authority-data": base64.b64encode(authority).decode(),
                    },
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )
