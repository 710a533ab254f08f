"""The kubeconfig of a lab: where its API is, by whose certificate, with which token."""

from __future__ import annotations

import base64

from kns.compile.paths import LabPaths
from kns.engine.api_access import LOOPBACK, port_of
from kns.errors import PlatformError, UsageError
from kns.labfile.dump import dump_yaml


def kubeconfig(paths: LabPaths) -> str:
    """The kubeconfig of a lab. UsageError if it has no API yet."""
    port = port_of(paths)
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
