"""`kns render`: kube-proxy's rules for Kubernetes objects, without a cluster and without root."""

from __future__ import annotations

from typing import Any

import click

from kns.addresses import IPFamily
from kns.cli.kube_proxy_flags import (
    KubeProxyCommand,
    addresses,
    kube_proxy_flags,
    kube_proxy_options,
)
from kns.cli.object_files import contents
from kns.cli.output import print_text
from kns.cli.streams import say_problems
from kns.cluster.manifests import load_objects
from kns.compile.proxy.by_mode import proxy
from kns.compile.proxy.host import as_host
from kns.errors import UsageError
from kns.kinds.load import is_lab_text
from kns.kinds.networking import NfacctUse, ProxyMode
from kns.kinds.nft_refusals import refused_rules
from kns.kinds.node import Node
from kns.kinds.release import NEWEST, Release

FAMILIES = {"ipv4": IPFamily.IPV4, "ipv6": IPFamily.IPV6}


@click.command(cls=KubeProxyCommand)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--node", "--hostname-override", default="", metavar="NAME", help="A Node of FILE; required."
)
@click.option(
    "--proxy-mode",
    type=click.Choice([str(mode) for mode in ProxyMode]),
    default=str(ProxyMode.IPTABLES),
    show_default=True,
    help="kube-proxy's mode.",
)
@click.option(
    "--kube-proxy-version",
    type=click.Choice([str(release) for release in Release]),
    default=str(NEWEST),
    show_default=True,
    help="kube-proxy's release.",
)
@click.option(
    "--nfacct",
    type=click.Choice([str(use) for use in NfacctUse]),
    default=str(NfacctUse.AUTO),
    show_default=True,
    help="on: count packets as kube-proxy does where the kernel can (iptables, since 1.31).",
)
@click.option(
    "--family",
    type=click.Choice(list(FAMILIES)),
    help="One family's rules; default ipv4 (iptables) or both (nftables, ipvs).",
)
@click.option(
    "--host-address",
    callback=addresses,
    multiple=True,
    metavar="IP,...",
    help="A further address of the node, which the Node object does not tell.",
)
@kube_proxy_flags
def command(files: tuple[str, ...], **flags: Any) -> None:
    """Print the rules kube-proxy would write on a node for these Kubernetes objects.

    FILE is what `kubectl get svc,endpointslices,nodes,servicecidrs -A -o yaml` (or json) prints;
    `-` is stdin. The output loads into an empty netns: by iptables-restore or ip6tables-restore, or
    by `nft -f`; for ipvs each part by the program in its comment line. The first line says of which
    release the rules are. The options below are kube-proxy's own.
    """
    mode, release = ProxyMode(flags["proxy_mode"]), Release(flags["kube_proxy_version"])
    options = kube_proxy_options(flags, mode, release)
    read = contents(files)
    _refuse_labs(read)
    objects = load_objects(read)
    say_problems(objects.warnings)
    say_problems(tuple(refused_rules(", ".join(files), objects.services, options)))
    node = as_host(_node(objects.nodes, flags["node"]), options, flags["host_address"])
    writer = proxy(mode)
    family = flags["family"]
    families = writer.RENDERED_FAMILIES if family is None else (FAMILIES[family],)
    print_text(f"# kube-proxy {release}, {mode} mode, node {node.name}\n")
    print_text(writer.render(objects, node, options, families))


def _refuse_labs(files: list[tuple[str, bytes]]) -> None:
    """UsageError for a lab file: nobody has allotted the addresses yet that rules are made of."""
    for name, content in files:
        if is_lab_text(content, name):
            hint = (
                f"kns script {name} has the rules of all its nodes; of one: kns up, kns rules NODE"
            )
            raise UsageError(f"{name} is a lab file, not what kubectl get prints", hint=hint)


def _node(nodes: tuple[Node, ...], name: str) -> Node:
    node = next((node for node in nodes if node.name == name), None)
    if node is not None:
        return node
    names = ", ".join(node.name for node in nodes)
    hint = (
        f"nodes in the files: {names}" if names else "add what `kubectl get nodes -o yaml` prints"
    )
    if not name:
        raise UsageError("the rules of which node? --node is missing", hint=hint)
    raise UsageError(f"there is no node {name!r} in the files", hint=hint)
