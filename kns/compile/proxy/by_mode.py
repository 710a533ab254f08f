"""The one place where a mode of kube-proxy is looked up by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kns.compile.proxy.base import Proxy
from kns.compile.proxy.iptables import IptablesProxy
from kns.compile.proxy.ipvs import IpvsProxy
from kns.compile.proxy.nftables import NftablesProxy
from kns.kinds.networking import ProxyMode

_PROXIES: Final[Mapping[ProxyMode, Proxy]] = {
    ProxyMode.IPTABLES: IptablesProxy(),
    ProxyMode.IPVS: IpvsProxy(),
    ProxyMode.NFTABLES: NftablesProxy(),
}


def proxy(mode: ProxyMode) -> Proxy:
    """kube-proxy in that mode."""
    return _PROXIES[mode]


def proxies() -> Iterator[Proxy]:
    """kube-proxy in each of its modes."""
    return (proxy(mode) for mode in ProxyMode)
