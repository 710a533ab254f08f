"""A lab that goes from one kube-proxy mode to another: what becomes of open connections.

iptables and nftables translate a connection's first packet, and the connection table the rest: such
connections outlive the rules that made them, in whatever mode comes after. IPVS keeps a table of
its own, which goes with its virtual servers, and every connection through it breaks.
"""

from __future__ import annotations

from collections.abc import Sequence

from kns.addresses import IPNetwork
from kns.compile.proxy.base import Proxy
from kns.compile.proxy.by_mode import proxies
from kns.kernel import netns
from kns.kinds.networking import ProxyMode
from kns.state.model import HostState, Netns


def proxy_in(space: Netns) -> Proxy | None:
    """kube-proxy in the mode whose rules are in a node's netns; None if there are none."""
    return next((proxy for proxy in proxies() if proxy.is_in(space)), None)


def notes(before: HostState, wanted: ProxyMode, service_cidrs: Sequence[IPNetwork]) -> list[str]:
    """What to tell about a change of mode that is about to happen; nothing if there is none."""
    open_connections = 0
    old = None
    for space in before.netns:
        found = proxy_in(space)
        if found is not None and found.MODE is not wanted:
            from kns.kernel import conntrack  # noqa: PLC0415 - brings asyncio, and few switch

            old = found
            open_connections += netns.call_in(
                space.name, conntrack.count_connections_here, service_cidrs
            )
    if old is None:
        return []
    change = f"proxy mode {old.MODE} → {wanted}"
    if not open_connections:
        return [f"{change}: no connection to a service was open"]
    what = (
        f"{open_connections} open TCP connection{'s' if open_connections > 1 else ''} to services"
    )
    if not old.CONNECTIONS_OUTLIVE:
        return [f"{change}: {what} broke, IPVS' own connection table is gone"]
    outlive = "outlive" if open_connections > 1 else "outlives"
    return [f"{change}: {what} {outlive} it: the connection table keeps the translation"]
