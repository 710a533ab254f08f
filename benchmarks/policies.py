"""Network policies: what they cost a connection, and what a changed label costs.

    python -m benchmarks.policies [--sizes 0,100,1000] [--pods 1000] [--json FILE]

N policies select one and the same pod, each with a port and clients of its own: what would have to
be walked one by one without look-ups. Then a lab of PODS pods with a hundred policies, of which one
pod's label changes: `kns up` again and `kns apply`, whole processes. Both take the change when all
nodes have it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from benchmarks.contestants import KNS, timed
from kns.addresses import IPNetwork
from kns.cluster.model import Cluster
from kns.compile.lab import compile_host
from kns.engine import down
from kns.experiment.bench.latency import listening, measure
from kns.experiment.bench.model import Latency
from kns.experiment.bench.scenario import Scenario
from kns.kernel.apply import apply
from kns.kinds.networking import ProxyMode
from kns.kinds.networkpolicy import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicyRule,
)
from kns.kinds.selector import LabelSelector
from kns.plan.diff import plan
from kns.state.model import HostState

LAB, PORT = "bench", 8080
CONNECTIONS = 500
#: policies of the lab whose label changes; each selects its share of the pods
POLICIES = 100


def main() -> int:
    options = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("error: this needs root\nhint: make bench")
    found: dict[str, object] = {}
    print(f"{'policies':>10}{'connect p50/p99, us':>24}")
    for size in options.sizes:
        latency = connection(size)
        found[f"connect, {size} policies"] = {"p50_us": latency.p50, "p99_us": latency.p99}
        print(f"{size:10}{f'{latency.p50:.0f}/{latency.p99:.0f}':>24}", flush=True)
    times = label_change(options.pods)
    found |= times
    print(f"\n{options.pods} pods, {POLICIES} policies, milliseconds")
    for name, milliseconds in times.items():
        print(f"  {name:32}{milliseconds:10.0f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    numbers = lambda text: [int(item) for item in text.split(",")]  # noqa: E731
    parser.add_argument("--sizes", type=numbers, default=[0, 100, 1000])
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


# -- a connection ----------------------------------------------------------------------------------


def connection(count: int) -> Latency:
    """The time of connect() from a pod to one of another node that `count` policies isolate."""
    scenario = Scenario(LAB, ProxyMode.NFTABLES, 0, 1)
    cluster = with_policies(scenario.cluster(), count)
    server = cluster.pods[1]
    targets = {"pod": (str(server.addresses[0]), PORT)}
    with built(cluster), listening(scenario.servers[:1], PORT) as listeners:
        latency, _ = measure(scenario.client, targets, listeners, connections=CONNECTIONS, seed=1)
    return latency["pod"]


def with_policies(cluster: Cluster, count: int) -> Cluster:
    """The server isolated by so many policies; the last one lets the client in."""
    labels = {"app": "server"}
    policies = tuple(
        NetworkPolicy(
            "default",
            f"p{number}",
            LabelSelector(labels),
            ingress=(
                NetworkPolicyRule(
                    (
                        NetworkPolicyPeer(
                            ip_block=IPBlock(ip_network(f"192.0.{number % 256}.0/24"))
                        ),
                        NetworkPolicyPeer(pod_selector=LabelSelector()),
                    ),
                    (NetworkPolicyPort(port=PORT if number == count - 1 else 10_000 + number),),
                ),
            ),
        )
        for number in range(count)
    )
    client, server, *rest = cluster.pods
    pods = (client, replace(server, labels=labels), *rest)
    return replace(cluster, pods=pods, network_policies=policies)


def clients(number: int) -> IPNetwork:
    """A network of clients that are not there."""
    return ip_network(f"192.0.{number % 256}.0/24")


@contextmanager
def built(cluster: Cluster) -> Iterator[None]:
    """The cluster's network; removed at the end, whatever happens."""
    try:
        apply(plan(compile_host(cluster), HostState()), {})
        yield
    finally:
        down.remove(cluster.name)


# -- a label ---------------------------------------------------------------------------------------


def label_change(pods: int) -> dict[str, float]:
    """Milliseconds of `kns up` again, unchanged and with one pod's other label, and of `apply`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lab.yaml")
        file.write_text(lab_text(pods, "0"), encoding="utf-8")
        try:
            timed([*KNS, "up", file])
            same = timed([*KNS, "up", file])
            file.write_text(lab_text(pods, "1"), encoding="utf-8")
            changed = timed([*KNS, "up", file])
            pod = Path(folder, "pod.yaml")
            pod.write_text(relabelled("2"), encoding="utf-8")
            applied = timed([*KNS, "apply", pod])
        finally:
            timed([*KNS, "down", LAB])
    return {
        "up again, nothing changed": same,
        "up again, one label changed": changed,
        "apply, one label changed": applied,
    }


def relabelled(label: str) -> str:
    """The running lab's first pod as a manifest, with another group."""
    argv = [*KNS, "get", "pods", "pod1", "-o", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    pod = json.loads(done.stdout)
    pod["metadata"]["labels"]["group"] = label
    return json.dumps(pod)


def lab_text(pods: int, label: str) -> str:
    """A lab on four nodes; `label` is the first pod's group."""
    groups = [label, *(str(number % POLICIES) for number in range(1, pods))]
    lab = {
        "apiVersion": "kns/v1",
        "kind": "Lab",
        "metadata": {"name": LAB},
        "networking": {"dns": {"enabled": False}},
        "nodes": [{"name": f"node{number}"} for number in range(1, 5)],
        "pods": [
            {"name": f"pod{number}", "labels": {"group": group}}
            for number, group in enumerate(groups)
        ],
        "networkPolicies": [
            {
                "name": f"p{number}",
                "podSelector": {"matchLabels": {"group": str(number)}},
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"group": str(number)}}}]}],
            }
            for number in range(POLICIES)
        ],
    }
    return json.dumps(lab)


if __name__ == "__main__":
    sys.exit(main())
