"""`kns status` as text and as JSON."""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.engine.status import LabStatus
from kns.kinds.fault_words import fault_words
from kns.report.rule_words import wrapped_lines
from kns.report.words import cluster_size, counted

#: LoadBalancer addresses on one line
ADDRESSES_SHOWN = 5


def status_text(status: LabStatus, width: int | None = None) -> str:
    """What there is, whether it is as the file says, and what `up` would change.

    With a width, what goes on in the next line stands further in than where it began.
    """
    cluster = status.lab.cluster
    lines = [
        f"{status.lab.name}: {'healthy' if status.healthy else 'not as its file says'}",
        f"  cluster  {cluster_size(cluster)}, kube-proxy {_kube_proxy(cluster)}",
        f"  kernel   {status.netns} netns, {_drift_size(status)}",
        f"  agent    {_agent(status)}",
        *_balancer(status),
        *_faults(status),
    ]
    if status.changed:
        lines += ["changed since kns up, which goes back to the file:"]
        lines += [f"  {line}" for line in status.changed]
    if left_out := _left_out(status):
        lines += ["left out, and tried again with each change:"]
        lines += [f"  {line}" for line in left_out]
    if status.drift:
        lines += ["drift, and what kns up does about it:"]
        lines += [f"  {line}" for line in status.drift]
    lines += [f"server error: {line}" for line in _errors(status)]
    return wrapped_lines(lines, width)


def _kube_proxy(cluster: Cluster) -> str:
    options = cluster.network.kube_proxy
    return f"{options.version} in {options.mode} mode"


def _drift_size(status: LabStatus) -> str:
    return counted(len(status.drift), "difference") if status.drift else "no difference"


def _agent(status: LabStatus) -> str:
    if status.agent_pid is None:
        return "not running: nobody serves the pods' ports, the network itself goes on"
    if status.agent is None:
        return f"pid {status.agent_pid}: {status.agent_error}"
    servers = counted(len(status.agent.listeners), "server")
    return f"pid {status.agent_pid}, {servers}, {status.agent.rss_kb // 1024} MB"


def _balancer(status: LabStatus) -> list[str]:
    """Which nodes take the packets for the first LoadBalancer addresses."""
    options = status.lab.cluster.network.load_balancer
    if options is None or status.agent is None or not status.agent.addresses:
        return []
    addresses = status.agent.addresses
    shown = [f"{address} at {', '.join(nodes)}" for address, nodes in addresses.items()]
    more = [f"and {len(shown) - ADDRESSES_SHOWN} more"] if len(shown) > ADDRESSES_SHOWN else []
    return [f"  balancer {options.mode}: {'; '.join((*shown[:ADDRESSES_SHOWN], *more))}"]


def _faults(status: LabStatus) -> list[str]:
    """What is broken on purpose."""
    words = "; ".join(fault_words(status.lab.cluster.faults.written))
    return [f"  faults   {words}"] if words else []


def _errors(status: LabStatus) -> list[str]:
    errors = status.agent.errors if status.agent is not None else ()
    return [f"{item.subject}: {item.message}" for item in errors]


def _left_out(status: LabStatus) -> list[str]:
    """Objects that are written, and can't be had."""
    found = status.agent.left_out if status.agent is not None else ()
    return [f"{item.subject}: {item.message}" for item in found]


def status_json(status: LabStatus) -> dict[str, object]:
    """The same: `{"lab", "healthy", "proxy_mode", …, "drift": [line], "agent": {…}}`."""
    cluster, agent = status.lab.cluster, status.agent
    return {
        "lab": status.lab.name,
        "healthy": status.healthy,
        "proxy_mode": str(cluster.network.kube_proxy.mode),
        "kube_proxy_version": str(cluster.network.kube_proxy.version),
        "nodes": len(cluster.nodes),
        "pods": len(cluster.pods),
        "services": len(cluster.services),
        "netns": status.netns,
        "faults": cluster.faults.written.to_document(),
        "changed": list(status.changed),
        "left_out": _left_out(status),
        "drift": list(status.drift),
        "agent": {
            "running": status.agent_pid is not None,
            "pid": status.agent_pid,
            "servers": len(agent.listeners) if agent is not None else None,
            "rss_kb": agent.rss_kb if agent is not None else None,
            "addresses": agent.addresses if agent is not None else {},
            "errors": _errors(status),
        },
    }
