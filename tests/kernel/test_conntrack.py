"""UDP connections to a service whose endpoint vanishes: dropped; TCP's and sound ones kept."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kns.engine.down import down
from kns.engine.up import up
from kns.kernel import netns
from kns.kernel.processes import Context, run
from kns.plan.ops import CleanConntrack
from tests.end_to_end.labfiles import write_lab

pytestmark = pytest.mark.kernel

LAB = "flowtest"
TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {{name: flowtest}}
networking: {{dns: {{enabled: false}}, kubeProxyMode: {mode},
  kubeProxy: {{version: "{release}"}}}}
nodes: [{{name: node1}}]
pods:
- {{name: client, node: node1}}
{pods}
services:
- {{name: svc-u, type: NodePort, selector: {{app: u}}, clusterIP: 10.96.1.1,
   ports: [{{port: 9000, targetPort: 9000, protocol: UDP, nodePort: 30900}}]}}
"""


def text(*names: str, mode: str = "iptables", release: str = "1.37") -> str:
    pods = "\n".join(
        f"- {{name: {name}, node: node1, labels: {{app: u}},"
        " containers: [{name: u, ports: [{port: 9000, protocol: UDP}]}]}"
        for name in names
    )
    return TEXT.format(pods=pods, mode=mode, release=release)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)


def client_socket() -> socket.socket:
    """One that keeps its source port: each packet belongs to the same "connection"."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(3)
        sock.connect(("10.96.1.1", 9000))
        return sock

    return netns.call_in(f"kns.{LAB}.client", make)


def asked(sock: socket.socket) -> str:
    sock.send(b"hostname")
    return sock.recv(100).decode()


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_client_reaches_another_endpoint_when_its_own_vanishes(tmp_path: Path, mode: str) -> None:
    up(write_lab(tmp_path, text("u1", "u2", mode=mode)))
    with client_socket() as sock:
        first = asked(sock)
        assert asked(sock) == first
        other = {"u1": "u2", "u2": "u1"}[first]
        result = up(write_lab(tmp_path, text(other, mode=mode)))
        assert any(isinstance(op, CleanConntrack) for op in result.ops)
        assert asked(sock) == other


def test_connections_to_endpoints_that_stay_are_kept(tmp_path: Path) -> None:
    up(write_lab(tmp_path, text("u1", "u2")))
    with client_socket() as sock:
        mine = asked(sock)
        up(write_lab(tmp_path, text("u1", "u2", "u3")))
        for _ in range(5):
            assert asked(sock) == mine


def test_first_endpoint_is_reached_by_a_client_that_was_refused(tmp_path: Path) -> None:
    up(write_lab(tmp_path, text()))
    with client_socket() as sock:
        with pytest.raises(ConnectionRefusedError):
            asked(sock)
        up(write_lab(tmp_path, text("u1")))
        assert _eventually(lambda: asked(sock)) == "u1"


def _eventually(ask: Callable[[], str]) -> str:
    deadline = time.monotonic() + 5
    while True:
        try:
            return ask()
        except OSError:
            if time.monotonic() > deadline:
                raise


@pytest.mark.parametrize(("release", "stay"), [("1.31", False), ("1.32", True), ("1.37", True)])
def test_entries_of_a_service_that_goes(tmp_path: Path, release: str, stay: bool) -> None:  # noqa: FBT001
    """kube-proxy went by events until 1.31; since then a deleted service is not looked at."""
    of_release = text("u1", release=release)
    up(write_lab(tmp_path, of_release))
    with client_socket() as sock:
        asked(sock)
        assert "dst=10.96.1.1" in entries()
        up(write_lab(tmp_path, of_release.split("services:", maxsplit=1)[0]))
        assert ("dst=10.96.1.1" in entries()) is stay


@pytest.mark.parametrize(("release", "stay"), [("1.31", False), ("1.36", True), ("1.37", False)])
def test_entries_of_a_service_that_loses_its_last_endpoint(
    tmp_path: Path,
    release: str,
    stay: bool,  # noqa: FBT001
) -> None:
    of_release = text("u1", release=release)
    up(write_lab(tmp_path, of_release))
    with client_socket() as sock:
        asked(sock)
        up(write_lab(tmp_path, of_release.replace("labels: {app: u}, c", "labels: {app: v}, c")))
        assert ("dst=10.96.1.1" in entries()) is stay


def entries() -> str:
    return run(["conntrack", "-L", "-p", "udp"], context=Context(f"kns.{LAB}.node1")).stdout
