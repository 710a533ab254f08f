"""What a client of a lab's API does: HTTPS by the lab's kubeconfig, and a wait for what follows."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from kns.compile.paths import LabPaths
from kns.engine.kubeconfig import kubeconfig, wait_for_api

T = TypeVar("T")
#: seconds that a slow machine under load may take for what an idle one does at once
PATIENCE = 120.0


def until(look: Callable[[], T | None]) -> T:
    """Look until there is something to see, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.05)
    return found


@dataclass
class APIClient:
    """Speaks with the API of one lab."""

    port: int
    token: str
    context: ssl.SSLContext

    def ask(
        self, path: str, method: str = "GET", body: object = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        """One request: the code, and the object that is answered."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.context, timeout=PATIENCE
        )
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        text = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, text, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()


def client_of(lab: str) -> APIClient:
    """The client of a lab's kubeconfig, as soon as the agent has written what it says."""

    paths = LabPaths(lab)
    wait_for_api(paths)
    found = yaml.safe_load(kubeconfig(paths))
    cluster = found["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return APIClient(
        int(cluster["server"].rpartition(":")[2]),
        found["users"][0]["user"]["token"],
        ssl.create_default_context(cadata=authority),
    )
