"""From a cause to the rules: how long until the kernel of every node, and DNS, know of a change.

    python -m benchmarks.latency [--sizes 20:5,1000:200] [--rounds 20] [--mode MODE]

PODS pods, all but one of Deployments behind SERVICES Services. The causes are requests to the lab's
API, as kubectl makes them. What came of it is seen in the kernel:
each commit of a rule set sends its netns a message (NFT_MSG_NEWGEN), and the last one of the last
node counts. Then the DNS server is asked until it answers with the change.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import dns.message
import dns.rdatatype

from benchmarks.contestants import KNS, timed
from benchmarks.dns import cpu_seconds
from kns.cluster.model import Cluster
from kns.compile.names import netns_of_node, netns_with
from kns.compile.paths import LabPaths
from kns.engine.api_client import JSON_PATCH, APIClient, connect
from kns.engine.labs import running
from kns.kernel import netns
from kns.kinds.common import Object
from kns.kinds.objects import name_of, number, text
from kns.kinds.resources import DEPLOYMENT, POD, SERVICE
from kns.labfile.reader import JSON

LAB = "bench"
#: linux/netlink.h NETLINK_NETFILTER, linux/netfilter/nfnetlink.h
NFNETLINK, NFNLGRP_NFTABLES = 12, 7
#: seconds without a commit after which a change is complete, and in which all of it must come
QUIET, PATIENCE = 0.5, 60.0
#: seconds between two looks, and between two questions: more would keep the agent from its work
PAUSE, ASK_EVERY = 0.002, 0.01
#: pods that a node's pod CIDR has room for, with those that come
PODS_OF_NODE = 200
#: one request to the API
Act = Callable[[], object]
#: the goals, seconds: up to so many pods
GOALS = ((20, 0.3), (1000, 1.0))


@dataclass(frozen=True, slots=True)
class Latency:
    """One cause in one lab: seconds until the last node's rules, and until DNS, had it."""

    cause: str
    pods: int
    rules: tuple[float, ...]
    names: tuple[float, ...]
    #: seconds of the agent's processor time for one
    cpu: float

    @property
    def worst(self) -> float:
        """The 99th percentile of what took longer."""
        return max(percentile(values, 0.99) for values in (self.rules, self.names) if values)

    @property
    def goal(self) -> float:
        """What was set for a lab of this size."""
        return next(bound for pods, bound in GOALS if self.pods <= pods or pods == GOALS[-1][0])


# -- the lab ---------------------------------------------------------------------------------------


def lab_file(pods: int, services: int, mode: str, folder: Path) -> Path:
    """Deployments with a Service each; the first one has a headless Service, too."""
    lab: Object = {
        "apiVersion": "kns/v1",
        "kind": "Lab",
        "metadata": {"name": LAB},
        "networking": {"kubeProxyMode": mode},
        "nodes": [{"name": f"node{n + 1}"} for n in range(max(3, -(-pods // PODS_OF_NODE)))],
        "pods": [{"name": "client", "node": "node1"}],
    }
    documents = [lab, _service("names0", "app0", clusterIP="None")]
    for n in range(services):
        documents += [_deployment(f"app{n}", pods // services), _service(f"svc{n}", f"app{n}")]
    path = folder / f"{LAB}.yaml"
    path.write_text("\n---\n".join(map(json.dumps, documents)), encoding="utf-8")  # JSON is YAML
    return path


def _deployment(name: str, replicas: int) -> Object:
    container: Object = {"name": "web", "ports": [{"containerPort": 8080}]}
    template: Object = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _service(name: str, app: str, **more: str) -> Object:
    ports: list[JSON] = [{"port": 80, "targetPort": 8080}]
    spec: Object = {"selector": {"app": app}, "ports": ports, **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@contextmanager
def lab(file: Path) -> Iterator[APIClient]:
    try:
        timed([*KNS, "up", file])
        client = connect(running(LAB))
        client.settle()
        yield client
    finally:
        timed([*KNS, "down", LAB])


# -- causes ----------------------------------------------------------------------------------------


def scale(client: APIClient, turn: int) -> Act:
    """One pod more, then one less."""
    item = client.get(DEPLOYMENT, "default", "app0")
    replicas = number(item, "spec", "replicas") + (1 if turn % 2 == 0 else -1)
    change: Object = {"spec": {"replicas": replicas}}
    return partial(client.patch, DEPLOYMENT, "default", "app0", change, part="scale")


def delete_pod(client: APIClient, turn: int) -> Act:
    """A pod is deleted, and another takes its place."""
    return partial(client.delete, POD, "default", _pods(client)[turn % 2], 0)


def write(client: APIClient, turn: int) -> Act:
    """A Service has another port."""
    patch: JSON = [{"op": "replace", "path": "/spec/ports/0/port", "value": 81 - turn % 2}]
    return partial(client.patch, SERVICE, "default", "svc0", patch, form=JSON_PATCH)


def _pods(client: APIClient) -> list[str]:
    found = client.list(POD, "default")
    return [name_of(item) for item in found if text(item, "metadata", "labels", "app") == "app0"]


#: each cause, found out before the clock runs, and whether the headless Service's names tell of it
CAUSES: dict[str, tuple[Callable[[APIClient, int], Act], bool]] = {
    "scale": (scale, True),
    "pod deleted": (delete_pod, True),
    "service written": (write, False),
}


# -- measuring -------------------------------------------------------------------------------------


class Observer:
    """Hears the commits of the nodes' rules, and asks the cluster's DNS as the client pod does."""

    def __init__(self, cluster: Cluster) -> None:
        nodes = [netns_of_node(LAB, node.name) for node in cluster.nodes]
        self._commits = [netns.call_in(name, _listen) for name in nodes]
        client = next(pod for pod in cluster.pods if pod.name == "client")
        server = str(cluster.network.dns.service_ips[0])
        self._names = netns.call_in(netns_with(LAB, client), _connect, server)
        name = f"names0.default.svc.{cluster.network.dns.domain}"
        self._question = dns.message.make_query(name, dns.rdatatype.A).to_wire()

    def names(self) -> frozenset[str]:
        """The addresses that the headless Service's name has at the moment."""
        # what is left are answers to questions of the last cause
        while select.select([self._names], [], [], 0)[0]:
            self._answer()
        self._names.send(self._question)
        if not select.select([self._names], [], [], PATIENCE)[0]:
            sys.exit("error: the cluster's DNS does not answer")
        return self._answer()

    def _answer(self) -> frozenset[str]:
        answer = dns.message.from_wire(self._names.recv(1 << 16))
        return frozenset(str(item) for entry in answer.answer for item in entry)

    def seen(self, act: Act, *, named: bool) -> tuple[float, float]:
        """Seconds from the cause until the last commit, and until DNS had it."""
        for sock in self._commits:
            _drain(sock)
        before = self.names()
        thread = threading.Thread(target=act)
        start = time.monotonic()
        thread.start()
        committed = told = asked = 0.0
        while True:
            sources = [*self._commits, self._names]
            ready, _, _ = select.select(sources, [], [], PAUSE)
            now = time.monotonic()
            for sock in ready:
                if sock is self._names:
                    told = told or (now if self._answer() != before else 0.0)
                else:
                    committed = now
                    _drain(sock)
            if named and not told and now - asked > ASK_EVERY:
                self._names.send(self._question)
                asked = now
            if committed and (told or not named) and now - max(committed, told) > QUIET:
                break
            if now - start > PATIENCE:
                sys.exit(f"error: nothing has come of it in {PATIENCE:g} s")
        thread.join()
        return committed - start, told - start

    def close(self) -> None:
        """Hear no more."""
        for sock in (*self._commits, self._names):
            sock.close()


def _connect(server: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((server, 53))
    return sock


def _listen() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NFNETLINK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sock.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
    return sock


def _drain(sock: socket.socket) -> None:
    while True:
        try:
            sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: more was said than the buffer holds
            continue


def measure(client: APIClient, pods: int, rounds: int) -> Iterator[Latency]:
    """Each cause so many times; the network rests in between."""
    observer = Observer(running(LAB).cluster)
    pid = int(LabPaths(LAB).pid.read_text(encoding="ascii"))
    try:
        for cause, (prepare, named) in CAUSES.items():
            pairs, spent = [], 0.0
            for turn in range(rounds):
                client.settle()
                act, before = prepare(client, turn), cpu_seconds(pid)
                pairs.append(observer.seen(act, named=named))
                spent += (cpu_seconds(pid) - before) / rounds
            rules, names = zip(*pairs, strict=True)
            yield Latency(cause, pods, rules, names if named else (), spent)
    finally:
        observer.close()


# -- the report ------------------------------------------------------------------------------------


def percentile(values: tuple[float, ...], share: float) -> float:
    """The value that so large a share does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def line(item: Latency) -> str:
    """One row of the table, milliseconds."""
    cells = [
        f"{percentile(v, 0.5) * 1000:.0f}/{percentile(v, 0.99) * 1000:.0f}" if v else "-"
        for v in (item.rules, item.names)
    ]
    verdict = "reached" if item.worst <= item.goal else "MISSED"
    cpu, goal = f"{item.cpu * 1000:.0f}", f"{item.goal * 1000:.0f}"
    row = f"{item.pods:6}  {item.cause:18}{cells[0]:>16}{cells[1]:>16}{cpu:>8}{goal:>8}"
    return f"{row}  {verdict}"


def main() -> int:
    """The command line."""
    options = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("error: this needs root\nhint: make bench")
    found: list[Latency] = []
    head = f"{'pods':>6}  {'cause':18}{'rules p50/p99':>16}{'DNS p50/p99':>16}{'CPU':>8}{'goal':>8}"
    print(
        f"from cause to every node's rules, {options.mode} mode, milliseconds\n{head}", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="kns-bench-") as folder:
        for pods, services in options.sizes:
            file = lab_file(pods, services, options.mode, Path(folder))
            with lab(file) as client:
                for item in measure(client, pods, options.rounds):
                    found.append(item)
                    print(line(item), flush=True)
    if options.json:
        content = json.dumps([asdict(item) for item in found], indent=2)
        options.json.write_text(content + "\n", encoding="utf-8")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="from a change to the rules of every node")
    parser.add_argument("--sizes", type=sizes, default=sizes("20:5,1000:200"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--mode", default="nftables", choices=["iptables", "nftables", "ipvs"])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def sizes(text: str) -> list[tuple[int, int]]:
    """`20:5` is 20 pods behind 5 Services."""
    pairs = (item.partition(":") for item in text.split(","))
    return [(int(pods), int(services)) for pods, _, services in pairs]


if __name__ == "__main__":
    sys.exit(main())
