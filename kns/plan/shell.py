"""Each op as the shell command that does the same by hand, and in one line of words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from shlex import quote
from typing import assert_never

from kns.addresses import IPFamily
from kns.plan import iptables_text, ipvs, ipvs_text, nft_text
from kns.plan.ops import (
    AddAddress,
    AddFdb,
    AddNeighbor,
    AddRoute,
    AddRule,
    ChangeLink,
    CleanConntrack,
    CreateLink,
    CreateNetns,
    CreateVeth,
    DeleteAddress,
    DeleteFdb,
    DeleteLink,
    DeleteNeighbor,
    DeleteNetns,
    DeleteRoute,
    DeleteRule,
    LoadNft,
    Op,
    RestoreIpsets,
    RestoreIptables,
    SetVirtualServers,
    TableChange,
    WriteSysctl,
)
from kns.state.model import (
    Bridge,
    Dummy,
    IpvsTimeouts,
    Link,
    Loopback,
    NextHop,
    PolicyRule,
    Route,
    RouteType,
    Veth,
    Vxlan,
)

#: folders of /proc/sys/net that a module brings
_SYSCTL_MODULES = {"bridge": "br_netfilter", "ipv4/vs": "ip_vs"}


def script(ops: Iterable[Op]) -> str:
    """A POSIX shell script that carries out the ops; it stops at the first that fails."""
    every = tuple(ops)
    body = (command for op in every for command in commands(op))
    lines = ["#!/bin/sh", "set -eu", *_modules(every), *body]
    return "\n".join(lines) + "\n"


def _modules(ops: Iterable[Op]) -> Iterator[str]:
    """Load the modules whose sysctls are written; all others are loaded by their first use."""
    keys = {op.sysctl.key for op in ops if isinstance(op, WriteSysctl)}
    for folder, module in _SYSCTL_MODULES.items():
        if any(key.startswith(f"{folder}/") for key in keys):
            yield f"[ -d /proc/sys/net/{folder} ] || modprobe {module}"


def commands(op: Op) -> Iterator[str]:
    """The commands that do the same as the op."""
    match op:
        case CreateNetns():
            yield f"ip netns add {quote(op.netns)}"
        case DeleteNetns():
            yield f"ip netns delete {quote(op.netns)}"
        case WriteSysctl():
            setting = quote(f"net/{op.sysctl.key}={op.sysctl.value}")
            yield f"ip netns exec {quote(op.netns)} sysctl -qw {setting}"
        case CreateLink() | CreateVeth() | ChangeLink() | DeleteLink():
            yield from _link_commands(op)
        case RestoreIptables() | RestoreIpsets() | LoadNft() | SetVirtualServers():
            yield from _rule_commands(op)
        case CleanConntrack():
            yield from _conntrack_commands(op)
        case _:
            yield _layer3_command(op)


# -- links -----------------------------------------------------------------------------------------


def _link_commands(op: CreateLink | CreateVeth | ChangeLink | DeleteLink) -> Iterator[str]:
    match op:
        case CreateLink():
            yield f"ip -n {quote(op.netns)} link add {_new_link(op.link)}"
        case CreateVeth():
            master = f" master {quote(op.link.master)}" if op.link.master else ""
            yield (
                f"ip -n {quote(op.netns)} link add {quote(op.link.name)} address {op.link.mac}"
                f" mtu {op.link.mtu}{master} up type veth"
                f" peer name {quote(op.peer.name)} address {op.peer.mac} mtu {op.peer.mtu}"
                f" netns {quote(op.peer_netns)}"
            )
        case ChangeLink():
            yield from _change_link(op)
        case DeleteLink():
            yield f"ip -n {quote(op.netns)} link delete {quote(op.ifname)}"


def _new_link(link: Link) -> str:
    match link:
        case Bridge():
            return f"{quote(link.name)} address {link.mac} mtu {link.mtu} type bridge"
        case Dummy():
            mac = f" address {link.mac}" if link.mac else ""
            return f"{quote(link.name)}{mac} mtu {link.mtu} type dummy"
        case Vxlan():
            return (
                f"{quote(link.name)} address {link.mac} mtu {link.mtu} type vxlan id {link.vni}"
                f" local {link.local} dev {quote(link.device)} dstport {link.port} nolearning"
            )
        case Loopback() | Veth():
            msg = f"{link.name} is not made on its own"
            raise TypeError(msg)
        case _:
            assert_never(link)


def _change_link(op: ChangeLink) -> Iterator[str]:
    link = op.link
    words: list[str] = []
    if not isinstance(link, Loopback):
        if "mtu" in op.fields:
            words.append(f"mtu {link.mtu}")
        if "mac" in op.fields and link.mac:
            words.append(f"address {link.mac}")
        if "alias" in op.fields:
            words.append(f"alias {quote(link.alias)}")
    if isinstance(link, Veth) and "master" in op.fields:
        words.append(f"master {quote(link.master)}" if link.master else "nomaster")
    if "up" in op.fields:
        words.append("up" if link.up else "down")
    if words:
        yield f"ip -n {quote(op.netns)} link set {quote(link.name)} {' '.join(words)}"
    if isinstance(link, Veth) and "hairpin" in op.fields and link.master:
        mode = "on" if link.hairpin else "off"
        yield f"bridge -n {quote(op.netns)} link set dev {quote(link.name)} hairpin {mode}"


# -- addresses, routes, neighbors ------------------------------------------------------------------


def _layer3_command(op: Op) -> str:
    netns = f"-n {quote(op.netns)}"
    match op:
        case AddAddress():
            nodad = " nodad" if op.address.interface.version == 6 else ""
            return (
                f"ip {netns} addr add {op.address.interface} dev {quote(op.address.ifname)}{nodad}"
            )
        case DeleteAddress():
            return f"ip {netns} addr del {op.address.interface} dev {quote(op.address.ifname)}"
        case AddRoute():
            return f"ip {netns} route add {route_text(op.route)}"
        case DeleteRoute():
            return f"ip {netns} route del {route_text(op.route)}"
        case AddRule():
            return f"ip {netns}{_family(op.rule.family)} rule add {_rule(op.rule)}"
        case DeleteRule():
            return f"ip {netns}{_family(op.rule.family)} rule del {_rule(op.rule)}"
        case _:
            return _neighbor_command(op, netns)


def _neighbor_command(op: Op, netns: str) -> str:
    match op:
        case AddNeighbor():
            item = op.neighbor
            return (
                f"ip {netns} neigh replace {item.address} lladdr {item.mac}"
                f" dev {quote(item.ifname)} nud permanent"
            )
        case DeleteNeighbor():
            return f"ip {netns} neigh del {op.neighbor.address} dev {quote(op.neighbor.ifname)}"
        case AddFdb():
            entry = op.entry
            where = f"dev {quote(entry.ifname)} dst {entry.destination} self permanent"
            return f"bridge {netns} fdb replace {entry.mac} {where}"
        case DeleteFdb():
            entry = op.entry
            where = f"dev {quote(entry.ifname)} dst {entry.destination}"
            return f"bridge {netns} fdb del {entry.mac} {where}"
        case _:
            msg = f"no command for {op}"
            raise TypeError(msg)


def _family(family: IPFamily) -> str:
    return " -6" if family is IPFamily.IPV6 else ""


def route_text(route: Route) -> str:
    """A route as `ip route add` takes it."""
    words = [] if route.type is RouteType.UNICAST else [route.type.value]
    words.append(str(route.destination))
    if len(route.hops) == 1:
        words.append(_hop(route.hops[0]))
    else:
        words += [f"nexthop {_hop(hop)}" for hop in route.hops]
    if route.source is not None:
        words.append(f"src {route.source}")
    if route.table != 254:
        words.append(f"table {route.table}")
    if route.metric:
        words.append(f"metric {route.metric}")
    return " ".join(words)


def _hop(hop: NextHop) -> str:
    words = [f"via {hop.gateway}"] if hop.gateway is not None else []
    if hop.ifname:
        words.append(f"dev {quote(hop.ifname)}")
    if hop.onlink:
        words.append("onlink")
    return " ".join(words)


def _rule(rule: PolicyRule) -> str:
    words = [f"priority {rule.priority}"]
    if rule.source is not None:
        words.append(f"from {rule.source}")
    if rule.destination is not None:
        words.append(f"to {rule.destination}")
    if rule.mark:
        words.append(f"fwmark {rule.mark:#x}")
    return " ".join([*words, f"table {rule.table}"])


# -- rules -----------------------------------------------------------------------------------------


def _rule_commands(
    op: RestoreIptables | RestoreIpsets | LoadNft | SetVirtualServers,
) -> Iterator[str]:
    netns = f"ip netns exec {quote(op.netns)}"
    match op:
        case RestoreIptables():
            program = "ip6tables-restore" if op.family is IPFamily.IPV6 else "iptables-restore"
            text = iptables_text.restore_text(op.changes)
            yield _fed(f"{netns} {program} -w 5 --noflush --counters", text)
        case RestoreIpsets():
            yield _fed(f"{netns} ipset restore", op.text)
        case LoadNft():
            change = nft_text.change(op.observed, op.desired)
            yield _fed(f"{netns} nft -f -", change.text + change.cleanup)
        case SetVirtualServers():
            if op.timeouts != IpvsTimeouts():
                yield f"{netns} {ipvs_text.timeouts_command(op.timeouts)}"
            for step in ipvs.steps(op.desired, op.observed, op.exclude):
                yield f"{netns} {ipvs_text.command(step)}"


def _conntrack_commands(op: CleanConntrack) -> Iterator[str]:
    """By hand all UDP entries of a service go: conntrack(8) can't say "unless sent to one of"."""
    for flow in op.flows:
        where = f"--orig-dst {flow.address} " if flow.address is not None else ""
        delete = f"conntrack -D -p udp {where}--orig-port-dst {flow.port}"
        yield f"ip netns exec {quote(op.netns)} {delete} 2>/dev/null || true"


def _fed(command: str, text: str) -> str:
    end = "END"
    while end in text.splitlines():  # a here-document ends at the first such line
        end += "_"
    return f"{command} <<'{end}'\n{text}{end}"


# -- words -----------------------------------------------------------------------------------------


def describe(op: Op) -> str:
    """The op in one line, without its netns: what it does, to what."""
    match op:
        case CreateNetns():
            return "create netns"
        case DeleteNetns():
            return "delete netns"
        case CreateLink():
            return f"create {type(op.link).__name__.lower()} {op.link.name}"
        case CreateVeth():
            return f"create veth {op.link.name} – {op.peer_netns} {op.peer.name}"
        case ChangeLink():
            return f"set {op.link.name} {_changes(op)}"
        case DeleteLink():
            return f"delete link {op.ifname}"
        case WriteSysctl():
            return f"sysctl net.{op.sysctl.key.replace('/', '.')} = {op.sysctl.value}"
        case RestoreIptables() | RestoreIpsets() | LoadNft() | SetVirtualServers():
            return _describe_rules(op)
        case CleanConntrack():
            return "conntrack: drop UDP entries of vanished endpoints"
        case _:
            return _layer3_command(op).replace(f" -n {quote(op.netns)}", "", 1).removeprefix("ip ")


def _changes(op: ChangeLink) -> str:
    words = []
    for name in op.fields:
        value = getattr(op.link, name)
        if name == "up":
            words.append("up" if value else "down")
        elif name == "hairpin":
            words.append(f"hairpin {'on' if value else 'off'}")
        else:
            words.append(f"{name} {value or 'none'}")
    return ", ".join(words)


def _describe_rules(op: RestoreIptables | RestoreIpsets | LoadNft | SetVirtualServers) -> str:
    match op:
        case RestoreIptables():
            program = "ip6tables" if op.family is IPFamily.IPV6 else "iptables"
            return f"{program}: {'; '.join(_describe_table(change) for change in op.changes)}"
        case RestoreIpsets():
            return f"ipset: {op.text.count(chr(10))} changes"
        case LoadNft():
            family = "ip6" if op.family is IPFamily.IPV6 else "ip"
            verb = "remove" if op.desired is None else "write"
            return f"nft: {verb} table {family} {op.name}"
        case SetVirtualServers():
            changes = len(ipvs.steps(op.desired, op.observed, op.exclude))
            return f"ipvs: {changes} changes to {len(op.desired)} virtual servers"


def _describe_table(change: TableChange) -> str:
    if change.fresh:
        return f"write table {change.table.name}"
    shown = [*change.write, *(f"-{name}" for name in change.remove)]
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return f"{change.table.name} {', '.join(shown[:4])}{more}"
