"""What is filled in is, byte for byte, what pyroute2 encodes: every op, every lab and mode."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from types import ModuleType

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kns.engine.up import desire
from kns.kernel import conntrack, ipvs, links
from kns.kernel.apply import _Worker
from kns.kernel.netlink import wanted
from kns.kernel.shapes import Mac, Port, encoded, filled, request
from kns.kinds.networking import ProxyMode
from kns.plan.diff import plan
from kns.plan.ops import (
    Add,
    Change,
    CreateNetns,
    Delete,
    Entry,
    Op,
    Replace,
    SetVirtualServers,
    VethPair,
)
from kns.state.connection import Connection, Tuple
from kns.state.ipvs import steps
from kns.state.model import (
    Address,
    Bridge,
    Dummy,
    FdbEntry,
    HostState,
    Link,
    Neighbor,
    Netns,
    NextHop,
    PolicyRule,
    RealServer,
    Route,
    RouteType,
    VethPeer,
    VirtualServer,
    Vxlan,
    loopback,
)

LABS = sorted((Path(__file__).parents[2] / "labs").glob("*.yaml"))
MAC = "02:6b:00:00:00:01"
INDEXES = {"n": {"lo": 1, "eth0": 16, "cni0": 17, "veth1": 18, "flannel.1": 19}}
FIELDS = ("mtu", "mac", "alias", "master", "hairpin", "up")

Message = Callable[..., bytes]


@pytest.fixture(autouse=True)
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the filled-in messages that were made, each compared with pyroute2's own."""
    made: list[str] = []

    def comparing(fill: Message) -> Message:
        build = inspect.unwrap(fill)

        @functools.wraps(fill)
        def compare(*values: object, **shape: object) -> bytes:
            data = fill(*values, **shape)
            assert data == encoded(build(*values, **shape))
            assert len(data) % 4 == 0  # or the next message of the batch would not be found
            made.append(build.__name__)
            return data

        return compare

    for module in (links, ipvs, conntrack):
        for name, fill in filled_in(module):
            monkeypatch.setattr(module, name, comparing(fill))
    monkeypatch.setattr(_Worker, "_file", lambda _self, _name: 77)
    return made


def filled_in(module: ModuleType) -> list[tuple[str, Message]]:
    return [(name, item) for name, item in vars(module).items() if hasattr(item, "__wrapped__")]


def messages(ops: Sequence[Op]) -> Iterator[bytes]:
    worker = _Worker(INDEXES, None, None)  # type: ignore[arg-type]
    for op in ops:
        if isinstance(op, SetVirtualServers):
            for step in steps(op.desired, op.observed, op.exclude):
                yield ipvs._message(38, step)
        elif isinstance(op, CreateNetns):
            worker._indexes[op.netns]["lo"] = 1
        elif isinstance(op, Add | Change | Delete | Replace):
            found = tuple(worker._messages(op))
            assert found
            yield from found


@pytest.mark.parametrize("mode", ProxyMode)
@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.stem)
def test_lab(lab: Path, mode: ProxyMode, compared: list[str]) -> None:
    state = desire(lab, mode, fresh=True).state.host
    bare = HostState(tuple(Netns(space.name) for space in state.netns))
    up, down = plan(state, HostState()), plan(bare, state)
    assert all(messages([*up, *down]))
    assert {"_veth", "_change", "_address", "_route_message"} <= set(compared)
    assert (mode is ProxyMode.IPVS) == ("_change_server" in compared)


V4, V6 = ip_address("10.244.1.7"), ip_address("fd00:10:244:1::7")
LINKS = {
    "bridge": Link("cni0", Bridge(), MAC, alias="the bridge"),
    "dummy": Link("kube-ipvs0", Dummy()),
    "vxlan": Link("flannel.1", Vxlan(1, V4, "eth0"), MAC, 1450),
    "vxlan6": Link("flannel-v6.1", Vxlan(1, V6, "eth0"), MAC, 1450),
}
END = Link("veth1", VethPeer("p", "eth0"), MAC, master="cni0", hairpin=True, alias="kns.lab.pod-ü")
PEER = Link("eth0", VethPeer("n", "veth1"), "02:6b:00:00:00:02", mtu=1450)
HOPS = (NextHop(V4, "eth0"), NextHop(ip_address("10.244.1.8"), "cni0", onlink=True))
ROUTES = {
    "default": Route(ip_network("0.0.0.0/0"), HOPS[:1]),
    "default6": Route(ip_network("::/0"), (NextHop(V6, "eth0"),)),
    "onlink": Route(ip_network("10.244.2.0/24"), HOPS[1:], metric=100, source=V4),
    "link": Route(ip_network("10.96.0.0/16"), (NextHop(None, "eth0"),), table=1000),
    "link6": Route(ip_network("fd00::/64"), (NextHop(None, "eth0"),)),
    "gateway": Route(ip_network("10.96.0.0/16"), (NextHop(V4),)),
    "multipath": Route(ip_network("10.0.0.0/8"), HOPS),
    "blackhole": Route(ip_network("10.1.0.0/16"), type=RouteType.BLACKHOLE),
    "unreachable": Route(ip_network("fd00:1::/64"), type=RouteType.UNREACHABLE),
}
RULES = {
    "table": PolicyRule(100, 1000),
    "source": PolicyRule(100, 1000, source=ip_network("10.0.0.0/8"), mark=0x4000),
    "destination": PolicyRule(100, 1000, destination=ip_network("10.1.0.0/16")),
}
ENTRIES: dict[str, Entry] = {
    **{
        f"address {text}": Address("eth0", ip_interface(text))
        for text in ("10.244.1.7/24", "10.96.0.1/32", "fd00::7/64", "37.37.37.37/8")
    },
    **{f"route {name}": item for name, item in ROUTES.items()},
    **{f"rule {name}": item for name, item in RULES.items()},
    **{f"neighbor {ip}": Neighbor("eth0", ip, MAC) for ip in (V4, V6)},
    **{f"fdb {ip}": FdbEntry("flannel.1", MAC, ip) for ip in (V4, V6)},
}
CHANGED = (
    LINKS["bridge"],
    END,
    replace(END, mac="", hairpin=False, alias="", master="", up=False),
)
OPS: dict[str, Sequence[Op]] = {
    **{f"make {name}": (Add("n", link),) for name, link in LINKS.items()},
    "veth": (
        Add("n", VethPair(END, "p", PEER)),
        Add("n", VethPair(replace(END, master=""), "p", PEER)),
        Add("n", VethPair(replace(END, name="veth123456789ab", mtu=9000), "p", PEER)),
    ),
    **{f"change {name}": tuple(Change("n", link, (name,)) for link in CHANGED) for name in FIELDS},
    "change all": tuple(Change("n", link, FIELDS) for link in CHANGED),
    "change lo": (Change("n", loopback(), ("up",)), Change("n", loopback(up=False), ("up",))),
    "delete link": (Delete("n", END),),
    **{name: (Add("n", item), Delete("n", item)) for name, item in ENTRIES.items()},
    **{f"replace {name}": (Replace("n", item),) for name, item in ROUTES.items()},
}


@pytest.mark.parametrize("case", OPS)
def test_op(case: str) -> None:
    made = [*messages(OPS[case]), *messages(OPS[case])]  # learned, then filled in
    assert len(made) == 2 * len(OPS[case])


@pytest.mark.parametrize("address", [V4, V6], ids=str)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_virtual_server(protocol: str, address: object, compared: list[str]) -> None:
    assert address in (V4, V6)
    server = RealServer(V4 if address == V4 else V6, 8080)
    service = VirtualServer(protocol, server.address, 80, real_servers=(server,))
    changed = replace(
        service,
        scheduler="sh",
        persistent=10800,
        flags=0x18,
        real_servers=(replace(server, weight=0),),
    )
    for before, after in ((), (service,)), ((service,), (changed,)), ((changed,), ()):
        assert all(messages([SetVirtualServers("n", after, before)]))
    assert {"_set_service", "_delete_service", "_change_server"} <= set(compared)


@pytest.mark.parametrize("address", [V4, V6], ids=str)
def test_deletion_of_a_connection(address: object, compared: list[str]) -> None:
    assert address in (V4, V6)
    ip = V4 if address == V4 else V6
    asked = Tuple(ip, 40000, ip, 53)
    assert conntrack._deletion(Connection("udp", asked, asked.reverse))
    assert compared == ["_delete"]


def test_every_filled_message_is_compared() -> None:
    found = {name for module in (links, ipvs, conntrack) for name, _fill in filled_in(module)}
    assert found == {
        "_veth", "_change", "_address", "_filled_route", "_neighbor", "_set_service",
        "_delete_service", "_change_server", "_delete",
    }  # fmt: skip


# -- kns.kernel.shapes -----------------------------------------------------------------------------


def link(index: int, name: str | None, mtu: int | None = None, *, up: bool = False) -> object:
    attributes = [("IFLA_IFNAME", name), ("IFLA_MTU", mtu)]
    present = [(key, value) for key, value in attributes if value is not None]
    return request(ifinfmsg, 16, 0, present, index=index, flags=int(up))


def test_each_length_of_text_and_each_absence_is_a_shape_of_its_own() -> None:
    fill = filled(link)
    for values in (
        (7, "a"),
        (7, "ab"),
        (7, None),
        (7, "é"),
        (7, "%b"),
        (7, "ab", 1500),
        (0x25, "x"),
    ):
        for up in (True, False):
            assert fill(*values, up=up) == encoded(link(*values, up=up))


def test_value_that_pyroute2_writes_in_another_way_is_refused() -> None:
    def halved(index: int) -> object:
        return request(ifinfmsg, 16, 0, index=index // 2)

    with pytest.raises(ValueError, match="halved can't be filled in"):
        filled(halved)(40)


def test_text_of_an_address_is_no_address_in_bytes() -> None:
    def named(mac: Mac, port: Port) -> object:
        return request(ifinfmsg, 16, 0, [("IFLA_ADDRESS", mac)], index=int(port))

    with pytest.raises(ValueError, match="can't be filled in"):
        filled(named)(Mac(MAC), Port(80))  # the index is no port in network order


def test_attribute_that_pyroute2_does_not_know_is_told_at_once() -> None:
    assert wanted(rtmsg, "RTA_DST") == {1: "RTA_DST"}
    with pytest.raises(KeyError):
        wanted(rtmsg, "RTA_NONE_SUCH")
