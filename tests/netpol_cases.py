"""Upstream's NetworkPolicy cases of tests/vectors/netpol.json, as labs of any shape.

The vectors have three namespaces x, y, z with pods a, b, c each. A pod that asks itself is left
out: upstream's tests ignore it, and kns always lets it through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.kinds.common import Protocol
from kns.kinds.load import load_lab_text
from tests.readme_console import PROJECT

VECTORS: dict[str, Any] = json.loads(
    (PROJECT / "tests/vectors/netpol.json").read_text(encoding="utf-8")
)
#: the vectors' blocks in the second family
_BLOCKS = {"10.244.0.0/16": "fd00:10:244::/56", "0.0.0.0/24": "::/120"}


@dataclass(frozen=True)
class Probe:
    """One connection, and whether it is allowed."""

    source: str
    destination: str
    port: int
    protocol: Protocol
    allowed: bool


@dataclass(frozen=True)
class Step:
    """One state of the cluster: a case changes it once at most."""

    raw: dict[str, Any]
    pods: tuple[str, ...]

    @property
    def probes(self) -> Iterator[Probe]:
        """All connections between different pods."""
        for probe in self.raw["probes"]:
            for source, row in probe["rows"].items():
                for destination, sign in zip(probe["columns"], row, strict=True):
                    if source != destination:
                        protocol = Protocol(probe["protocol"])
                        yield Probe(source, destination, probe["port"], protocol, sign == ".")


@dataclass(frozen=True)
class Case:
    """A case: the same pods, with one or two sets of policies and labels."""

    name: str
    steps: tuple[Step, ...]


@cache
def cases() -> tuple[Case, ...]:
    """Every case."""
    return tuple(
        Case(raw["name"], tuple(Step(step, tuple(raw["pods"])) for step in raw["steps"]))
        for raw in VECTORS["cases"]
    )


@dataclass(frozen=True)
class Layout:
    """The lab that a case is played in."""

    nodes: int = 2
    family: str = "ipv4"
    mode: str = "iptables"
    pod_network: str = "host-gw"
    name: str = "netpol"
    #: all of the vectors' pods in every case: in a lab that stays up they keep their addresses
    every_pod: bool = False


def lab_text(step: Step, layout: Layout) -> str:
    """The lab file; blocks of the vectors' addresses are those of the lab's own pods."""
    manifests = [json.dumps(_policy(policy, step, layout)) for policy in step.raw["policies"]]
    return "\n---\n".join((_lab(step, layout), *manifests)) + "\n"


def cluster_of(step: Step, layout: Layout) -> Cluster:
    """The resolved cluster."""
    return resolve(load_lab_text(lab_text(step, layout)).spec).cluster


def _lab(step: Step, layout: Layout) -> str:
    model, labels = VECTORS["podModel"], step.raw.get("podLabels", {})
    pods = [
        {
            "name": full_name.partition("/")[2],
            "namespace": full_name.partition("/")[0],
            "node": f"node{1 + number % layout.nodes}",
            "labels": labels.get(full_name, model[full_name]["labels"]),
            "containers": [{"name": "server", "ports": model[full_name]["ports"]}],
        }
        for number, full_name in enumerate(sorted(model if layout.every_pod else step.pods))
    ]
    extra = step.raw.get("extraNamespaceLabels", {})
    namespaces = [
        {"name": name, "labels": {**written, **extra.get(name, {})}}
        for name, written in VECTORS["namespaceLabels"].items()
    ]
    lab = {
        "apiVersion": "kns/v1",
        "kind": "Lab",
        "metadata": {"name": layout.name},
        "networking": {
            "ipFamily": layout.family,
            "kubeProxyMode": layout.mode,
            "podNetwork": layout.pod_network,
            "dns": {"enabled": False},
        },
        "namespaces": namespaces,
        "nodes": [{"name": f"node{1 + number}"} for number in range(layout.nodes)],
        "pods": pods,
        "internet": [],
    }
    return json.dumps(lab)


def _policy(policy: Any, step: Step, layout: Layout) -> Any:
    match policy:
        case {"ipBlock": block}:
            return {"ipBlock": {key: _policy(value, step, layout) for key, value in block.items()}}
        case dict():
            return {key: _policy(value, step, layout) for key, value in policy.items()}
        case list():
            return [_policy(item, step, layout) for item in policy]
        case str() if policy.endswith("/32"):
            return _of_pod(policy.removesuffix("/32"), step, layout)
        case str() if policy in _BLOCKS and layout.family == "ipv6":
            return _BLOCKS[policy]
        case _:
            return policy


def _of_pod(address: str, step: Step, layout: Layout) -> str:
    owner = next(name for name, raw in VECTORS["podModel"].items() if raw["ip"] == address)
    found = resolve(load_lab_text(_lab(step, layout)).spec).cluster
    (own,) = (pod.addresses[0] for pod in found.pods if pod.full_name == owner)
    return f"{own}/{own.max_prefixlen}"
