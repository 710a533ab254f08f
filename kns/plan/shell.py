"""Each op as the shell command that does the same by hand, and in one line of words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from shlex import quote
from typing import assert_never

from kns.addresses import IPFamily
from kns.plan.here_document import fed
from kns.plan.ops import (
    Add,
    Change,
    CleanConntrack,
    CreateNetns,
    Delete,
    DeleteAccounting,
    DeleteNetns,
    Entry,
    LoadNft,
    Op,
    Replace,
    RestoreIpsets,
    RestoreIptables,
    RuleOp,
    SetVirtualServers,
    Undo,
    VethPair,
    Write,
)
from kns.state import iptables, ipvs, nft, traffic
from kns.state.iptables import TableChange
from kns.state.model import (
    Address,
    Bridge,
    Dummy,
    FdbEntry,
    IpvsTimeouts,
    Link,
    Loopback,
    Neighbor,
    NextHop,
    PolicyRule,
    Route,
    RouteType,
    Stray,
    VethPeer,
    Vxlan,
)
from kns.state.traffic import Shaper

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
    keys = {op.sysctl.key for op in ops if isinstance(op, Write)}
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
        case Write():
            setting = quote(f"net/{op.sysctl.key}={op.sysctl.value}")
            yield f"ip netns exec {quote(op.netns)} sysctl -qw {setting}"
        case Add() | Delete() | Replace():
            yield from _item_commands(op)
        case Change():
            yield from _change_link(op)
        case Undo():
            program, _, words = op.deviation.command.partition(" ")
            if op.deviation.message:
                yield f"{program} -n {quote(op.netns)} {words}"
            else:
                yield f"ip netns exec {quote(op.netns)} {op.deviation.command}"
        case _:
            yield from _rule_commands(op)


def _item_commands(op: Add | Delete | Replace) -> Iterator[str]:
    match op:
        case Add(item=Shaper() as shaper) | Replace(item=Shaper() as shaper):
            before = op.before if isinstance(op, Replace) else None
            lines = traffic.commands(before, shaper)
            yield from (f"tc -n {quote(op.netns)} {line}" for line in lines)
        case Add():
            yield _add(op.netns, op.item)
        case Delete():
            yield _delete(op.netns, op.item)
        case Replace():
            yield _replace(op.netns, op.item)
        case _:
            assert_never(op)


# -- links -----------------------------------------------------------------------------------------


def _add(netns: str, item: Link | VethPair | Entry) -> str:
    match item:
        case Link():
            return f"ip -n {quote(netns)} link add {_new_link(item)}"
        case VethPair():
            link, peer = item.link, item.peer
            master = f" master {quote(link.master)}" if link.master else ""
            return (
                f"ip -n {quote(netns)} link add {quote(link.name)} address {link.mac}"
                f" mtu {link.mtu}{master} up type veth"
                f" peer name {quote(peer.name)} address {peer.mac} mtu {peer.mtu}"
                f" netns {quote(item.peer_netns)}"
            )
        case _:
            return _add_entry(netns, item)


def _new_link(link: Link) -> str:
    mac = f" address {link.mac}" if link.mac else ""
    words = f"{quote(link.name)}{mac} mtu {link.mtu} type {link.kind.type}"
    match link.kind:
        case Bridge() | Dummy():
            return words
        case Vxlan() as kind:
            return (
                f"{words} id {kind.vni}"
                f" local {kind.local} dev {quote(kind.device)} dstport {kind.port} nolearning"
            )
        case Loopback() | VethPeer() | Stray():
            raise TypeError(f"{link.name} is not made on its own")
        case _:
            assert_never(link.kind)


def _change_link(op: Change) -> Iterator[str]:
    link = op.link
    words: list[str] = []
    if "mtu" in op.fields:
        words.append(f"mtu {link.mtu}")
    if "mac" in op.fields and link.mac:
        words.append(f"address {link.mac}")
    if "alias" in op.fields:
        words.append(f"alias {quote(link.alias)}")
    if "master" in op.fields:
        words.append(f"master {quote(link.master)}" if link.master else "nomaster")
    if "up" in op.fields:
        words.append("up" if link.up else "down")
    if words:
        yield f"ip -n {quote(op.netns)} link set {quote(link.name)} {' '.join(words)}"
    if "hairpin" in op.fields and link.master:
        mode = "on" if link.hairpin else "off"
        yield f"bridge -n {quote(op.netns)} link set dev {quote(link.name)} hairpin {mode}"


def _delete(netns: str, item: Link | Entry) -> str:
    if isinstance(item, Link):
        return f"ip -n {quote(netns)} link delete {quote(item.name)}"
    return _delete_entry(netns, item)


def _replace(netns: str, item: Route | Shaper) -> str:
    if isinstance(item, Shaper):
        return _shaper_words(item)
    return f"ip -n {quote(netns)} route replace {route_text(item)}"


def _shaper_words(shaper: Shaper) -> str:
    queues = ", ".join(traffic.queue_words(part.queue) for part in shaper.classes)
    return f"tc on {shaper.ifname}: {queues}"


# -- addresses, routes, neighbors ------------------------------------------------------------------


def _add_entry(netns: str, item: Entry) -> str:
    match item:
        case Address():
            nodad = " nodad" if item.interface.version == 6 else ""
            return f"ip -n {quote(netns)} addr add {item.interface} dev {quote(item.ifname)}{nodad}"
        case Route():
            return f"ip -n {quote(netns)} route add {route_text(item)}"
        case PolicyRule():
            return f"ip -n {quote(netns)}{_family(item.family)} rule add {_rule(item)}"
        case Neighbor():
            where = f"dev {quote(item.ifname)} nud permanent"
            return f"ip -n {quote(netns)} neigh replace {item.address} lladdr {item.mac} {where}"
        case FdbEntry():
            where = f"dev {quote(item.ifname)} dst {item.destination} self permanent"
            return f"bridge -n {quote(netns)} fdb replace {item.mac} {where}"
        case Shaper():
            return _shaper_words(item)
        case _:
            assert_never(item)


def _delete_entry(netns: str, item: Entry) -> str:
    match item:
        case Address():
            return f"ip -n {quote(netns)} addr del {item.interface} dev {quote(item.ifname)}"
        case Route():
            return f"ip -n {quote(netns)} route del {route_text(item)}"
        case PolicyRule():
            return f"ip -n {quote(netns)}{_family(item.family)} rule del {_rule(item)}"
        case Neighbor():
            return f"ip -n {quote(netns)} neigh del {item.address} dev {quote(item.ifname)}"
        case FdbEntry():
            where = f"dev {quote(item.ifname)} dst {item.destination}"
            return f"bridge -n {quote(netns)} fdb del {item.mac} {where}"
        case Shaper():
            return f"tc -n {quote(netns)} qdisc del dev {quote(item.ifname)} root"
        case _:
            assert_never(item)


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


def _rule_commands(op: RuleOp) -> Iterator[str]:
    netns = f"ip netns exec {quote(op.netns)}"
    match op:
        case RestoreIptables():
            program = "ip6tables-restore" if op.family is IPFamily.IPV6 else "iptables-restore"
            for name in iptables.accounting_objects(op.changes):
                # refused where it is there already
                yield f"{netns} nfacct add {quote(name)} 2>/dev/null || true"
            text = iptables.restore_text(op.changes)
            yield fed(f"{netns} {program} -w --noflush --counters", text)
        case RestoreIpsets():
            yield fed(f"{netns} ipset restore", op.text)
        case LoadNft():
            change = nft.change(op.observed, op.desired)
            yield fed(f"{netns} nft -f -", change.whole)
        case SetVirtualServers():
            if op.timeouts != IpvsTimeouts():
                yield f"{netns} {ipvs.timeouts_command(op.timeouts)}"
            for step in ipvs.steps(op.desired, op.observed, op.exclude):
                yield f"{netns} {ipvs.command(step)}"
        case DeleteAccounting():
            yield from (f"{netns} nfacct del {quote(name)}" for name in op.names)
        case CleanConntrack():
            yield from _conntrack_commands(op)
        case _:
            assert_never(op)


def _conntrack_commands(op: CleanConntrack) -> Iterator[str]:
    """By hand all UDP entries of a flow go: conntrack(8) can't say "unless sent to one of"."""
    for flow in op.flows:
        where = f"--orig-dst {flow.address} " if flow.address is not None else ""
        delete = f"conntrack -D -p udp {where}--orig-port-dst {flow.port}"
        yield f"ip netns exec {quote(op.netns)} {delete} 2>/dev/null || true"


# -- words -----------------------------------------------------------------------------------------


def describe(op: Op) -> str:
    """The op in one line, without its netns: what it does, to what."""
    match op:
        case CreateNetns():
            return "create netns"
        case DeleteNetns():
            return "delete netns"
        case Write():
            return f"sysctl net.{op.sysctl.key.replace('/', '.')} = {op.sysctl.value}"
        case Add():
            return _describe_added(op)
        case Change():
            return f"set {op.link.name} {_changes(op)}"
        case Delete():
            if isinstance(op.item, Link):
                return f"delete link {op.item.name}"
            return _without_netns(_delete_entry(op.netns, op.item), op.netns)
        case Replace():
            return _without_netns(_replace(op.netns, op.item), op.netns)
        case Undo():
            return op.deviation.command.removeprefix("ip ")
        case _:
            return _describe_rules(op)


def _describe_added(op: Add) -> str:
    match op.item:
        case Link():
            return f"create {op.item.kind.type} {op.item.name}"
        case VethPair() as pair:
            return f"create veth {pair.link.name} – {pair.peer_netns} {pair.peer.name}"
        case _:
            return _without_netns(_add_entry(op.netns, op.item), op.netns)


def _without_netns(command: str, netns: str) -> str:
    return command.replace(f" -n {quote(netns)}", "", 1).removeprefix("ip ")


def _changes(op: Change) -> str:
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


def _describe_rules(op: RuleOp) -> str:
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
        case DeleteAccounting():
            return f"nfacct: remove {', '.join(op.names)}"
        case CleanConntrack():
            return "conntrack: drop UDP entries of vanished endpoints"
        case _:
            assert_never(op)


def _describe_table(change: TableChange) -> str:
    if change.fresh:
        return f"write table {change.table.name}"
    shown = [*change.write, *(f"-{name}" for name in change.remove)]
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return f"{change.table.name} {', '.join(shown[:4])}{more}"
