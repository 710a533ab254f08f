"""The captured cases of the real kube-proxy: objects, options, and the state of the kernel.

A case may have steps: objects that were applied or deleted afterwards, and the state after each.
golden/kube-proxy/README.md says what the files are and how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import yaml

from kns.addresses import IPNetwork
from kns.cluster.manifests import ClusterObjects, load_objects
from kns.cluster.model import DetectLocalMode, KubeProxyOptions, ProxyMode
from kns.kinds.node import Node

Item = dict[str, Any]

CASES = Path(__file__).with_name("golden") / "kube-proxy"
#: the release of kube-proxy whose rules kns writes
RELEASE = "1.30"
#: libyaml's own where it is there: under emulation the cases would take a minute to read
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class CapturedState:
    """What kube-proxy on node1 left in the kernel, in the files of `folder`, for these objects."""

    name: str
    folder: Path
    objects: ClusterObjects
    node: Node
    options: KubeProxyOptions

    @property
    def is_step(self) -> bool:
        """True if it came about by a change of an earlier state."""
        return "/" in self.name


def captured_states(mode: ProxyMode) -> Iterator[CapturedState]:
    """Every captured state of the mode."""
    for folder in sorted(CASES.glob(f"*/{mode}/{RELEASE}")):
        yield from states_of_case(folder.parents[1], mode)


def states_of_case(case: Path, mode: ProxyMode) -> Iterator[CapturedState]:
    """The state for the case's objects, then the one after each step."""
    documents = {_key(item): item for item in _load(case / "objects.yaml")}
    options = _options(case / "flags", mode)
    yield _state(case.name, case / mode / RELEASE, documents, options)
    for step in sorted((case / "steps").glob("*.yaml")):
        (change,) = _load(step)
        documents |= {_key(item): item for item in change.get("apply", ())}
        for item in change.get("delete", ()):
            documents.pop((item["kind"], item.get("namespace", ""), item["name"]))
        folder = case / mode / RELEASE / f"step-{step.stem}"
        yield _state(f"{case.name}/{step.stem}", folder, documents, options)


def _state(
    name: str, folder: Path, documents: dict[tuple[str, str, str], Item], options: KubeProxyOptions
) -> CapturedState:
    text = yaml.dump_all(documents.values(), Dumper=_DUMPER)
    objects = load_objects([(name, text)])
    node = next(item for item in objects.nodes if item.name == "node1")
    host = CASES / name.partition("/")[0] / "host.yaml"
    if host.exists():
        (extra,) = _load(host)
        addresses = tuple(ip_interface(text).ip for _, text in extra["addrs"])
        node = replace(node, host_addresses=(*node.host_addresses, *addresses))
    return CapturedState(name, folder, objects, node, options)


def _load(path: Path) -> list[Item]:
    return [item for item in yaml.load_all(path.read_text(), Loader=_LOADER) if item]


def _key(item: Item) -> tuple[str, str, str]:
    meta = item["metadata"]
    return item["kind"], meta.get("namespace", ""), meta["name"]


def _options(flags: Path, mode: ProxyMode) -> KubeProxyOptions:
    """What the case's flags mean; an unknown one is an error of the test."""
    options = KubeProxyOptions(mode=mode, cluster_cidrs=(ip_network("10.244.0.0/16"),))
    words = flags.read_text().split() if flags.exists() else []
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        options = _with_flag(options, name, value)
    return options


def _with_flag(options: KubeProxyOptions, name: str, value: str) -> KubeProxyOptions:
    match name:
        case "cluster-cidr":
            return replace(options, cluster_cidrs=_networks(value))
        case "detect-local-mode":
            return replace(options, detect_local_mode=DetectLocalMode(value))
        case "pod-bridge-interface":
            return replace(options, pod_bridge_interface=value)
        case "pod-interface-name-prefix":
            return replace(options, pod_interface_name_prefix=value)
        case "masquerade-all":
            return replace(options, masquerade_all=True)
        case "iptables-localhost-nodeports":
            return replace(options, localhost_nodeports=value == "true")
        case "nodeport-addresses" if value == "primary":
            return replace(options, nodeport_addresses_primary=True)
        case "nodeport-addresses":
            return replace(options, nodeport_addresses=_networks(value))
        case "ipvs-scheduler":
            return replace(options, ipvs=replace(options.ipvs, scheduler=value))
        case _:
            msg = f"flag --{name} is not known here"
            raise ValueError(msg)


def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, text.split(",")))
