"""The API of running labs: where it is, who gets in, and that it lasts."""

from __future__ import annotations

import http.client
import os
import resource
import shutil
import signal
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kns.compile.paths import LabPaths
from kns.engine.api_access import listen, publish
from kns.engine.down import down
from kns.engine.labs import agent_pid, running
from kns.engine.private import ensure_folder
from kns.engine.status import status
from kns.engine.up import up
from kns.errors import ApplyError
from kns.kernel import netns
from tests.cli.process import kns
from tests.end_to_end.api_client import PATIENCE, APIClient, client_of, until
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB, OTHER = "apitest", "apiother"


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Two labs side by side."""
    files = {}
    try:
        for name, pods in ((LAB, 2), (OTHER, 1)):
            files[name] = write_lab(tmp_path_factory.mktemp(name), small_lab(name, pods=pods))
            up(files[name])
        yield files
    finally:
        for name in (LAB, OTHER):
            down(name)
            assert leftovers(name) == {}


@pytest.fixture
def client(labs: dict[str, Path]) -> APIClient:
    assert LAB in labs
    return client_of(LAB)


def names(client: APIClient, path: str = "/api/v1/pods") -> list[str]:
    code, body = client.ask(path)
    assert code == 200
    return [item["metadata"]["name"] for item in body["items"]]


def test_two_labs_each_have_their_own(labs: dict[str, Path]) -> None:
    first, second = map(client_of, labs)
    assert first.port != second.port
    assert (names(first), names(second)) == (["pod1", "pod2"], ["pod1"])
    with pytest.raises(ssl.SSLCertVerificationError):
        APIClient(second.port, first.token, first.context).ask("/api/v1/pods")
    assert APIClient(second.port, first.token, second.context).ask("/api/v1/pods")[0] == 401


def test_nobody_gets_in_without_the_token(client: APIClient) -> None:
    for token in ("", "wrong", client.token[:-1]):
        code, body = APIClient(client.port, token, client.context).ask("/api/v1/pods")
        assert (code, body["reason"]) == (401, "Unauthorized")


def test_it_listens_on_the_loopback_alone(client: APIClient) -> None:
    spaces = [None, *(name for name in netns.list_netns() if name.startswith(f"kns.{LAB}."))]
    tables = [
        Path("/proc/thread-self/net/tcp").read_text(encoding="ascii")
        if space is None
        else netns.call_in(space, Path("/proc/thread-self/net/tcp").read_text, "ascii")
        for space in spaces
    ]
    found = [line.split()[1] for table in tables for line in table.splitlines()[1:]]
    assert [item for item in found if item.endswith(f":{client.port:04X}")] != []
    assert {item for item in found if item.endswith(f":{client.port:04X}")} == {
        f"0100007F:{client.port:04X}"
    }
    assert not any(f":{client.port:04X}" in table for table in tables[1:])


def test_its_files_are_their_owners_alone(client: APIClient) -> None:
    assert client.token
    paths = LabPaths(LAB)
    for folder in (paths.api, paths.tls):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.api_socket.stat().st_mode) == 0o600


def test_the_lab_s_own_socket_asks_for_no_token(client: APIClient) -> None:
    assert client.token
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(LabPaths(LAB).api_socket))
        connection = http.client.HTTPConnection("lab")
        connection.sock = sock
        connection.request("GET", "/version")
        assert connection.getresponse().status == 200


def test_the_kubeconfig_is_printed_or_written(client: APIClient) -> None:
    printed = kns("kubeconfig", LAB).stdout
    found = yaml.safe_load(printed)
    assert found["clusters"][0]["cluster"]["server"] == f"https://127.0.0.1:{client.port}"
    assert found["current-context"] == f"kns-{LAB}"
    path = Path(kns("kubeconfig", "-l", LAB, "--write").stdout.strip())
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (printed, 0o600)


def test_an_up_that_was_refused_leaves_the_lab_as_live_as_it_was(
    labs: dict[str, Path], client: APIClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.ask("/api/v1/namespaces/default/pods/pod1")[0] == 200
    other = write_lab(tmp_path, small_lab(LAB, pods=3))

    def refused(*_: object) -> None:
        raise ApplyError("refused")

    # the last step, when the agent serves the other file already
    with monkeypatch.context() as patch:
        patch.setattr("kns.engine.up._check", refused)
        with pytest.raises(ApplyError, match="refused"):
            up(other)
    port = {"port": 80, "targetPort": 8080}
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "late"},
        "spec": {"ports": [port]},
    }
    path = "/api/v1/namespaces/default/services"
    assert client.ask(path, "POST", made)[0] == 201
    assert [item.name for item in running(LAB).cluster.pods] == ["pod1", "pod2"]
    assert {item.name for item in running(LAB).cluster.services} == {"svc-a", "late"}
    assert status(LAB).healthy
    assert up(labs[LAB]).undone == ("service/late: created",)


def test_what_can_not_be_kept_is_refused_with_the_reason(client: APIClient) -> None:
    """The journal has no room: the write is not done, and who wrote learns what to do."""
    pid, journal = agent_pid(LAB), LabPaths(LAB).objects
    assert pid is not None
    names(client)  # which begins the journal
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {}}
    path = "/api/v1/namespaces/default/configmaps"
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (journal.stat().st_size, resource.RLIM_INFINITY))
    try:
        code, body = client.ask(path, "POST", item)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, everything)
    assert code == 500
    assert body["message"].startswith("Internal error occurred: ")
    assert "file too large: raise the limit on the size of files" in body["message"]
    assert client.ask(f"{path}/kept")[0] == 404
    assert client.ask(path, "POST", item)[0] == 201
    assert client.ask(f"{path}/kept", "DELETE")[0] == 200


def test_a_port_that_somebody_else_has_is_left_to_him() -> None:
    paths = LabPaths("apiport")
    ensure_folder(paths.api)
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            publish(paths, port)
            with listen(paths) as other:
                assert other.getsockname()[1] != port
        with listen(paths) as again:
            assert again.getsockname() == ("127.0.0.1", port)
    finally:
        shutil.rmtree(paths.folder)


def test_a_killed_agent_s_successor_serves_it_on_the_same_port(
    labs: dict[str, Path], client: APIClient
) -> None:
    label = {"metadata": {"labels": {"color": "blue"}}}
    path = "/api/v1/namespaces/default/pods/pod1"
    assert client.ask(path, "PATCH", label, "application/merge-patch+json")[0] == 200
    pid = agent_pid(LAB)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: agent_pid(LAB) is None)
    refused = kns("kubeconfig", LAB)
    assert refused.returncode == 4
    assert "has no agent, which serves the API" in refused.stderr
    result = up(labs[LAB])
    assert result.agent_started
    assert result.undone == ("pod/pod1: metadata.labels.color unset → blue",)

    def again() -> bool:
        try:
            return client.ask(path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    assert until(again)
    assert client.ask(path)[1]["metadata"]["labels"] == {"app": "a"}
    assert client_of(LAB).port == client.port
