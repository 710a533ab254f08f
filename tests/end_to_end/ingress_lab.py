"""Labs with Ingresses for tests: brought up under a name of their own, asked from outside."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kns.cli.main import main
from kns.cluster.ingress import entrance
from kns.compile.names import netns_of_internet
from kns.engine.labs import RunningLab, running
from kns.kernel import processes
from kns.kernel.processes import Context
from kns.probe.addresses import in_url

#: seconds until nginx must listen, or have read its new configuration
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `server` is the container that answered, if it was kns' own server."""

    status: int
    body: str
    location: str = ""

    @property
    def whoami(self) -> dict[str, object]:
        """The JSON of /whoami; empty for anything else."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def server(self) -> str:
        """The container that answered."""
        return str(self.whoami.get("container", ""))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request as the server saw them."""
        found = self.whoami.get("headers", {})
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Outside:
    """A host outside the cluster that asks the lab's Ingress controller."""

    lab: RunningLab
    host: str = "internet"

    def ask(self, url: str, *options: str) -> Answer:
        """curl to the controller's door, whatever the URL's host; its own words if it fails."""
        door = entrance(self.lab.cluster)
        assert door is not None
        port = door.https if url.startswith("https") else door.http
        done = processes.run(
            [
                *("curl", "--disable", "--silent", "--show-error", "--path-as-is", "--globoff"),
                *("--max-time", "5", "--cacert", str(self.lab.paths.trusted)),
                *(
                    "--header",
                    "X-Kns-Whoami: 1",
                    "--connect-to",
                    f"::{in_url(str(door.address))}:{port}",
                ),
                *("--write-out", "\n%{http_code} %{redirect_url}", *options, url),
            ],
            context=Context(netns_of_internet(self.lab.name, self.host)),
        )
        if done.returncode:
            raise ConnectionError(done.stderr.strip())
        body, _, last = done.stdout.rpartition("\n")
        status, _, location = last.partition(" ")
        return Answer(int(status), body, location)

    def wait_for(self, url: str, status: int) -> None:
        """Return when the URL is answered with the status: nginx starts and reloads in its time."""
        end = time.monotonic() + PATIENCE
        seen: object = None
        while time.monotonic() < end:
            try:
                seen = self.ask(url).status
            except ConnectionError as error:
                seen = error
            if seen == status:
                return
            time.sleep(0.02)
        raise AssertionError(f"{url}: {seen} instead of {status}")


def lab_name() -> str:
    """A name that no other test has."""
    return f"ingress-{uuid.uuid4().hex[:6]}"


@contextmanager
def lab_of(text: str, folder: Path) -> Iterator[RunningLab]:
    """The lab of a text in which NAME stands for its name; gone afterwards."""
    name = lab_name()
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("NAME", name), encoding="utf-8")
    try:
        assert main(["up", str(file)]) == 0
        yield running(name)
    finally:
        assert main(["down", name]) == 0
