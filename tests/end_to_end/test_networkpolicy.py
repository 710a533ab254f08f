"""NetworkPolicies by real traffic: upstream's cases, random ones, changes of a running lab."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kns.addresses import IPAddress
from kns.cluster.model import Cluster
from kns.cluster.policy_objects import of_cluster
from kns.compile import names
from kns.engine.down import down
from kns.engine.labs import running
from kns.engine.status import status
from kns.engine.up import script, up
from kns.kernel import netns
from kns.kernel.processes import Context, run
from kns.kinds.common import Protocol
from kns.plan.ops import LoadNft
from kns.probe.ask import datagram, ping
from kns.probe.ask.places import places_of
from kns.probe.policy_proof import prove
from kns.probe.probe import ProbeOptions, probe
from kns.probe.verify import verify
from kns.promise.flow import Flow, Outcome
from kns.promise.location import Location
from kns.promise.lookup import Lookup
from kns.promise.policy_matrix import PolicyMatrix
from kns.promise.promise import promise
from tests.end_to_end.labfiles import leftovers
from tests.netpol_cases import Layout, cases, lab_text
from tests.vm import features

pytestmark = pytest.mark.kernel

LAB = "netpol"
#: seconds after which a connection that nobody answered counts as denied
PATIENCE = 0.6
Wanted = tuple[str, IPAddress, int, Protocol]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)
    assert leftovers(LAB) == {}


def connects(wanted: Wanted) -> bool:
    """Whether the pod of that netns gets an answer."""
    space, address, port, protocol = wanted
    if protocol is Protocol.UDP:
        asked = datagram.Datagram(space, address, port, timeout=PATIENCE)
        return datagram.udp(asked)[0].outcome is Outcome.CONNECTED
    return netns.call_in(space, _tcp, str(address), port)


def _tcp(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=PATIENCE):
            return True
    except TimeoutError:
        return False


def answers(wanted: Iterable[Wanted]) -> list[bool]:
    with ThreadPoolExecutor(max_workers=40) as pool:
        return list(pool.map(connects, wanted))


def patient(wanted: list[Wanted], expected: Iterable[bool]) -> list[bool]:
    """A busy machine may be silent where it should answer: then it is asked once more."""
    seen = answers(wanted)
    late = [should and not ok for should, ok in zip(expected, seen, strict=True)]
    again = iter(answers(item for item, is_late in zip(wanted, late, strict=True) if is_late))
    return [next(again) if is_late else ok for ok, is_late in zip(seen, late, strict=True)]


def write(folder: Path, text: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def spaces(cluster: Cluster) -> dict[str, str]:
    return {
        pod.full_name: names.netns_of_pod(cluster.name, pod.namespace, pod.name)
        for pod in cluster.pods
    }


@pytest.mark.parametrize(
    "layout",
    [
        Layout(nodes=1, every_pod=True),
        Layout(nodes=2, mode="nftables", pod_network="vxlan", every_pod=True),
        Layout(nodes=2, family="ipv6", every_pod=True),
        Layout(nodes=1, family="ipv6", mode="nftables", every_pod=True),
        pytest.param(
            Layout(nodes=2, mode="ipvs", every_pod=True),
            marks=(pytest.mark.ipvs, pytest.mark.nftables),
        ),
    ],
    ids=lambda layout: f"{layout.mode}-{layout.nodes}-{layout.family}",
)
def test_upstreams_cases(layout: Layout, tmp_path: Path) -> None:
    """Each step is an `up` of the running lab: labels and policies change."""
    wrong: list[str] = []
    # an emulated machine takes nine minutes for all, which other layouts play natively
    for case in cases()[::5] if features.required() else cases():
        for number, step in enumerate(case.steps):
            cluster = up(write(tmp_path, lab_text(step, layout))).cluster
            where = spaces(cluster)
            pods = {pod.full_name: pod for pod in cluster.pods}
            probes = list(step.probes)
            wanted = [
                (where[p.source], pods[p.destination].addresses[0], p.port, p.protocol)
                for p in probes
            ]
            seen = patient(wanted, [probe.allowed for probe in probes])
            wrong += [
                f"{case.name} {number}: {probe} was {ok}"
                for probe, ok in zip(probes, seen, strict=True)
                if ok is not probe.allowed
            ]
    assert wrong == []


POLICIES = """
networkPolicies:
- name: isolate
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 8080}]
"""
SHOP = """
apiVersion: kns/v1
kind: Lab
metadata: {name: netpol}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: web, node: node1, labels: {app: web}, containers: [{ports: [{port: 8080}, {port: 9090}]}]}
- {name: client, node: node1, labels: {app: client}}
- {name: far, node: node2, labels: {app: client}}
- {name: other, node: node2, labels: {app: other}}
services:
- {name: web, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
internet: []
"""


def reach(cluster: Cluster, *wanted: tuple[str, str, int]) -> list[bool]:
    """Whether pods and nodes get an answer from a pod's or service's port."""
    where = spaces(cluster)
    targets = {pod.name: pod.addresses[0] for pod in cluster.pods}
    targets |= {f"svc/{s.name}": s.cluster_ips[0] for s in cluster.services}
    asked: list[Wanted] = []
    for source, target, port in wanted:
        space = where.get(f"default/{source}") or names.netns_of_node(cluster.name, source)
        asked.append((space, targets[target], port, Protocol.TCP))
    return patient(asked, [True] * len(asked))


def test_on_one_node_across_nodes_by_service_and_from_nodes(tmp_path: Path) -> None:
    cluster = up(write(tmp_path, SHOP + POLICIES)).cluster
    seen = reach(
        cluster,
        ("client", "web", 8080),
        ("far", "web", 8080),
        ("client", "svc/web", 80),
        ("far", "svc/web", 80),
        ("web", "svc/web", 80),
        ("node1", "web", 9090),
        ("client", "web", 9090),
        ("other", "web", 8080),
        ("other", "svc/web", 80),
        ("node2", "web", 8080),
    )
    assert seen == [True] * 6 + [False] * 4


def test_a_change_of_a_label_is_one_transaction_that_leaves_the_rest(tmp_path: Path) -> None:
    up(write(tmp_path, SHOP + POLICIES))
    text = (SHOP + POLICIES).replace("labels: {app: other}", "labels: {app: client}")
    result = up(write(tmp_path, text))
    (op,) = [op for op in result.ops if isinstance(op, LoadNft)]
    assert op.netns == "kns.netpol.node1"
    assert reach(result.cluster, ("other", "web", 8080)) == [True]
    assert up(write(tmp_path, text)).ops == ()


def test_drift_is_told_and_repaired_and_the_last_policy_takes_the_table_with_it(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, SHOP + POLICIES)
    cluster = up(path).cluster
    flush = ["nft", "delete", "table", "ip", "network-policy"]
    assert run(flush, context=Context("kns.netpol.node1")).returncode == 0
    assert reach(cluster, ("other", "web", 8080)) == [True]
    assert any("table ip network-policy" in line for line in status(LAB).drift)
    up(path)
    assert status(LAB).healthy
    assert reach(cluster, ("other", "web", 8080)) == [False]
    up(write(tmp_path, SHOP))
    listed = run(["nft", "list", "tables"], context=Context("kns.netpol.node1")).stdout
    assert "network-policy" not in listed
    assert reach(cluster, ("other", "web", 8080)) == [True]


def test_an_established_connection_goes_on_and_ping_follows_rules_without_ports(
    tmp_path: Path,
) -> None:
    cluster = up(write(tmp_path, SHOP)).cluster
    web, other = (next(p for p in cluster.pods if p.name == name) for name in ("web", "other"))
    address = str(web.addresses[0])
    space = spaces(cluster)[other.full_name]
    with netns.call_in(space, socket.create_connection, (address, 8080), 2) as connection:
        up(write(tmp_path, SHOP + POLICIES))
        assert reach(cluster, ("other", "web", 8080)) == [False]
        connection.sendall(b"GET /hostname HTTP/1.1\r\nHost: web\r\n\r\n")
        assert b"web" in connection.recv(1000)
    assert ping.ping(web.addresses[0], Context(space), wait=0.5).outcome is Outcome.TIMEOUT
    everything = POLICIES.replace("    ports: [{port: 8080}]\n", "")
    up(write(tmp_path, SHOP + everything))
    where = spaces(cluster)["default/far"]
    assert ping.ping(web.addresses[0], Context(where)).outcome is Outcome.CONNECTED


def test_a_proof_tries_both_families(tmp_path: Path) -> None:
    """A block of IPv4 allows nothing over IPv6."""
    text = (SHOP + POLICIES).replace("networking: {", "networking: {ipFamily: dual, ")
    block = "ipBlock: {cidr: 10.244.0.0/16}"
    text = text.replace("podSelector: {matchLabels: {app: client}}", block)
    cluster = up(write(tmp_path, text)).cluster
    contacts = [
        contact
        for contact in PolicyMatrix(of_cluster(cluster)).contacts(8080, Protocol.TCP)
        if contact.key[1] == "web"
    ]
    assert {(str(item.family), item.allowed) for item in contacts} == {
        ("IPv4", True),
        ("IPv6", False),
    }
    proof = prove(cluster, places_of(LAB, running(LAB).paths), contacts)
    assert [item.contact for item in proof.proven] == contacts
    assert [item.contact.key for item in proof.proven if not item.keeps] == []


def test_the_script_builds_the_tables(tmp_path: Path) -> None:
    text, _ = script(write(tmp_path, SHOP + POLICIES))
    assert "table ip network-policy {" in text
    assert run(["sh", "-e", "-c", text], timeout=60).returncode == 0
    listed = run(
        ["nft", "-s", "list", "table", "ip", "network-policy"], context=Context("kns.netpol.node1")
    ).stdout
    assert 'counter comment "allowed by default/isolate ingress[0]"' in listed


OUTSIDE = """
apiVersion: kns/v1
kind: Lab
metadata: {name: netpol}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
ingressController: {replicas: 2, service: {type: NodePort, externalTrafficPolicy: Cluster}}
pods:
- {name: open, node: node1, labels: {app: open}}
- {name: half1, node: node1, labels: {app: half, isolated: "no"}}
- {name: half2, node: node2, labels: {app: half, isolated: "yes"}}
- {name: shut, node: node1, labels: {app: shut, isolated: "yes"}}
services:
- {name: open, selector: {app: open}, ports: [{port: 80, targetPort: 8080}]}
- {name: half, selector: {app: half}, ports: [{port: 80, targetPort: 8080}]}
- {name: shut, selector: {app: shut}, ports: [{port: 80, targetPort: 8080}]}
ingresses:
- name: shop
  rules:
  - {host: open.test, paths: [{path: /, pathType: Exact, backend: {service: open, port: 80}}]}
  - {host: half.test, paths: [{path: /, pathType: Exact, backend: {service: half, port: 80}}]}
  - {host: shut.test, paths: [{path: /, pathType: Exact, backend: {service: shut, port: 80}}]}
networkPolicies:
# clients outside may come in, and yet they don't: the one who comes is nginx
- name: isolate
  podSelector: {matchLabels: {isolated: "yes"}}
  ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]
"""
KEEP_OUT = """
- {name: nobody, namespace: ingress-nginx, policyTypes: [Ingress]}
"""


def test_requests_to_ingresses_meet_the_policies_of_nginx_and_of_its_endpoints(
    tmp_path: Path,
) -> None:
    cluster = up(write(tmp_path, OUTSIDE)).cluster
    assert tried(cluster) >= {"route/open", "route/half", "unreachable/shut"}
    places, options = places_of(LAB, running(LAB).paths), ProbeOptions(timeout=5)
    found = probe(cluster, places, "internet", "http://shut.test/", options)
    assert [attempt.status for attempt in found.attempts] == [504]
    assert any("NetworkPolicy default/isolate" in note for note in found.notes)
    assert any('counter drop comment "isolated by' in note for note in found.notes)
    cluster = up(write(tmp_path, OUTSIDE + KEEP_OUT.lstrip())).cluster
    assert tried(cluster) >= {"kept-out/open", "kept-out/half", "kept-out/shut"}


def tried(cluster: Cluster) -> set[str]:
    """Kind and service of the requests to Ingresses that verify tries; all are as promised."""
    places = places_of(LAB, running(LAB).paths)
    report = verify(cluster, places, only="^internet-to-ingress/")
    assert [check for check in report.checks if not check.ok] == []
    ids = (check.id.replace("internet->http://", "") for check in report.checks)
    return {name.removeprefix("internet-to-ingress/").partition(".")[0] for name in ids}


SEED = 20


def random_policies(source: random.Random) -> str:
    """Some policies as lines of a lab file."""
    labels = ["{app: web}", "{app: client}", "{app: other}", "{}"]
    lines = ["networkPolicies:"]
    for number in range(source.randint(1, 4)):
        types = source.choice(["Ingress", "Egress", "Ingress, Egress"])
        lines.append(f"- name: p{number}")
        lines.append(f"  podSelector: {{matchLabels: {source.choice(labels)}}}")
        lines.append(f"  policyTypes: [{types}]")
        for field, peers in (("ingress", "from"), ("egress", "to")):
            if field.title() in types and source.random() < 0.7:
                peer = source.choice([
                    f"podSelector: {{matchLabels: {source.choice(labels)}}}",
                    "namespaceSelector: {}",
                    "ipBlock: {cidr: 10.244.0.0/24, except: [10.244.0.3/32]}",
                    "ipBlock: {cidr: 0.0.0.0/0, except: [10.244.1.0/24]}",
                ])  # fmt: skip
                ports = source.choice(["", "{port: 8080}", "{port: 8000, endPort: 8090}"])
                ports = f", ports: [{ports}]" if ports else ""
                lines.append(f"  {field}: [{{{peers}: [{{{peer}}}]{ports}}}]")
    return "\n".join(lines) + "\n"


def random_labels(source: random.Random) -> str:
    """The shop with other labels on its pods."""
    text = SHOP
    for name in ("web", "client", "far", "other"):
        where = re.compile(rf"(name: {name}, node: node\d, labels: {{app: )\w+")
        text = where.sub(rf"\g<1>{source.choice(('web', 'client', 'other'))}", text)
    return text


def test_random_policies_do_what_is_promised(tmp_path: Path) -> None:
    source = random.Random(SEED)
    for _ in range(6):
        text = random_labels(source) + random_policies(source)
        cluster = up(write(tmp_path, text)).cluster
        lookup = Lookup(cluster)
        pods = [pod for pod in cluster.pods if pod.namespace == "default"]
        asked: list[tuple[str, str, int]] = []
        wanted: list[bool] = []
        for client in pods:
            for server in pods:
                for port in (8080, 9090) if server.name == "web" else (8080,):
                    flow = Flow(Location(client), server.addresses[0], port)
                    asked.append((client.name, server.name, port))
                    wanted.append(promise(lookup, flow).stop is None)
        assert reach(cluster, *asked) == wanted, text
