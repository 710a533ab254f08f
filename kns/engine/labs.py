"""Which labs there are, and the cluster of a running one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.compile import names
from kns.compile.paths import LabPaths
from kns.engine import snapshot
from kns.engine.private import require_private
from kns.errors import Problem, SpecError, UsageError
from kns.hints import closest
from kns.kernel import netns, processes
from kns.kinds.networking import NfacctUse, ProxyMode
from kns.kinds.release import Release

if TYPE_CHECKING:
    from kns.kinds.common import Object
    from kns.kinds.faults import Faults
    from kns.kinds.lab import Lab
    from kns.kinds.load import LoadedLab
    from kns.kinds.networkpolicy import NetworkPolicy
    from kns.kinds.objects import Ref

#: drift that the kernel doesn't show
NO_AGENT = "agent: not running, so no built-in server answers"


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


@dataclass(frozen=True, slots=True)
class ModeOptions:
    """What is not the file's: `up`'s own options, and what this machine can't do."""

    proxy_mode: ProxyMode | None = None
    #: in the place of `loadBalancer.mode`; empty: as the file says
    balancer_mode: str = ""
    #: `up --kube-proxy-version`
    release: Release | None = None
    #: what `nfacct: auto` comes to on this machine
    nfacct: NfacctUse | None = None

    def to_json(self) -> dict[str, str]:
        """What `read_options` reads."""
        written = {
            "proxyMode": self.proxy_mode,
            "balancerMode": self.balancer_mode,
            "kubeProxyVersion": self.release,
            "nfacct": self.nfacct,
        }
        return {key: str(value) for key, value in written.items() if value}


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
        close = closest(lab, labs)
        hint = f"did you mean {close}?" if close else _running_hint(labs)
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
    require_private(paths.folder.parent)
    hint = f"kns up with its YAML mends it, kns down {name} removes it"
    if not paths.spec.exists():
        raise UsageError(f"the files of lab {name} are gone", hint=hint)
    try:
        cluster = applied_cluster(paths)
    except SpecError as error:
        message = f"the files of lab {name} are damaged: {error.problems[0]}"
        raise UsageError(message, hint=hint) from error
    return RunningLab(name, cluster, paths)


def applied_cluster(paths: LabPaths) -> Cluster:
    """The cluster as `up` last applied it; the files are read only if there is no snapshot."""
    return snapshot.restore(paths) or written_cluster(paths)


def written_cluster(paths: LabPaths) -> Cluster:
    """The cluster of the lab's files, and of the objects that its agent holds."""
    return (load_objects(paths) or load_applied(paths)).cluster


def load_applied(paths: LabPaths) -> Loaded:
    """The lab as `up` last wrote it down, its options included, and as it was changed since."""
    from kns.kinds.load import load_lab

    loaded = load_lab(paths.spec)
    found = load_objects(paths)
    if found is None:
        found = resolved_here(with_faults(loaded.spec, paths), paths)
    return replace(found, warnings=(*loaded.warnings, *found.warnings))


def load_objects(paths: LabPaths) -> Loaded | None:
    """The lab of the objects that its agent holds; None if it has none of the lab's file."""
    found = _of_objects(paths, lambda lab: with_faults(lab, paths))
    return None if found is None else found[1]


def applied_spec(paths: LabPaths, policies: Iterable[NetworkPolicy]) -> Lab:
    """The lab as its file says, and as it was changed since; with the file's faults.

    Policies equal to one of `policies` have the places of that one.
    """
    from kns.kinds.load import load_lab

    found = _of_objects(paths, policies=policies)
    return load_lab(paths.spec).spec if found is None else found[0]


def lab_documents(paths: LabPaths) -> Iterator[Object]:
    """The documents of a lab file that stands for the lab as it is now."""
    from kns.kinds.export import documents

    return documents(lab_objects(paths))


def lab_objects(paths: LabPaths) -> tuple[Object, ...]:
    """The objects that the lab's agent holds; those of its file as long as it has none."""
    from kns.engine.objects import read_objects
    from kns.kinds.load import load_lab
    from kns.kinds.seed import objects_of

    kept = read_objects(paths)
    return tuple(objects_of(load_lab(paths.spec))) if kept is None else kept.objects


def with_faults(lab: Lab, paths: LabPaths) -> Lab:
    """The lab with the faults that a command has set since `up`."""
    live = live_faults(paths)
    return lab if live is None else replace(lab, faults=live)


def _of_objects(
    paths: LabPaths,
    changed: Callable[[Lab], Lab] = lambda lab: lab,
    policies: Iterable[NetworkPolicy] = (),
) -> tuple[Lab, Loaded] | None:
    """The lab of the objects that its agent holds, and its cluster; None if it has none.

    What can't be had together with the rest is left out, as the agent does.
    """
    from kns.engine.fitting import fit
    from kns.engine.objects import read_objects
    from kns.kinds.assemble import Assembler
    from kns.kinds.objects import ref_of

    def made(items: Mapping[Ref, Object]) -> tuple[Lab, Loaded]:
        lab = Assembler(policies).assemble(items).lab
        return lab, resolved_here(changed(lab), paths)

    kept = read_objects(paths)
    if kept is None:
        return None
    return fit({ref_of(item): item for item in kept.objects}, (), {}, made).made


def resolved_here(lab: Lab, paths: LabPaths) -> Loaded:
    """The cluster of the lab, with its addresses and in its modes."""
    return in_modes(resolved(lab, read_leases(paths)), read_options(paths))


def unchanged(paths: LabPaths, file: LoadedLab, options: ModeOptions) -> Loaded | None:
    """The lab of its agent's objects, if they are those of this file, in the same modes.

    Without the faults that a command has set: `up` ends them.
    """
    try:
        if paths.spec.read_text(encoding="utf-8") != file.text or read_options(paths) != options:
            return None
    except (OSError, ValueError):
        return None
    found = _of_objects(paths, policies=file.spec.network_policies)
    return None if found is None else found[1]


def resolved(spec: object, leases: Leases) -> Loaded:
    """The cluster of a spec, in the file's own modes."""
    from kns.cluster.resolve import resolve
    from kns.kinds.lab import Lab

    if not isinstance(spec, Lab):
        msg = f"not a lab's spec: {spec!r}"
        raise TypeError(msg)
    resolution = resolve(spec, leases)
    return Loaded(resolution.cluster, resolution.leases, resolution.warnings)


def in_modes(loaded: Loaded, options: ModeOptions) -> Loaded:
    """The same in the modes that are not the file's."""
    network = loaded.cluster.network
    kube_proxy = network.kube_proxy
    if options.proxy_mode is not None:
        kube_proxy = replace(kube_proxy, mode=options.proxy_mode)
    if options.release is not None:
        kube_proxy = replace(kube_proxy, version=options.release)
    if options.nfacct is not None:
        kube_proxy = replace(kube_proxy, nfacct=options.nfacct)
    network = replace(network, kube_proxy=kube_proxy)
    if options.balancer_mode and network.load_balancer is not None:
        balancer = replace(network.load_balancer, mode=options.balancer_mode)
        network = replace(network, load_balancer=balancer)
    return replace(loaded, cluster=replace(loaded.cluster, network=network))


def read_leases(paths: LabPaths) -> Leases:
    """What was handed out so far; nothing if the file is gone or damaged."""
    try:
        return Leases.from_json(paths.leases.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Leases()


def read_options(paths: LabPaths) -> ModeOptions:
    """The modes of the lab that are not its file's."""
    try:
        written = json.loads(paths.options.read_text(encoding="utf-8"))
        mode, release = written.get("proxyMode"), written.get("kubeProxyVersion")
        nfacct = written.get("nfacct")
        return ModeOptions(
            ProxyMode(mode) if mode else None,
            str(written.get("balancerMode") or ""),
            Release(release) if release else None,
            NfacctUse(nfacct) if nfacct else None,
        )
    except (OSError, ValueError, AttributeError):
        return ModeOptions()


def live_faults(paths: LabPaths) -> Faults | None:
    """The faults that a command has set since `up`; None: those of the file."""
    from kns.kinds.faults import read_faults
    from kns.labfile.wording import RefusedError

    try:
        return read_faults(json.loads(paths.faults.read_text(encoding="utf-8")))
    except (OSError, ValueError, RefusedError):
        return None


def agent_pid(lab: str) -> int | None:
    """The pid of the lab's agent: the process in the fabric netns that is kns' own.

    Somebody who deletes the fabric netns by hand leaves the agent in it, under no name: then its
    command line tells.
    """
    identity = netns.identity(names.fabric_netns(lab))
    if identity is not None:
        for pid in processes.in_netns({identity[1]}):
            if b"kns.agent" in processes.command_line(pid):
                return pid
    return next(stray_agents(lab), None)


def stray_agents(lab: str) -> Iterator[int]:
    """The pids of the lab's agents, wherever they are."""
    return processes.with_arguments(("-m", "kns.agent", lab))
