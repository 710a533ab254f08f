"""Mutates lab files and Kubernetes objects by structure: whatever comes is refused or obeyed.

    python -m tests.fuzz [--count 10000] [--seed 0]

A mutation takes a few documents and replaces, removes, renames, doubles, nests or swaps some of
their parts, whatever these are. A lab then loads, resolves and compiles, or is refused; objects are
rendered in each mode, or refused. Any other exception is printed with the number that makes it
again (`--seed N --count 1`); the exit code is 1 if there was one. tests/kinds/test_fuzz.py has a
short run.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from kns.cluster.manifests import ClusterObjects, load_objects
from kns.cluster.resolve import resolve
from kns.compile.lab import compile_lab
from kns.compile.proxy.by_mode import proxies
from kns.errors import Problem, SpecError
from kns.kinds.load import load_lab_text
from kns.kinds.networking import KubeProxyOptions
from kns.labfile.parse import parse_stream

RICH = Path(__file__).parent / "kinds" / "rich.yaml"
LAB, *MANIFESTS = [document.data for document in parse_stream(RICH.read_bytes(), "f").documents]
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node1", "labels": {"topology.kubernetes.io/zone": "a"}},
    "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop", "annotations": {"a": "b"}},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.20",
        "clusterIPs": ["10.96.0.20", "fd00:10:96::20"],
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 32000,
        "externalIPs": ["198.51.100.7"],
        "loadBalancerSourceRanges": ["203.0.113.0/24"],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "ports": [
            {"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
        ],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "VIP"}]}},
}
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "labels": {"kubernetes.io/service-name": "web"},
    },
    "addressType": "IPv4",
    "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
    "endpoints": [
        {
            "addresses": ["10.244.1.2"],
            "nodeName": "node1",
            "zone": "a",
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "node1"}]},
        },
        {"addresses": ["10.244.2.3"], "conditions": {"ready": False, "serving": True}},
    ],
}
#: wrong in most places, and near misses of right ones
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 80, 65536, 10**12, 1.5, float("inf"), "", "x", "None", "8080"),
    *("10.244.0.0/16", "10.96.0.10", "fd00::/64", "::1", "fe80::1%eth0", "0.0.0.0/0", "::/0"),
    *("255.255.255.255", "10.0.0.0/33", "a" * 300, "ü", "a.b", "-", "*", "{}", "web", "node1"),
    *("IPv6", "dual", "NodePort", "ExternalName", "a\nb", '"; }', "$(id)", "\x1b[31m", "~", "1e3"),
    *([], {}, [[]], [{}], ["x"], {"x": 1}, [None], {"name": None}, {None: 1}, [{"name": "x"}]),
    *([{"port": 80}], ["10.0.0.1", "::1"], {"": ""}, [[[[[]]]]], {"a": {"b": {"c": {}}}}),
)
Place = tuple[str | int, ...]


def positions(data: object, path: Place = ()) -> Iterator[Place]:
    """Every part but the whole."""
    if path:
        yield path
    steps = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for step, item in steps:
        yield from positions(item, (*path, step))


def at(data: object, path: Place) -> object:
    for step in path:
        data = data[step]  # type: ignore[index]
    return data


def mutate(chance: random.Random, documents: list[object]) -> None:
    """One change, in place."""
    path = chance.choice(list(positions(documents)))
    parent, step = at(documents, path[:-1]), path[-1]
    old = parent[step]  # type: ignore[index]
    match chance.choice(("value", "remove", "rename", "double", "nest", "swap", "alike", "alike")):
        case "remove":
            del parent[step]  # type: ignore[attr-defined]
        case "rename" if isinstance(parent, dict):
            parent[chance.choice((f"{step}s", str(step).upper(), f"{step}\n", ""))] = parent.pop(
                step
            )
        case "double" if isinstance(parent, list):
            parent.append(copy.deepcopy(old))
        case "nest":
            parent[step] = chance.choice(([old], {"x": old}, {"name": old}, [[old]]))  # type: ignore[index]
        case "alike":  # what stands elsewhere under the same key: often sound, and another thing
            others = [place for place in positions([LAB, *MANIFESTS]) if place[-1] == step]
            parent[step] = copy.deepcopy(at([LAB, *MANIFESTS], chance.choice(others or [(0,)])))  # type: ignore[index]
        case "swap":
            other = at(documents, chance.choice(list(positions(documents))))
            parent[step] = copy.deepcopy(other)  # type: ignore[index]
        case _:
            parent[step] = copy.deepcopy(chance.choice(VALUES))  # type: ignore[index]


def text_of(documents: list[object]) -> str:
    """As YAML: JSON is, but for its infinity."""
    parts = (json.dumps(document, ensure_ascii=False) for document in documents)
    return "\n---\n".join(parts).replace("Infinity", ".inf")


def mutated(seed: int) -> tuple[str, bool]:
    """The text of a number, and whether it is a lab's rather than objects to render."""
    chance = random.Random(seed)
    is_lab = chance.random() < 0.6
    if is_lab and chance.random() < 0.5:
        chosen = [LAB, *MANIFESTS]
    elif is_lab:
        chosen = [part_of(chance, LAB), *chance.sample(MANIFESTS, chance.randrange(4))]
    else:
        chosen = [NODE, *chance.sample((SERVICE, SLICE, *MANIFESTS), chance.randrange(1, 5))]
    documents = copy.deepcopy(chosen)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        mutate(chance, documents)
        if not documents:
            break
    return text_of(documents), is_lab


def part_of(chance: random.Random, lab: object) -> object:
    """The Lab with some of its fields: what is missing is a case of its own, and less is faster."""
    assert isinstance(lab, dict)
    needed = ("apiVersion", "kind", "metadata", "nodes")
    return {key: value for key, value in lab.items() if key in needed or chance.random() < 0.4}


def try_text(text: str, *, is_lab: bool) -> None:
    """A lab loads, resolves and compiles, objects are rendered in each mode, or all is refused."""
    problems: Sequence[Problem] = ()
    try:
        if is_lab:
            compile_lab(resolve(load_lab_text(text).spec).cluster)
        else:
            render(load_objects([("objects.yaml", text)]))
    except SpecError as error:
        problems = error.problems
        if not problems:
            raise
    assert all(problem.message for problem in problems)


def render(objects: ClusterObjects) -> None:
    """As `kns render` does, for the first node that there is."""
    for proxy in proxies():
        if objects.nodes:
            proxy.render(objects, objects.nodes[0], KubeProxyOptions(), proxy.RENDERED_FAMILIES)


def run(seeds: range) -> list[int]:
    """The numbers that raised something else, each with its traceback on stderr."""
    bad = []
    for seed in seeds:
        text, is_lab = mutated(seed)
        try:
            try_text(text, is_lab=is_lab)
        except Exception:
            bad.append(seed)
            print(f"--seed {seed}:\n{traceback.format_exc(limit=-3)}", file=sys.stderr)
    return bad


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="mutate lab files and objects by structure")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bad = run(range(options.seed, options.seed + options.count))
    print(f"{options.count} mutations, {len(bad)} that raised")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
