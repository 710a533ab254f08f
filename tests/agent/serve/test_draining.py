"""The agent's look at draining real servers: only in IPVS mode, again and again, whatever fails."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network

import pytest

from kns.addresses import IPFamily
from kns.agent.serve.draining import Draining
from kns.cluster.model import Cluster, Network
from kns.engine import draining
from kns.kinds.networking import KubeProxyOptions, ProxyMode

INTERVAL = 0.01


def cluster(mode: ProxyMode) -> Cluster:
    cidr = (ip_network("10.0.0.0/8"),)
    network = Network((IPFamily.IPV4,), cidr, cidr, cidr, cidr)
    return Cluster("t-draining", replace(network, kube_proxy=KubeProxyOptions(mode)), ())


def looks(
    monkeypatch: pytest.MonkeyPatch, mode: ProxyMode, *, error: Exception | None = None
) -> list[Cluster]:
    """The clusters that were looked at in five intervals."""
    seen: list[Cluster] = []

    def finish(item: Cluster) -> int:
        seen.append(item)
        if error is not None:
            raise error
        return 0

    async def body() -> None:
        with ThreadPoolExecutor(1) as worker:
            watch = Draining(worker, interval=INTERVAL)
            watch.update(cluster(ProxyMode.IPVS))
            watch.update(cluster(mode))
            await asyncio.sleep(20 * INTERVAL)
            watch.close()

    monkeypatch.setattr(draining, "finish", finish)
    asyncio.run(body())
    return seen


def test_ipvs_mode_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = looks(monkeypatch, ProxyMode.IPVS)
    assert len(seen) > 1
    assert {item.network.kube_proxy.mode for item in seen} == {ProxyMode.IPVS}


def test_other_modes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, ProxyMode.IPTABLES) == []


def test_failed_look_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(looks(monkeypatch, ProxyMode.IPVS, error=OSError("gone"))) > 1
    assert "draining real servers" in caplog.text
