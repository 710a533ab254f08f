"""The real programs of a lab: containers with a command, BIRD, HAProxy, CoreDNS, nginx. Pure.

Each is a container to the agent: started in its netns, watched, started again, stopped. A
component's configuration is a file that follows the cluster; a change of it is a reload, not a
restart, so that no connection is lost.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

from kns.cluster.api_server import account_of
from kns.cluster.model import Cluster
from kns.cluster.podfiles import pod_hostname
from kns.compile import names
from kns.compile.load_balancer import CLOUD_LB, has_cloud_lb, mode
from kns.compile.name_servers import DNS_CONTAINER, is_name_server, runs_coredns
from kns.compile.paths import LabPaths
from kns.compile.programs import bird, haproxy, nginx
from kns.compile.programs.corefile import COREFILE, coredns_files
from kns.compile.programs.program import Program, own_variables

#: the component of an Ingress controller's container
NGINX = "nginx"


def programs(cluster: Cluster) -> tuple[Program, ...]:
    """The programs of a lab: first its containers', then its components'."""
    return (*_commands(cluster), *_components(cluster))


def _commands(cluster: Cluster) -> Iterator[Program]:
    """The containers with a command."""
    for pod in cluster.pods:
        for container in pod.containers:
            if not container.command or container.component:
                continue
            if runs_coredns(cluster) and is_name_server(pod, container):
                continue
            yield Program(
                key=f"{cluster.name}/{pod.namespace}/{pod.name}/{container.name}",
                netns=names.netns_with(cluster.name, pod),
                name=container.name,
                command=container.command,
                hostname=pod_hostname(pod),
                env=own_variables(container),
                etc=names.etc_with(cluster.name, pod),
                account=account_of(cluster, pod),
            )


def _components(cluster: Cluster) -> Iterator[Program]:
    if mode(cluster) == "bgp":
        yield _bird(
            cluster, "fabric", names.fabric_netns(cluster.name), bird.router_config(cluster)
        )
        for node in cluster.nodes:
            netns = names.netns_of_node(cluster.name, node.name)
            yield _bird(cluster, node.name, netns, bird.node_config(cluster, node))
    if has_cloud_lb(cluster):
        yield _haproxy(cluster)
    if runs_coredns(cluster):
        yield from _coredns(cluster)
    yield from _ingress_controllers(cluster)


def _bird(cluster: Cluster, host: str, netns: str, config: str) -> Program:
    folder = LabPaths(cluster.name).component(f"bird.{host}")
    file = str(folder / "bird.conf")
    return Program(
        key=f"{cluster.name}/-/{host}/bird",
        netns=netns,
        name="bird",
        command=("bird", "-f", "-c", file, "-s", str(folder / "bird.ctl")),
        hostname=host,
        files=((file, config),),
        reload_signal=signal.SIGHUP,
    )


def _haproxy(cluster: Cluster) -> Program:
    folder = LabPaths(cluster.name).component("haproxy")
    file = str(folder / "haproxy.cfg")
    return Program(
        key=f"{cluster.name}/-/{CLOUD_LB}/haproxy",
        netns=names.netns_of_internet(cluster.name, CLOUD_LB),
        name="haproxy",
        # -W: a master that starts new workers on SIGUSR2 and lets the old ones finish
        command=("haproxy", "-W", "-db", "-f", file),
        hostname=CLOUD_LB,
        files=((file, haproxy.config(cluster)),),
        reload_signal=signal.SIGUSR2,
    )


def _coredns(cluster: Cluster) -> Iterator[Program]:
    """CoreDNS in each DNS pod, in place of the built-in server."""
    for pod in cluster.pods:
        if not any(is_name_server(pod, container) for container in pod.containers):
            continue
        # a folder each: every process must see by itself that its files have changed
        folder = LabPaths(cluster.name).component(f"coredns.{pod.name}")
        files = coredns_files(cluster, str(folder))
        yield Program(
            key=f"{cluster.name}/{pod.namespace}/{pod.name}/{DNS_CONTAINER}",
            netns=names.netns_with(cluster.name, pod),
            name=DNS_CONTAINER,
            command=("coredns", "-conf", str(folder / COREFILE)),
            hostname=pod_hostname(pod),
            files=tuple((str(folder / name), text) for name, text in files.items()),
            reload_signal=signal.SIGUSR1,
        )


def _ingress_controllers(cluster: Cluster) -> Iterator[Program]:
    """nginx in each pod of the Ingress controller."""
    paths = LabPaths(cluster.name)
    for pod in cluster.pods:
        for container in pod.containers:
            if container.component != NGINX:
                continue
            folder = paths.component(f"nginx.{pod.name}")
            file = str(folder / "nginx.conf")
            text = nginx.config(cluster, pod, nginx.Folders(folder, paths.tls))
            yield Program(
                key=f"{cluster.name}/{pod.namespace}/{pod.name}/{container.name}",
                netns=names.netns_with(cluster.name, pod),
                name=container.name,
                command=("nginx", "-e", "stderr", "-p", str(folder), "-c", file),
                hostname=pod_hostname(pod),
                files=((file, text),),
                reload_signal=signal.SIGHUP,
                listens=tuple(port.port for port in container.ports),
            )
