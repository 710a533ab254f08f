"""labs/ingress.yaml and its like on the running kernel: nginx, TLS, reloads, clean-up."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kns.agent.process_table import start_time
from kns.cli.main import main
from kns.compile.names import netns_of_internet
from kns.engine.labs import RunningLab, running
from kns.kernel import processes
from kns.kernel.processes import Context
from tests.end_to_end.ingress_lab import Outside, lab_name, lab_of
from tests.end_to_end.labfiles import leftovers
from tests.readme_console import PROJECT

pytestmark = pytest.mark.kernel

SHOP = "https://shop.example.com"
TEXT = (PROJECT / "labs/ingress.yaml").read_text(encoding="utf-8")
LAB = TEXT.replace("metadata: {name: ingress}", "metadata: {name: NAME}")
SMALL = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: NAME}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: web1, node: node1, labels: {app: web}}
- {name: web2, node: node2, labels: {app: web}, ready: READY}
services: [{name: web, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}]
ingresses:
- name: shop
  tls: [{hosts: [shop.test], secretName: SECRET}]
  rules:
  - {host: shop.test, paths: [{path: /, pathType: Prefix, backend: {service: web, port: 80}}]}
  - {host: plain.test, paths: [{path: /, pathType: Prefix, backend: {service: web, port: 80}}]}
"""


def small(*, ready: bool = True, secret: str = "none") -> str:
    return SMALL.replace("READY", str(ready).lower()).replace("SECRET", secret)


def up(lab: RunningLab, text: str, folder: Path) -> RunningLab:
    """The running lab, converged to another text."""
    file = folder / f"{lab.name}-next.yaml"
    file.write_text(text.replace("NAME", lab.name), encoding="utf-8")
    assert main(["up", str(file)]) == 0
    return running(lab.name)


def nginx_pids(lab: RunningLab) -> list[int]:
    files = lab.paths.folder.glob("components/nginx.*/nginx.pid")
    return [int(file.read_text()) for file in sorted(files)]


# -- the lab of the documentation ------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with lab_of(LAB, tmp_path_factory.mktemp("ingress")) as found:
        # no waiting: when `up` is over, the controller listens and its address is answered for
        assert Outside(found).ask(f"{SHOP}/").status == 200
        yield found


def test_verify_proves_the_lab(lab: RunningLab, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    status = main(["verify", "-l", lab.name, "-o", "json"])
    report = json.loads(capfd.readouterr().out)
    failed = [check for check in report["checks"] if not check["ok"]]
    assert failed == []
    assert status == 0
    paths = [check["path"] for check in report["checks"]]
    assert paths.count("internet-to-ingress") >= 25


def test_up_again_changes_nothing(
    lab: RunningLab, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = nginx_pids(lab)
    certificate = (lab.paths.tls / "host.shop.example.com.pem").read_text()
    capfd.readouterr()
    up(lab, LAB, tmp_path)
    assert "has nothing to change" in capfd.readouterr().out
    assert nginx_pids(lab) == before
    assert (lab.paths.tls / "host.shop.example.com.pem").read_text() == certificate


def test_status_is_healthy(lab: RunningLab) -> None:
    assert main(["status", lab.name]) == 0


def test_probe_says_who_answered_a_path(lab: RunningLab, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    command = ["probe", "internet", f"{SHOP}/cart", "--count", "10", "-o", "json", "-l", lab.name]
    assert main(command) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["path"] == "internet-to-ingress"
    assert set(result["backends"]) == {"cart1", "cart2"}


def test_a_pod_finds_the_host_by_cluster_dns(lab: RunningLab) -> None:
    argv = ["dns", "web1", "shop.example.com", "A", "-l", lab.name, "-o", "json"]
    assert main(argv) == 0


def test_what_a_client_says_of_itself_is_overwritten(lab: RunningLab) -> None:
    forged = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto")
    options = [part for name in forged for part in ("--header", f"{name}: forged")]
    seen = Outside(lab).ask(f"{SHOP}/", *options).headers
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == "203.0.113.10"
    assert seen["x-forwarded-host"] == seen["host"] == "shop.example.com"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", "443")
    assert seen["x-original-forwarded-for"] == "forged"


def test_the_certificate_is_the_hosts_own(lab: RunningLab) -> None:
    with pytest.raises(ConnectionError, match="no alternative certificate subject name"):
        Outside(lab).ask("https://nobody.example.com/")


def test_who_does_not_know_the_labs_ca_does_not_trust_it(lab: RunningLab) -> None:
    # as for a browser on another machine
    with pytest.raises(ConnectionError, match="certificate"):
        Outside(lab).ask(f"{SHOP}/", "--cacert", "/dev/null")


def test_keys_are_their_owners_alone(lab: RunningLab) -> None:
    assert lab.paths.tls.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in lab.paths.tls.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"ca.key", "ca.pem", "default.key", "trusted.pem"} <= modes.keys()


def test_an_upgraded_connection_reaches_the_backend(lab: RunningLab) -> None:
    headers = ("--header", "Connection: Upgrade", "--header", "Upgrade: websocket")
    seen = Outside(lab).ask(f"{SHOP}/", "--http1.1", *headers).headers
    assert (seen["connection"], seen["upgrade"]) == ("upgrade", "websocket")


def test_get_ingresses_tells_the_address(
    lab: RunningLab, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["get", "ingresses", "-l", lab.name, "-o", "json"]) == 0
    items = json.loads(capfd.readouterr().out)["items"]
    found = {item["metadata"]["name"]: item["status"]["loadBalancer"] for item in items}
    point = {"ingress": [{"ip": "198.51.100.1"}]}
    assert found == dict.fromkeys(("shop", "apps", "admin", "soon"), point)


# -- changes ---------------------------------------------------------------------------------------


def test_no_request_fails_while_endpoints_change(tmp_path: Path) -> None:
    """Ten changes of what is ready, or more, under constant requests on new connections."""
    with lab_of(small(), tmp_path) as lab:
        outside = Outside(lab)
        outside.wait_for("http://plain.test/", 200)
        before = nginx_pids(lab)
        with _Requests(lab, "http://plain.test/whoami") as requests:
            turn = 0
            while turn < 10 or (requests.count <= 100 and turn < 100):
                up(lab, small(ready=turn % 2 == 1), tmp_path)
                time.sleep(0.1)
                turn += 1
        assert requests.statuses == {200: requests.count}
        assert requests.count > 100
        assert nginx_pids(lab) == before
        up(lab, small(ready=False), tmp_path)
        _await_pods(outside, {"web1"})


def test_a_request_under_way_outlives_a_reload(tmp_path: Path) -> None:
    with lab_of(small(), tmp_path) as lab:
        outside = Outside(lab)
        outside.wait_for("http://plain.test/", 200)
        answers: list[int] = []
        slow = threading.Thread(
            target=lambda: answers.append(outside.ask("http://plain.test/delay?ms=1500").status)
        )
        slow.start()
        time.sleep(0.2)
        up(lab, small(ready=False), tmp_path)
        slow.join()
        assert answers == [200]


def test_the_last_endpoint_gone_is_a_503(tmp_path: Path) -> None:
    with lab_of(small(), tmp_path) as lab:
        outside = Outside(lab)
        outside.wait_for("http://plain.test/", 200)
        up(lab, small().replace("app: web}, ports", "app: nobody}, ports"), tmp_path)
        outside.wait_for("http://plain.test/", 503)


def test_an_ingress_added_and_removed_comes_and_goes_with_its_controller(tmp_path: Path) -> None:
    without = small().partition("ingresses:")[0]
    with lab_of(without, tmp_path) as lab:
        assert nginx_pids(lab) == []
        more = up(lab, small(), tmp_path)
        Outside(more).wait_for("https://shop.test/", 200)
        (pid,) = nginx_pids(more)
        less = up(lab, without, tmp_path)
        assert start_time(pid) is None
        assert less.cluster.ingress_controller is None


class _Requests:
    """curl after curl from outside, until the block ends."""

    def __init__(self, lab: RunningLab, url: str) -> None:
        self._outside = Outside(lab)
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: dict[object, int] = {}

    @property
    def count(self) -> int:
        return sum(self.statuses.values())

    def __enter__(self) -> _Requests:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                seen: object = self._outside.ask(self._url).status
            except ConnectionError as error:
                seen = str(error)
            self.statuses[seen] = self.statuses.get(seen, 0) + 1


def _await_pods(outside: Outside, wanted: set[str]) -> None:
    """Until nobody but these answers: the old workers end when their last request has."""
    end = time.monotonic() + 5
    found: set[object] = set()
    while time.monotonic() < end:
        found = {outside.ask("http://plain.test/whoami").whoami["pod"] for _ in range(6)}
        if found == wanted:
            return
    raise AssertionError(f"{found} answer")


# -- Secrets ---------------------------------------------------------------------------------------


def pair(folder: Path, host: str) -> tuple[str, str]:
    """A certificate that signs itself, and its key."""
    folder.mkdir()
    done = processes.run(
        [
            *("openssl", "req", "-x509", "-noenc", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=test"),
            *("-addext", f"subjectAltName=DNS:{host}"),
            *("-keyout", str(folder / "key"), "-out", str(folder / "pem")),
        ]
    )
    assert done.returncode == 0, done.stderr
    return (folder / "pem").read_text(), (folder / "key").read_text()


def with_secret(certificate: str, key: str) -> str:
    parts = json.dumps({"tls.crt": certificate, "tls.key": key})
    return f"{small(secret='own')}secrets: [{{name: own, stringData: {parts}}}]\n"


def shown_certificate(lab: RunningLab) -> str:
    """What nginx shows for shop.test, as PEM."""
    from kns.cluster.ingress import entrance

    door = entrance(lab.cluster)
    assert door is not None
    place = f"{door.address}:{door.https}"
    done = processes.run(
        ["openssl", "s_client", "-connect", place, "-servername", "shop.test"],
        context=Context(netns_of_internet(lab.name, "internet")),
    )
    start = done.stdout.index("-----BEGIN CERTIFICATE-----")
    return done.stdout[start : done.stdout.index("-----END CERTIFICATE-----")]


def test_a_secrets_certificate_is_shown_and_replaced_without_a_restart(tmp_path: Path) -> None:
    first, second = (pair(tmp_path / name, "shop.test") for name in ("first", "second"))
    with lab_of(with_secret(*first), tmp_path) as lab:
        Outside(lab).wait_for("https://shop.test/", 200)
        assert shown_certificate(lab) in first[0]
        before = nginx_pids(lab)
        up(lab, with_secret(*second), tmp_path)
        end = time.monotonic() + 5
        while shown_certificate(lab) not in second[0]:
            assert time.monotonic() < end, "the first certificate is still shown"
        Outside(lab).wait_for("https://shop.test/", 200)
        assert nginx_pids(lab) == before
        secrets = list(lab.paths.tls.glob("secret.*"))
        assert len(secrets) == 2


def test_a_key_of_another_certificate_is_an_error_before_anything_is_built(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate, _ = pair(tmp_path / "first", "shop.test")
    _, key = pair(tmp_path / "second", "shop.test")
    name = lab_name()
    file = tmp_path / "lab.yaml"
    file.write_text(with_secret(certificate, key).replace("NAME", name), encoding="utf-8")
    capfd.readouterr()
    assert main(["up", str(file)]) == 2
    assert "Secret default/own: tls.key is not the key of tls.crt" in capfd.readouterr().err
    assert leftovers(name) == {}


# -- what is missing, what stays -------------------------------------------------------------------


@pytest.mark.parametrize(("program", "package"), [("nginx", "nginx-light"), ("openssl", "openssl")])
def test_a_missing_program_is_told_before_anything_is_built(
    program: str,
    package: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    which = shutil.which

    def without(name: str, path: str | None = None) -> str | None:
        return None if name == program else which(name, path=path)

    monkeypatch.setattr(shutil, "which", without)
    name = lab_name()
    file = tmp_path / "lab.yaml"
    file.write_text(small().replace("NAME", name), encoding="utf-8")
    capfd.readouterr()
    assert main(["up", str(file)]) == 3
    error = capfd.readouterr().err
    assert f"the program {program} is not installed" in error
    assert f"apt-get install {package}" in error
    assert leftovers(name) == {}


def test_down_leaves_nothing(tmp_path: Path) -> None:
    with lab_of(small(), tmp_path) as lab:
        Outside(lab).wait_for("http://plain.test/", 200)
        pids = nginx_pids(lab)
    assert leftovers(lab.name) == {}
    assert [start_time(pid) for pid in pids] == [None]


@pytest.mark.parametrize("family", ["ipv6", "dual"])
def test_ipv6_clients_are_served(family: str, tmp_path: Path) -> None:
    text = small().replace("networking: {", f"networking: {{ipFamily: {family}, ")
    with lab_of(text, tmp_path) as lab:
        Outside(lab).wait_for("http://plain.test/", 200)
        assert main(["verify", "-l", lab.name, "--only", "ingress"]) == 0


@pytest.mark.parametrize("mode", ["bgp", "proxy"])
def test_every_load_balancer_leads_to_the_controller(mode: str, tmp_path: Path) -> None:
    text = LAB.replace("mode: l2", f"mode: {mode}")
    with lab_of(text, tmp_path) as lab:
        Outside(lab).wait_for(f"{SHOP}/", 200)
        assert main(["verify", "-l", lab.name, "--only", "internet-to-ingress"]) == 0
