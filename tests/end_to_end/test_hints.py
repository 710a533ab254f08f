"""What a probe says in a lab that somebody broke by hand: words that must come, and that must not.

A row is a cause, a probe, and its words. Rows without a cause are what the lab's file itself
forbids. Whatever a row breaks, `up` mends before the next one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from kns.engine.labs import NO_AGENT, agent_pid, running
from kns.kernel.processes import Context, run
from kns.kinds.networking import ProxyMode
from kns.probe.ask.dns import DNSSource, trace_name
from kns.probe.ask.dns_model import ResolutionOutcome
from kns.probe.ask.places import places_of
from kns.probe.diagnose import explain_name
from kns.probe.probe import ProbeOptions, probe
from kns.probe.target import parse_source
from kns.probe.watch import Watch, watch
from kns.promise.lookup import Lookup
from kns.report.dns import render_trace
from kns.report.probe import probe_text
from kns.report.watch import watch_text
from tests.end_to_end.labfiles import OneLab

pytestmark = pytest.mark.kernel

LAB = "hints"
#: every row's own lab and the modes that it is tried in
IPTABLES, NFTABLES, IPVS = ProxyMode.IPTABLES, ProxyMode.NFTABLES, ProxyMode.IPVS
BOTH = (IPTABLES, NFTABLES)
ALL = (*BOTH, IPVS)
WIDE = 1000

FILES = {
    "main": """\
apiVersion: kns/v1
kind: Lab
metadata: {name: hints}
loadBalancer: {mode: l2, pool: [198.51.100.0/28]}
nodes: [{name: node1}, {name: node2}]
internet: [{name: internet}, {name: stranger}]
pods:
- {name: web, node: node1, labels: {app: web}}
- {name: far, node: node2, labels: {app: far}}
- {name: client, node: node1}
- {name: solo, node: node2, labels: {app: solo}}
- {name: unready, node: node2, ready: false, labels: {app: unready}}
- name: own
  node: node2
  labels: {app: own}
  containers: [{name: main, command: [sleep, infinity], port: 8080}]
- {name: front-1, namespace: shop, node: node1}
- {name: api-1, namespace: shop, node: node2, labels: {app: api}}
- {name: db-0, node: node1, hostname: db-0, subdomain: db, labels: {app: db}}
- {name: db-1, node: node2, hostname: db-1, subdomain: db, labels: {app: db}}
services:
- name: np
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30001}]
- name: door
  type: NodePort
  selector: {app: far}
  ports: [{port: 80, targetPort: 8080, nodePort: 30002}]
- name: ranges
  type: LoadBalancer
  loadBalancerIP: 198.51.100.2
  loadBalancerSourceRanges: [203.0.113.10/32]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
- name: balanced
  type: LoadBalancer
  loadBalancerIP: 198.51.100.3
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
- {name: solo, selector: {app: solo}, ports: [{port: 80, targetPort: 8080}]}
- {name: own, selector: {app: own}, ports: [{port: 80, targetPort: 8080}]}
- {name: empty, selector: {app: nobody}, ports: [{port: 80, targetPort: 8080}]}
- {name: unready, selector: {app: unready}, ports: [{port: 80, targetPort: 8080}]}
- {name: deaf, selector: {app: web}, ports: [{port: 80, targetPort: 9999}]}
- name: near
  internalTrafficPolicy: Local
  selector: {app: far}
  ports: [{port: 80, targetPort: 8080}]
- {name: api, namespace: shop, selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
- {name: db, clusterIP: None, selector: {app: db}, ports: [{port: 8080}]}
- {name: none, clusterIP: None, selector: {app: nobody}, ports: [{port: 8080}]}
- {name: ext, type: ExternalName, externalName: db.nowhere.test}
""",
    "dual": """\
apiVersion: kns/v1
kind: Lab
metadata: {name: hints}
networking: {ipFamily: dual, dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: web, node: node2, labels: {app: web}}
- {name: client, node: node1}
services:
- name: pending
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
- name: six
  type: NodePort
  ipFamilies: [IPv6]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30086}]
""",
    "local": """\
apiVersion: kns/v1
kind: Lab
metadata: {name: hints}
networking:
  dns: {enabled: false}
  egress: {masquerade: false}
  kubeProxy: {nodePortAddresses: [127.0.0.0/8]}
nodes: [{name: node1}]
pods: [{name: web, labels: {app: web}}]
services:
- name: np
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
""",
    "silent": """\
apiVersion: kns/v1
kind: Lab
metadata: {name: hints}
networking: {dns: {replicas: 1}}
faults: {unready: [pod/kube-system/coredns-1]}
nodes: [{name: node1}]
pods:
- {name: web, labels: {app: web}}
- {name: client}
services: [{name: door, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}]
""",
}


@dataclass(frozen=True, slots=True)
class Row:
    """`breaks` is a shell command by the place where it runs; words are in the text of `probe`."""

    name: str
    source: str
    target: str
    must: Sequence[str]
    must_not: Sequence[str] = ()
    breaks: tuple[tuple[str, str], ...] = ()
    protocol: str = "tcp"
    count: int = 1
    file: str = "main"
    modes: tuple[ProxyMode, ...] = BOTH
    #: seconds; silence costs them, and a name has to resolve in them
    timeout: float = 1.0


#: how many times as long a busy or emulated machine may take for what answers at all
SLOW = 10


HAIRPIN_OFF = (
    "for p in $(ip -o link show master cni0 | cut -d: -f2 | cut -d@ -f1);"
    " do bridge link set dev $p hairpin off; done"
)
EXPECTED = "as it must be"
MENDS = ("the lab is not as its file says", "kns up LAB.yaml")
NO_RULES = {
    IPTABLES: "iptables -t nat -F KUBE-SERVICES",
    NFTABLES: "nft flush chain ip kube-proxy services",
    IPVS: "ipvsadm -C",
}


def gone(place: str, mode: ProxyMode) -> tuple[tuple[str, str], ...]:
    """kube-proxy's rules of the place are gone."""
    return ((place, NO_RULES[mode]),)


ROWS = (
    # -- forbidden by the file --
    Row(
        "policy Local, from a node", "node1", "node2:30001",
        (EXPECTED, "externalTrafficPolicy of np is Local and node2 has", "node1 has some"),
        ("kns rules", "the routes", "ip_forward"),
    ),
    Row(
        "policy Local, from outside", "internet", "node2:30001",
        (EXPECTED, "externalTrafficPolicy of np is Local and node2 has", "node1 has some"),
        ("kns rules",),
    ),
    Row(
        "source ranges, a pod", "client", "198.51.100.2:80",
        (EXPECTED, "loadBalancerSourceRanges of ranges leaves out 10.244.0.3"), ("kns rules",),
    ),
    Row(
        "source ranges, a node", "node2", "198.51.100.2:80",
        (EXPECTED, "loadBalancerSourceRanges of ranges leaves out 172.18.0.3"), ("kns rules",),
    ),
    Row(
        "source ranges, a stranger", "stranger", "ranges",
        (EXPECTED, "loadBalancerSourceRanges of ranges leaves out 203.0.113.11"), ("answers ARP",),
    ),
    Row(
        "a pod named like its service", "solo", "solo",
        ("solo is 10.244.1.3, by /etc/hosts", "svc/solo", "nothing listens on port 80"),
        ("somebody refused", "rules are gone", "10.96."),
    ),
    Row("its service by full name", "solo", "svc/solo", ("CONNECTED", "10.96."), ("/etc/hosts",)),
    Row("the name from elsewhere", "client", "solo", ("CONNECTED", "10.96."), ("/etc/hosts",)),
    Row("a name in the own namespace", "shop/front-1", "api", ("CONNECTED", "shop/api-1")),
    Row(
        "the real internet", "client", "8.8.8.8",
        (EXPECTED, "nobody in the lab has 8.8.8.8", "no way to the real internet", "203.0.113.10"),
        ("routing table", "masquerad"),
    ),
    Row(
        "a name of the real internet", "client", "google.com",
        ("does not resolve", "no way to the real internet", "kns dns pod/client google.com"),
        ("routing table",),
    ),
    Row(
        "a pod's address that nobody has", "client", "10.244.0.77:80",
        (EXPECTED, "no pod has 10.244.0.77"), ("on the way", "ip_forward"),
    ),
    Row(
        "a cluster IP that nobody has", "client", "10.96.99.99:80",
        (EXPECTED, "no service has 10.96.99.99"), ("default route",), modes=(IPTABLES,),
    ),
    Row(
        "an address of the pool", "internet", "198.51.100.9:80",
        (EXPECTED, "of the load balancer's pool, and no service has it"),
    ),
    Row(
        "HTTP to the DNS", "client", "kube-system/kube-dns",
        ("a DNS server", "kns dns pod/client"), ("MTU", "small packets"),
    ),
    Row(
        "a datagram that is no question", "client", "kube-system/kube-dns",
        ("a DNS server", "kns dns pod/client"), ("rules", "are node1"), protocol="udp",
    ),
    Row(
        "a program of its own", "client", "own",
        ("own runs a program of its own", "port 8080"), ("rules are gone", "agent"),
    ),
    Row(
        "a program of its own, straight", "client", "pod/own:8080",
        ("own runs a program of its own", "port 8080"), ("agent",),
    ),
    Row("a StatefulSet's pod", "db-0", "db-1.db", ("CONNECTED", "pod-to-pod", "answered  db-1")),
    Row(
        "a StatefulSet's pod that is not", "db-0", "db-7.db",
        (EXPECTED, "db-7.db does not resolve"), ("db-7.db is",),
    ),
    Row(
        "an ExternalName", "client", "ext",
        (EXPECTED, "ext is an ExternalName of db.nowhere.test", "kns dns pod/client ext"),
        ("ext is  ",),
    ),
    Row(
        "headless and empty", "client", "none",
        (EXPECTED, "none is headless and has no ready endpoints", "app=nobody matches no pod"),
    ),
    Row(
        "a node asks no cluster DNS", "node1", "solo.default.svc.cluster.local",
        (EXPECTED, "node1 does not ask the cluster's DNS", "svc/solo"),
    ),
    Row(
        "a name that the cluster has not", "client", "nosuch.default.svc.cluster.local",
        (EXPECTED, "the cluster has no service and no pod of that name", "pod-to-service"),
        ("real internet",),
    ),
    Row(
        "a cluster IP from outside", "internet", "door",
        (EXPECTED, "a cluster IP means nothing outside", "its node port answers: node1:30002"),
        ("use a NodePort",),
    ),
    Row(
        "a cluster IP from outside, policy Local", "internet", "np",
        (EXPECTED, "its node port answers: node1:30001"),
    ),
    Row(
        "a cluster IP with no node port", "internet", "svc/solo",
        (EXPECTED, "a cluster IP means nothing outside", "use a NodePort"),
    ),
    Row(
        "a pod from outside", "internet", "web",
        (EXPECTED, "a pod's address means nothing outside", "kns trace internet web"),
    ),
    Row(
        "a port that no container has", "client", "web:81",
        (EXPECTED, "nothing listens on port 81; it listens on 8080"), ("agent",),
    ),
    Row(
        "a node port that no service has", "client", "node2:31000",
        (EXPECTED, "no service has that node port"),
    ),
    Row(
        "a port that the internet has not", "client", "internet:443",
        ("internet is there, but nothing listens on port 443",), ("masquerad",),
    ),
    Row(
        "an unknown port", "client", "np:81",
        (EXPECTED, "np has no port 81/TCP (80/TCP): in iptables mode no rule matches"),
        modes=(IPTABLES,),
    ),
    Row(
        "an unknown port is rejected", "client", "np:81",
        (EXPECTED, "np has no port 81/TCP (80/TCP): nftables mode rejects"), ("default route",),
        modes=(NFTABLES,),
    ),
    Row(
        "no endpoints", "client", "empty",
        (EXPECTED, "empty has no ready endpoints", "app=nobody matches no pod", "kns trace client"),
        ("default route", "kns up"), modes=ALL,
    ),
    Row(
        "pods that are not ready", "client", "svc/unready",
        (EXPECTED, "unready matches but is not ready"), ("matches no pod",),
    ),
    Row(
        "a target port that is wrong", "client", "deaf",
        (EXPECTED, "web:9999, where nothing listens", "targetPort"), ("rules are gone",),
        modes=ALL,
    ),
    Row(
        "internal policy Local", "client", "near",
        (EXPECTED, "internalTrafficPolicy of near is Local and node1 has no"),
        ("kns rules",),
    ),
    Row(
        "ping of a cluster IP", "client", "np",
        (EXPECTED, "nothing answers ping there"), ("route",), protocol="icmp",
    ),
    Row(
        "shares of policy Local, l2", "internet", "balanced",
        ("CONNECTED", "web"), ("never answered",), count=4,
    ),
    # -- broken by hand --
    *(
        row
        for mode in ALL
        for row in (
            Row(
                f"{mode} rules are gone", "client", "10.96.104.217:80",
                MENDS, (EXPECTED, "default route", "no route towards"),
                gone("node1", mode), modes=(mode,),
            ),
            Row(
                f"{mode} rules are gone, by name", "client", "door",
                (*MENDS, "node1: "), (EXPECTED, "door is 10", "real internet"),
                gone("node1", mode), modes=(mode,),
            ),
            Row(
                f"{mode} rules are gone, a node port", "internet", "node2:30002",
                (*MENDS, "node2: "), (EXPECTED, "nothing listens"),
                gone("node2", mode), modes=(mode,),
            ),
        )
    ),
    Row(
        "no default route, nobody there", "client", "empty",
        (*MENDS, "node1: route add 0.0.0.0/0"), (EXPECTED, "rejects"),
        (("node1", "ip route del default"),),
    ),
    Row(
        "no default route, outside", "client", "internet",
        (*MENDS, "node1: route add 0.0.0.0/0 via 172.18.0.1"), (EXPECTED, "masquerad"),
        (("node1", "ip route del default"),), modes=ALL,
    ),
    Row(
        "no default route, the real internet", "client", "8.8.8.8",
        (EXPECTED, "no way to the real internet"), ("kns up",),
        (("node1", "ip route del default"),),
    ),
    Row(
        "a pod's default route", "client", "10.96.104.217:80",
        (*MENDS, "client: route add 0.0.0.0/0"), (EXPECTED, "kns rules"),
        (("client", "ip route del default"),),
    ),
    Row(
        "a pod's address", "client", "web",
        (*MENDS, "web: addr add 10.244.0.2/24"), (EXPECTED, "a rule drop it"),
        (("web", "ip addr del 10.244.0.2/24 dev eth0"),), modes=ALL,
    ),
    Row(
        "a pod's link", "client", "web", (*MENDS, "web: "), (EXPECTED,),
        (("web", "ip link set eth0 down"),),
    ),
    Row(
        "the bridge", "client", "web", (*MENDS, "node1: "), (EXPECTED,),
        (("node1", "ip link set cni0 down"),),
    ),
    Row(
        "a node's link", "client", "far", (*MENDS, "node2: "), (EXPECTED,),
        (("node2", "ip link set eth0 down"),),
    ),
    Row(
        "the route there", "client", "far",
        (*MENDS, "node1: route add 10.244.1.0/24 via 172.18.0.3"), (EXPECTED, "filter FORWARD"),
        (("node1", "ip route del 10.244.1.0/24"),), modes=ALL,
    ),
    Row(
        "the route back", "client", "far",
        (*MENDS, "node2: route add 10.244.0.0/24 via 172.18.0.2"), (EXPECTED, "filter FORWARD"),
        (("node2", "ip route del 10.244.0.0/24"),),
    ),
    Row(
        "the route back, a service", "client", "door",
        (*MENDS, "node2: route add 10.244.0.0/24"), (EXPECTED, "kns rules"),
        (("node2", "ip route del 10.244.0.0/24"),),
    ),
    Row(
        "ip_forward", "client", "far", (*MENDS, "node1: ", "ip_forward"), (EXPECTED,),
        (("node1", "sysctl -qw net.ipv4.ip_forward=0"),),
    ),
    Row(
        "hairpin", "solo", "svc/solo", (*MENDS, "node2: ", "hairpin"), (EXPECTED,),
        (("node2", HAIRPIN_OFF),),
    ),
    Row(
        "masquerading", "client", "internet", MENDS, (EXPECTED, "ip_forward"),
        (("node1", "iptables -t nat -F POSTROUTING || nft delete table ip flannel-ipv4"),),
        modes=(IPTABLES,),
    ),
    Row(
        "a blackhole in the pod", "client", "far", (*MENDS, "client: "), (EXPECTED,),
        (("client", "ip route add blackhole 10.244.1.0/24"),),
    ),
    Row(
        "several things at once", "client", "far",
        (*MENDS, "node1: route add 10.244.1.0/24"), (EXPECTED,),
        (("node1", "ip route del 10.244.1.0/24"), ("web", "ip route del default")),
    ),
    Row(
        "the way into the cluster", "internet", "node1:30001", (*MENDS, "fabric: "), (EXPECTED,),
        (("fabric", "ip link set underlay down"),),
    ),
    # -- DNS --
    Row(
        "no DNS pod is ready", "client", "door",
        ("door does not resolve from client", "kube-system/kube-dns has no ready endpoint"),
        ("nothing listens", "in 0"), file="silent", modes=ALL,
    ),
    # -- families, pending addresses --
    Row(
        "a pending address", "internet", "pending",
        (EXPECTED, "pending is pending", "loadBalancer: {mode: l2", "node1:30080"),
        ("LoadBalancer or an Ingress",), file="dual",
    ),
    Row(
        "a node port of the other family", "internet", "node1:30086",
        (EXPECTED, "six has no IPv4: its ipFamilies are IPv6"), ("targetPort", "matches no pod"),
        file="dual",
    ),
    Row(
        "a node port of the right family", "internet", "[fc00:172:18::2]:30086", ("CONNECTED",),
        file="dual",
    ),
    Row(
        "a route of the other family", "client", "[fd00:10:244:1::2]:8080",
        (*MENDS, "node1: route add fd00:10:244:1::/64"), (EXPECTED,),
        (("node1", "ip -6 route del fd00:10:244:1::/64"),), file="dual",
    ),
    Row("a service of IPv6", "client", "six", ("CONNECTED", "[fd00:10:96"), file="dual"),
    # -- options of kube-proxy and egress --
    Row(
        "nodePortAddresses", "internet", "node1:30080",
        (EXPECTED, "np: nodePortAddresses leaves out 172.18.0.2"), ("rules are gone",),
        file="local",
    ),
    Row(
        "no node ports on localhost", "node1", "localhost:30080",
        (EXPECTED, "nftables mode has no node ports on localhost"), ("rules are gone",),
        file="local", modes=(NFTABLES,),
    ),
    Row(
        "node ports on localhost", "node1", "localhost:30080", ("CONNECTED",),
        file="local", modes=(IPTABLES,),
    ),
    Row(
        "no masquerading by the file", "web", "internet",
        (EXPECTED, "egress.masquerade is off", "nobody outside knows the way back"),
        ("kns up", "ip_forward"), file="local",
    ),
)  # fmt: skip


#: a lab and mode at a time, so that each is built once
CASES = [
    pytest.param(
        file,
        mode,
        row,
        id=f"{row.name}-{mode}",
        marks=pytest.mark.ipvs if mode is IPVS else (),
    )
    for file in FILES
    for mode in ALL
    for row in ROWS
    if row.file == file and mode in row.modes
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneLab]:
    made = OneLab(LAB, tmp_path_factory.mktemp("hints"))
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def main(lab: OneLab) -> OneLab:
    lab.ensure(FILES["main"], IPTABLES)
    return lab


def said(row: Row) -> str:
    found = running(LAB)
    options = ProbeOptions(protocol=row.protocol, count=row.count, timeout=row.timeout)
    places = places_of(found.name, found.paths)
    result = probe(found.cluster, places, row.source, row.target, options)
    return probe_text(result, width=WIDE)


@pytest.mark.parametrize(("file", "mode", "row"), CASES)
def test_a_failed_probe_says_the_truth(lab: OneLab, file: str, mode: ProxyMode, row: Row) -> None:
    lab.ensure(FILES[file], mode)
    try:
        for place, command in row.breaks:
            done = run(["sh", "-c", command], context=Context(f"kns.{LAB}.{place}"), timeout=20)
            assert done.returncode == 0, done.stderr
        text = said(row)
        if amiss(row, text):
            text = said(replace(row, timeout=SLOW * row.timeout))
    finally:
        if row.breaks:
            lab.mend()
    assert amiss(row, text) == [], text


def amiss(row: Row, text: str) -> list[str]:
    """What the text lacks, and what it must not say."""
    lacks = [word for word in row.must if word not in text]
    return lacks + [word for word in row.must_not if word in text]


def test_enough_causes_are_tried() -> None:
    kernel_tier = [case for case in CASES if not case.marks]
    assert len(kernel_tier) > 100
    assert sum(bool(row.breaks) for row in ROWS) > 20
    assert len({case.id for case in CASES}) == len(CASES)


# -- the agent, names, and what goes on for a while ------------------------------------------------


def test_a_dead_agent_is_named_first(main: OneLab) -> None:
    pid = agent_pid(LAB)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    try:
        text = said(Row("", "client", "web", ()))
    finally:
        main.mend()
    assert (NO_AGENT in text, "does the lab's agent run" in text) == (True, False)


def test_kns_dns_says_why(main: OneLab) -> None:
    def asked(source: str, name: str) -> str:
        found = running(LAB)
        places = places_of(found.name, found.paths)
        start = parse_source(found.cluster, source)
        etc = places.etc_of(start)
        trace = trace_name(DNSSource.at(start.label, places.netns_of(start), etc), name)
        reason = explain_name(Lookup(found.cluster), start, name, places.drift)
        return f"{trace.outcome} {render_trace(trace, WIDE, reason)}"

    text = asked("node1", "solo")
    assert "NXDOMAIN" in text
    assert "node1 does not ask the cluster's DNS, as pods do" in " ".join(text.split())
    context = Context(f"kns.{LAB}.node1")
    run(["sh", "-c", "iptables -I FORWARD -p udp --dport 53 -j DROP"], context=context, timeout=20)
    run(["sh", "-c", NO_RULES[IPTABLES]], context=context, timeout=20)
    try:
        text = asked("client", "solo")
    finally:
        main.mend()
        run(["sh", "-c", "iptables -D FORWARD -p udp --dport 53 -j DROP"], context=context)
    assert text.startswith((str(ResolutionOutcome.TIMEOUT), str(ResolutionOutcome.REFUSED)))
    assert MENDS[0] in " ".join(text.split())


def test_a_watch_without_an_answer_says_why(main: OneLab) -> None:
    assert main.form is not None
    found = running(LAB)
    wanted = Watch(0.3, 10, timeout=0.2)
    places = places_of(found.name, found.paths)
    text = watch_text(watch(found.cluster, places, ("client", "empty"), wanted), width=WIDE)
    assert "0 of 3 (0.0%)\n" in text
    assert f"look at   {EXPECTED}: empty has no ready endpoints" in text
