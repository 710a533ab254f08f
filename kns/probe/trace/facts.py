"""What the kernel answers when it is asked why a packet went, or did not go, where it did."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from kns.addresses import IPFamily
from kns.errors import KnsError
from kns.kernel import netns, nftrace, processes
from kns.kernel.nftrace import NFPROTO_IPV4, NFPROTO_IPV6, ChainRules
from kns.kernel.processes import Context
from kns.probe.trace.model import ChainKey
from kns.probe.trace.packet import IPAddress
from kns.probe.trace.rules import Ruleset
from kns.probe.trace.stitch import Kernel, LinkLookup, RouteLookup
from kns.state.iptables import SAVE, parse_save
from kns.state.nft import parse_tables

_FAMILIES = {family.af: family for family in IPFamily}
NFT_FAMILIES = {1: "inet", NFPROTO_IPV4: "ip", NFPROTO_IPV6: "ip6"}
#: the tables of the iptables programs
XTABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})


def kernel() -> Kernel:
    """The running kernel; it is asked the same thing only once."""
    return Kernel(
        route=functools.cache(route),
        sysctl=functools.cache(sysctl),
        is_silent=functools.cache(is_silent),
        links=functools.cache(links),
    )


def route(
    name: str, source: IPAddress, destination: IPAddress, arrived_by: str = ""
) -> RouteLookup:
    """What the netns' routing tables say of a packet; `arrived_by` empty: of one of its own.

    The source of a packet of its own may not be its address (a pod's, seen from the node): then
    the question is asked without it.
    """
    family = "-6" if destination.version == 6 else "-4"
    argv = ["ip", "-json", family, "route", "get", "fibmatch", str(destination)]
    if arrived_by:
        argv += ["from", str(source), "iif", arrived_by]
    done = processes.run(argv, context=Context(name), timeout=5)
    if done.returncode != 0:
        return RouteLookup("", error=_error(done.stderr))
    found = _first(done.stdout)
    if found is None:
        return RouteLookup("", error="no answer")
    kind = str(found.get("type", "unicast"))
    if kind in ("unreachable", "blackhole", "prohibit"):
        return RouteLookup(
            kind, error=f"an {kind} route" if kind == "unreachable" else f"a {kind} route"
        )
    return RouteLookup(
        _route_text(found),
        device=str(found.get("dev", "")),
        gateway=str(found.get("gateway", "")),
        next_hop=ip_address(str(found.get("gateway", destination))),
        is_local=kind in ("local", "broadcast"),
    )


def _first(text: str) -> dict[str, object] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(text or "[]")
        if found and isinstance(found[0], dict):
            return found[0]
    return None


def _error(said: str) -> str:
    """`RTNETLINK answers: Network is unreachable` → `Network is unreachable`."""
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[0].rpartition(": ")[2].strip() if lines else "no route"


def _route_text(found: dict[str, object]) -> str:
    """The parts that say where to, as `ip route` writes them."""
    parts = [str(found.get("dst", ""))]
    if found.get("type") not in (None, "unicast"):
        parts.insert(0, str(found["type"]))
    if found.get("gateway"):
        parts += ["via", str(found["gateway"])]
    if found.get("dev"):
        parts += ["dev", str(found["dev"])]
    return " ".join(parts)


def sysctl(name: str, key: str) -> str:
    """A file below /proc/sys/net of the netns; empty if there is none."""

    def read() -> str:
        # /proc/sys/net shows the netns of the thread that reads it
        return Path(f"/proc/sys/net/{key}").read_text(encoding="ascii").strip()

    try:
        return netns.call_in(name, read)
    except OSError:
        return ""


def is_silent(name: str, address: IPAddress) -> bool:
    """True if the neighbor's MAC address was asked for in the netns, and nobody answered."""
    argv = ["ip", "-json", "neigh", "show", "to", str(address)]
    done = processes.run(argv, context=Context(name), timeout=5)
    found = _first(done.stdout)
    states = found.get("state") if found is not None else None
    return isinstance(states, list) and bool({"FAILED", "INCOMPLETE"} & set(states))


def links(name: str) -> dict[str, LinkLookup]:
    """Each link of the netns that is up."""
    done = processes.run(["ip", "-json", "addr", "show", "up"], context=Context(name), timeout=5)
    with contextlib.suppress(ValueError, KeyError):
        return {str(link["ifname"]): _link(link) for link in json.loads(done.stdout or "[]")}
    return {}


def _link(found: Mapping[str, Any]) -> LinkLookup:
    networks = (
        ip_interface(f"{item['local']}/{item['prefixlen']}").network
        for item in found.get("addr_info", ())
        if item.get("scope") == "global"
    )
    return LinkLookup(int(found["mtu"]), str(found.get("master", "")), tuple(networks))


def free_port(name: str, kind: socket.SocketKind, version: int) -> int:
    """A port that nobody in the netns uses, from the kernel's own range."""

    def pick() -> int:
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        with socket.socket(family, kind) as sock:
            sock.bind(("", 0))
            return int(sock.getsockname()[1])

    return netns.call_in(name, pick)


# -- rules -----------------------------------------------------------------------------------------


def read_ruleset(names: Iterable[str]) -> Ruleset:
    """The chains of nf_tables in these netns, with their rules as text."""
    chains: dict[ChainKey, ChainRules] = {}
    texts: dict[ChainKey, tuple[str, ...]] = {}
    for name in names:
        found = nftrace.list_chains(name)
        chains |= {(name, item.family, item.table, item.chain): item for item in found}
        tables = {
            (item.family, item.table) for item in found if not item.table.startswith(nftrace.TABLE)
        }
        for family in sorted({f for f, table in tables if f in _FAMILIES and table in XTABLES}):
            texts |= _iptables_texts(name, family)
        for family, table in sorted(tables):
            if table not in XTABLES and family in NFT_FAMILIES:
                texts |= _nft_texts(name, family, table)
    return Ruleset(chains, texts)


def _iptables_texts(name: str, family: int) -> dict[ChainKey, tuple[str, ...]]:
    with contextlib.suppress(KnsError):
        done = processes.run([SAVE[_FAMILIES[family]]], context=Context(name))
        return {
            (name, family, table.name, chain.name): chain.rules
            for table in parse_save(done.stdout, _FAMILIES[family])
            for chain in table.chains
        }
    return {}


def _nft_texts(name: str, family: int, table: str) -> dict[ChainKey, tuple[str, ...]]:
    word = NFT_FAMILIES[family]
    with contextlib.suppress(KnsError):
        done = processes.run(
            ["nft", "-s", "list", "table", word, table], context=Context(name), timeout=60
        )
        # the parser knows ip and ip6; what is in the braces is the same in inet
        text = done.stdout.replace(f"table {word} ", "table ip ", 1)
        return {
            (name, family, table, chain.name): chain.rules
            for found in parse_tables(text)
            for chain in found.chains
        }
    return {}
