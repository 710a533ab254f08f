"""Which labs there are, and the cluster of a running one."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster, ProxyMode
from kns.compile import names
from kns.engine import snapshot
from kns.engine.paths import LabPaths
from kns.errors import Problem, UsageError
from kns.kernel import netns, processes


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab whose netns exist, and its cluster as `up` last applied it."""

    name: str
    cluster: Cluster
    paths: LabPaths


@dataclass(frozen=True, slots=True)
class Loaded:
    """A lab file after resolving: the cluster, the leases it leads to, and warnings."""

    cluster: Cluster
    leases: Leases
    warnings: tuple[Problem, ...] = ()


def list_labs() -> tuple[str, ...]:
    """The names of the labs that have a netns, whatever their files say."""
    found = {name.split(".")[1] for name in netns.list_netns(names.PREFIX) if name.count(".") > 1}
    return tuple(sorted(found))


def lab_netns(lab: str) -> tuple[str, ...]:
    """The names of a lab's netns."""
    return netns.list_netns(names.lab_prefix(lab))


def choose_lab(lab: str | None) -> str:
    """The lab that is meant: the named one, or the only one. UsageError tells the choice."""
    labs = list_labs()
    if lab is not None:
        if lab in labs:
            return lab
        close = difflib.get_close_matches(lab, labs, 1)
        hint = f"did you mean {close[0]}?" if close else _running_hint(labs)
        raise UsageError(f"no lab named {lab} is running", hint=hint)
    if not labs:
        raise UsageError("no lab is running", hint="kns up LAB.yaml makes one")
    if len(labs) > 1:
        raise UsageError(
            f"{len(labs)} labs are running: {', '.join(labs)}", hint="name one: -l LAB or KNS_LAB"
        )
    return labs[0]


def _running_hint(labs: Sequence[str]) -> str:
    return f"running: {', '.join(labs)}" if labs else "kns up LAB.yaml makes one"


def running(lab: str | None = None) -> RunningLab:
    """The lab that is meant, with its cluster."""
    name = choose_lab(lab)
    paths = LabPaths(name)
    if not paths.spec.exists():
        raise UsageError(
            f"the files of lab {name} are gone",
            hint=f"kns up with its YAML mends it, kns down {name} removes it",
        )
    return RunningLab(name, applied_cluster(paths), paths)


def applied_cluster(paths: LabPaths) -> Cluster:
    """The cluster as `up` last applied it; the files are read only if there is no snapshot."""
    cluster = snapshot.restore(paths)
    return load_applied(paths).cluster if cluster is None else cluster


def load_applied(paths: LabPaths) -> Loaded:
    """The lab as `up` last wrote it down, its options included."""
    from kns.spec.load import load_lab

    loaded = load_lab(paths.spec)
    return resolved(loaded.spec, read_leases(paths), read_proxy_mode(paths))


def resolved(spec: object, leases: Leases, proxy_mode: ProxyMode | None) -> Loaded:
    """The cluster of a spec, in another proxy mode than the file's if one is given."""
    from kns.cluster.resolve import resolve
    from kns.spec.model import LabSpec

    if not isinstance(spec, LabSpec):
        msg = f"not a lab's spec: {spec!r}"
        raise TypeError(msg)
    resolution = resolve(spec, leases)
    cluster = resolution.cluster
    if proxy_mode is not None:
        kube_proxy = replace(cluster.network.kube_proxy, mode=proxy_mode)
        cluster = replace(cluster, network=replace(cluster.network, kube_proxy=kube_proxy))
    return Loaded(cluster, resolution.leases, resolution.warnings)


def read_leases(paths: LabPaths) -> Leases:
    """What was handed out so far; nothing if the file is gone or damaged."""
    try:
        return Leases.from_json(paths.leases.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Leases()


def read_proxy_mode(paths: LabPaths) -> ProxyMode | None:
    """The mode that `up --proxy-mode` asked for, if it did."""
    try:
        mode = json.loads(paths.options.read_text(encoding="utf-8")).get("proxyMode")
        return ProxyMode(mode) if mode else None
    except (OSError, ValueError, AttributeError):
        return None


def agent_pid(lab: str) -> int | None:
    """The pid of the lab's agent: the process in the fabric netns that is kns' own."""
    identity = netns.identity(names.fabric_netns(lab))
    if identity is None:
        return None
    for pid in processes.in_netns({identity[1]}):
        if b"kns.runtime" in processes.command_line(pid):
            return pid
    return None
