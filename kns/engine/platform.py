"""What a lab needs of this machine, checked before anything is built."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from kns.cluster.model import Cluster
from kns.compile import faults
from kns.compile.networkpolicy import table as networkpolicy
from kns.compile.proxy.base import Proxy
from kns.compile.proxy.by_mode import proxy
from kns.errors import PlatformError
from kns.invocation import as_root
from kns.kernel import features, nfacct, processes, rootless
from kns.kernel.modules import modprobe
from kns.kernel.nfacct import NfacctSupport
from kns.kinds.networking import NFACCT_SINCE, KubeProxyOptions, NfacctUse, ProxyMode
from kns.state.model import HostState
from kns.state.traffic import Netem

#: a process that may do all of this has CAP_NET_ADMIN and CAP_SYS_ADMIN: in practice, root
_BRIDGE_NF = Path("/proc/sys/net/bridge")
#: the kernel has it only with multipath routes
_MULTIPATH = Path("/proc/sys/net/ipv4/fib_multipath_hash_policy")
#: what answers for LoadBalancer addresses, by mode
_BALANCERS = {"bgp": "bird", "proxy": "haproxy"}


def require_root() -> None:
    """PlatformError unless this process may make netns."""
    if os.geteuid() != 0:
        without = f"; or without root, in the shell of {rootless.COMMAND}"
        hint = as_root() + (without if rootless.is_allowed() else "")
        raise PlatformError("kns makes network namespaces, which needs root", hint=hint)


def require(state: HostState, cluster: Cluster) -> None:
    """PlatformError if a program or a kernel feature that the lab needs is missing."""
    require_root()
    programs = _components(cluster)
    for space in state.netns:
        if space.iptables:
            programs |= {"iptables-restore", "iptables-save"}
            programs |= {"ip6tables-restore", "ip6tables-save"}
        if space.nftables:
            programs.add("nft")
        if space.ipsets:
            programs.add("ipset")
    _require_policies(state)
    require_queues(state)
    for program in sorted(programs):
        processes.which(program)
    _require_nfacct(cluster.network.kube_proxy)
    _require_features(proxy(cluster.network.kube_proxy.mode))
    _require_bridge_netfilter(state)


def _require_features(kube_proxy: Proxy) -> None:
    """What the proxy mode needs of the kernel; modules are loaded where they can be."""
    lacking = [feature.module for feature in kube_proxy.REQUIRED if not features.works(feature)]
    if lacking:
        words = " ".join(lacking)
        raise PlatformError(
            f"kubeProxyMode {kube_proxy.MODE} needs what this kernel lacks: {words}",
            hint=f"{modprobe(words)}; {kube_proxy.ALTERNATIVE}",
        )


def _require_policies(state: HostState) -> None:
    """NetworkPolicies are rules of nftables, whatever kube-proxy's mode is."""
    own = networkpolicy.OWN.nft_tables
    if not any(table.name in own for space in state.netns for table in space.nftables):
        return
    try:
        works = features.works(networkpolicy.FEATURE)
    except PlatformError as error:
        message = f"NetworkPolicies are enforced by nftables, also beside iptables: {error.message}"
        raise PlatformError(message, hint=error.hint) from error
    if not works:
        modules = networkpolicy.FEATURE.module
        raise PlatformError(
            f"NetworkPolicies are enforced by nftables, and this kernel lacks: {modules}",
            hint=modprobe(modules),
        )


def require_queues(state: HostState) -> None:
    """What the lab's faults need of the kernel: HTB and u32 for all, netem for more than a rate."""
    queues = {
        type(item.queue)
        for space in state.netns
        for shaper in space.shapers
        for item in shaper.classes
    }
    if queues and not features.works(faults.SHAPING):
        modules = faults.SHAPING.module
        raise PlatformError(f"faults of links need {modules}", hint=modprobe(modules))
    if Netem in queues and not features.works(faults.NETEM):
        raise PlatformError(
            "delay, loss and the like need netem, which this kernel lacks",
            hint=f"{modprobe(faults.NETEM.module)}; a rate alone works without it",
        )


def _components(cluster: Cluster) -> set[str]:
    """The real programs that the lab's own agent will run, and what makes their files."""
    programs = set()
    if cluster.ingress_controller is not None:
        programs |= {"nginx", "openssl"}
    if cluster.api_server is not None:
        programs.add("openssl")
    if cluster.network.dns.enabled and cluster.network.dns.server == "coredns":
        programs.add("coredns")
    load_balancer = cluster.network.load_balancer
    if load_balancer is not None and load_balancer.mode in _BALANCERS:
        programs.add(_BALANCERS[load_balancer.mode])
    return programs


def balancer_fallback(cluster: Cluster) -> str:
    """Why `loadBalancer: {mode: bgp}` can't be had here, so that l2 must do; empty if it can."""
    options = cluster.network.load_balancer
    if options is None or options.mode != "bgp":
        return ""
    try:
        processes.which("bird")
    except PlatformError as error:
        return f"{error.message} ({error.hint})"
    if not _MULTIPATH.exists():
        return "this kernel has no multipath routes (CONFIG_IP_ROUTE_MULTIPATH)"
    return ""


def nfacct_use(cluster: Cluster) -> NfacctUse | None:
    """What `nfacct: auto` comes to here; None: the file says it, or it is no matter of the mode."""
    options = cluster.network.kube_proxy
    if options.mode is not ProxyMode.IPTABLES or options.version < NFACCT_SINCE:
        return None
    if options.nfacct is not NfacctUse.AUTO:
        return None
    return NfacctUse.ON if nfacct.support() is NfacctSupport.WHOLE else NfacctUse.OFF


def _require_nfacct(options: KubeProxyOptions) -> None:
    """The file's `nfacct: on`."""
    wanted = options.mode is ProxyMode.IPTABLES and options.nfacct is NfacctUse.ON
    if wanted and nfacct.support() is not NfacctSupport.WHOLE:
        modules = "nfnetlink_acct xt_nfacct"
        raise PlatformError(
            f"kubeProxy: {{nfacct: on}} needs what this kernel lacks: {modules}",
            hint=f"{modprobe(modules)}; or `nfacct: auto`",
        )


def _require_bridge_netfilter(state: HostState) -> None:
    """Load br_netfilter where it is a module, and keep the host's own bridges as they were.

    A netns has the sysctls once the module is there. In the host's root netns the module turns
    bridge-nf-call-iptables on, which would send the host's bridged packets through its rules.
    """
    wanted = any(
        sysctl.key.startswith("bridge/") for space in state.netns for sysctl in space.sysctls
    )
    if not wanted or _BRIDGE_NF.is_dir():
        return
    with contextlib.suppress(PlatformError):
        processes.run(["modprobe", "br_netfilter"], timeout=20)
    if not _BRIDGE_NF.is_dir():
        raise PlatformError(
            "this kernel has no bridge netfilter: pods of one node could not use services",
            hint="modprobe br_netfilter",
        )
    for file in _BRIDGE_NF.glob("bridge-nf-call-*"):
        file.write_text("0", encoding="ascii")
