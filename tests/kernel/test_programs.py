"""When ops on rules are carried out, beside the netlink work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kns.addresses import IPFamily
from kns.kernel import ipvs, nftables
from kns.kernel import netns as kernel_netns
from kns.kernel.programs import Programs
from kns.plan.ops import LoadNft, SetVirtualServers


def test_what_waits_for_its_netns_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(kernel_netns, "call_in", lambda name, *_rest: done.append(name))
    with ThreadPoolExecutor(1) as pool:
        programs = Programs(pool, threading.Event())
        for name in ("new", "there"):
            programs.add(LoadNft(name, IPFamily.IPV4, "kube-proxy", None, None))
        programs.start(but={"new"})
        programs.wait()
        assert done == ["there"]
        programs.start()
        programs.wait()
    assert done == ["there", "new"]


def test_virtual_servers_wait_for_the_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A netns without an address refuses every real server, so `start` leaves them for `wait`."""
    done: list[str] = []
    loaded = threading.Event()

    def load(*_arguments: object) -> None:
        done.append("nft")
        loaded.set()

    monkeypatch.setattr(kernel_netns, "call_in", lambda _name, body, *rest: body(*rest))
    monkeypatch.setattr(nftables, "apply_here", load)
    monkeypatch.setattr(ipvs, "apply_here", lambda _op: done.append("ipvs"))
    with ThreadPoolExecutor(1) as pool:
        programs = Programs(pool, threading.Event())
        programs.add(SetVirtualServers("kns.lab.node1", (), ()))
        programs.add(LoadNft("kns.lab.node1", IPFamily.IPV4, "kube-proxy", None, None))
        programs.start()
        assert loaded.wait(10)
        assert done == ["nft"]
        programs.wait()
    assert done == ["nft", "ipvs"]
