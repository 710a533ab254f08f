"""What is read of a netns while the kernel is still at work in it, or has been changed by hand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from ipaddress import ip_interface

import pytest

from kns.kernel import contents, links, netns, syscalls
from kns.kernel.contents import Interest
from kns.kernel.netlink import Socket
from kns.state.model import Address, Bridge, Deviation, Link

pytestmark = pytest.mark.kernel

INDEX = 50
ROUNDS = 60


@contextlib.contextmanager
def links_made_elsewhere() -> Iterator[None]:
    """Threads that hold the lock of all networks most of the time, as another lab's `up` does."""
    ended = threading.Event()

    def make_links() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with contextlib.closing(Socket()) as sock:
            while not ended.is_set():
                sock.request([links.create_link(Link("br", Bridge()), INDEX, {})])
                sock.request([links.delete_link(INDEX)])

    threads = [threading.Thread(target=make_links) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_new_address_s_own_routes_are_not_missed_before_the_kernel_has_made_them() -> None:
    def body() -> list[Deviation]:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        found: list[Deviation] = []
        with contextlib.closing(Socket()) as sock:
            sock.request([links.create_link(Link("br", Bridge()), INDEX, {})])
            bridge = Link("br", Bridge(), up=True)
            sock.request([links.change_link(bridge, ("up",), INDEX, {})])
            for number in range(1, ROUNDS):
                address = Address("br", ip_interface(f"2001:db8:{number:x}::1/64"))
                sock.request([links.add_address(address, INDEX)])
                space, _links = contents.read("", sock, Interest())
                found += [
                    item
                    for item in space.deviations
                    if isinstance(item, Deviation) and str(address.interface.ip) in item.command
                ]
        return found

    with links_made_elsewhere():
        assert netns.in_thread(body) == []
