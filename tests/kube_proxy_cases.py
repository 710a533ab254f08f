"""The captured cases of the real kube-proxy: objects, options, and the state of the kernel.

A case may have steps: objects that were applied or deleted afterwards, and the state after each.
golden/kube-proxy/README.md says what the files are and how they came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import yaml

from kns.addresses import IPNetwork
from kns.cluster.manifests import ClusterObjects, load_objects
from kns.compile.proxy.release import ReleaseChange, has
from kns.kinds.networking import (
    DetectLocalMode,
    FeatureGates,
    KubeProxyOptions,
    NFTablesOptions,
    ProxyMode,
)
from kns.kinds.node import Node
from kns.kinds.release import Release

Item = dict[str, Any]

CASES = Path(__file__).with_name("golden") / "kube-proxy"
#: the first release that was captured, in every mode
RELEASE = "1.30"
#: a release that left in nftables mode what this one did, where it has no folder of its own
SAME_AS = {"1.37": "1.36"}
#: libyaml's own where it is there: under emulation the cases would take a minute to read
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class CapturedState:
    """What kube-proxy on node1 left in the kernel, in the files of `folder`.

    `sources` are the objects of the case and the changes that led here, read when asked for.
    """

    name: str
    folder: Path
    sources: tuple[Path, ...]
    options: KubeProxyOptions

    @property
    def objects(self) -> ClusterObjects:
        """The objects that kube-proxy saw."""
        return _objects(self.sources)

    @property
    def node(self) -> Node:
        """node1, with the addresses of the host that are not the cluster's too."""
        return _node(self.sources)

    @property
    def release(self) -> Release:
        """The release of the kube-proxy that left it."""
        return self.options.version

    @property
    def is_step(self) -> bool:
        """True if it came about by a change of an earlier state."""
        return "/" in self.name


def captured_states(mode: ProxyMode, release: str = RELEASE) -> Iterator[CapturedState]:
    """Every captured state of the mode in a release."""
    for case in sorted(CASES.iterdir()):
        if _stored(case / mode, release).is_dir():
            yield from states_of_case(case, mode, release)


def _stored(folder: Path, release: str) -> Path:
    """Where the states of a case and mode are."""
    own = folder / release
    return own if own.is_dir() else folder / SAME_AS.get(release, release)


def captured_releases(mode: ProxyMode) -> list[str]:
    """The releases that were captured in this mode."""
    return sorted({folder.name for folder in CASES.glob(f"*/{mode}/*")})


def states_of_case(case: Path, mode: ProxyMode, release: str = RELEASE) -> Iterator[CapturedState]:
    """The state for the case's objects, then the one after each step."""
    sources: tuple[Path, ...] = (case / "objects.yaml",)
    options = _options(case / "flags", mode, Release(release))
    stored = _stored(case / mode, release)
    yield CapturedState(case.name, stored, sources, options)
    for step in sorted((case / "steps").glob("*.yaml")):
        sources = (*sources, step)
        name = f"{case.name}/{step.stem}"
        yield CapturedState(name, stored / f"step-{step.stem}", sources, options)


@cache
def _objects(sources: tuple[Path, ...]) -> ClusterObjects:
    first, *changes = sources
    documents = {_key(item): item for item in _load(first)}
    for path in changes:
        (change,) = _load(path)
        documents |= {_key(item): item for item in change.get("apply", ())}
        for item in change.get("delete", ()):
            documents.pop((item["kind"], item.get("namespace", ""), item["name"]))
    text = yaml.dump_all(documents.values(), Dumper=_DUMPER)
    return load_objects([(first.parent.name, text)])


def _node(sources: tuple[Path, ...]) -> Node:
    node = next(item for item in _objects(sources).nodes if item.name == "node1")
    host = sources[0].with_name("host.yaml")
    if not host.exists():
        return node
    (extra,) = _load(host)
    addresses = tuple(ip_interface(text).ip for _, text in extra["addrs"])
    return replace(node, host_addresses=(*node.host_addresses, *addresses))


def _load(path: Path) -> list[Item]:
    return [item for item in yaml.load_all(path.read_text(), Loader=_LOADER) if item]


def _key(item: Item) -> tuple[str, str, str]:
    meta = item["metadata"]
    return item["kind"], meta.get("namespace", ""), meta["name"]


def _options(flags: Path, mode: ProxyMode, release: Release) -> KubeProxyOptions:
    """What the case's flags mean; an unknown one is an error of the test."""
    cidrs = (ip_network("10.244.0.0/16"),)
    options = KubeProxyOptions(mode=mode, cluster_cidrs=cidrs, version=release)
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
            return replace(options, masquerade_all=True, nftables=_nftables(options.version))
        case "iptables-localhost-nodeports":
            return replace(options, localhost_nodeports=value == "true")
        case "nodeport-addresses":
            primary = value == "primary"
            addresses = () if primary else _networks(value)
            return replace(
                options, nodeport_addresses=addresses, nodeport_addresses_primary=primary
            )
        case "ipvs-scheduler":
            return replace(options, ipvs=replace(options.ipvs, scheduler=value))
        case "feature-gates" if value == "AllowServiceExternalIPs=false":
            return replace(options, feature_gates=FeatureGates(allow_service_external_ips=False))
        case _:
            msg = f"flag --{name} is not known here"
            raise ValueError(msg)


def _nftables(release: Release) -> NFTablesOptions:
    """What `--masquerade-all` does to the options of nftables mode."""
    return NFTablesOptions(masquerade_all=has(release, ReleaseChange.ONE_MASQUERADE_ALL))


def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, text.split(",")))
