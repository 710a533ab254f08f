"""A mode of kube-proxy in a release: what a lab, or a cluster, is set to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.kinds.networking import KubeProxyOptions, ProxyMode
from kns.kinds.release import NEWEST, Release


@dataclass(frozen=True, slots=True)
class ProxySetting:
    """`iptables@1.30`."""

    mode: ProxyMode
    release: Release = NEWEST
    #: what kube-proxy's flags mean in this release, in place of the cluster's options
    own_options: KubeProxyOptions | None = None

    def __str__(self) -> str:
        return f"{self.mode}@{self.release}"

    def options(self, options: KubeProxyOptions) -> KubeProxyOptions:
        """kube-proxy's options with this mode and release."""
        own = options if self.own_options is None else self.own_options
        return replace(own, mode=self.mode, version=self.release)

    def cluster(self, cluster: Cluster) -> Cluster:
        """The cluster with this mode and release."""
        network = cluster.network
        changed = replace(network, kube_proxy=self.options(network.kube_proxy))
        return replace(cluster, network=changed)


@dataclass(frozen=True, slots=True)
class ProxyVariant:
    """What a lab is built with in place of its file's mode; without a release with the file's."""

    mode: ProxyMode
    release: Release | None = None

    def __str__(self) -> str:
        return f"{self.mode}@{self.release}" if self.release else str(self.mode)


def proxy_variant(text: str) -> ProxyVariant:
    """`MODE` or `MODE@RELEASE`. UsageError with what there is."""
    setting = proxy_setting(text)
    return ProxyVariant(setting.mode, setting.release if "@" in text else None)


def proxy_setting(text: str, release: Release = NEWEST) -> ProxySetting:
    """`MODE` or `MODE@RELEASE`; without one it is `release`. UsageError with what there is."""
    mode, _, version = text.partition("@")
    modes, releases = [str(m) for m in ProxyMode], [str(r) for r in Release]
    if mode not in modes:
        raise UsageError(f"{text!r}: no mode of kube-proxy is called {mode!r}", hint=_one_of(modes))
    if "@" in text and version not in releases:
        message = f"{text!r}: kns does not know kube-proxy {version or 'without a number'}"
        raise UsageError(message, hint=_one_of(releases))
    return ProxySetting(ProxyMode(mode), Release(version) if version else release)


def _one_of(words: list[str]) -> str:
    return f"one of {', '.join(words)}"
