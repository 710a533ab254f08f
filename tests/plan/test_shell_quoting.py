"""A command that is printed does what its op does, whatever the kernel's names are."""

from __future__ import annotations

import shlex
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from kns.addresses import IPFamily
from kns.plan.ops import (
    Add,
    Change,
    CreateNetns,
    Delete,
    DeleteNetns,
    Op,
    RestoreIpsets,
    RestoreIptables,
    VethPair,
    Write,
)
from kns.plan.shell import commands
from kns.state.iptables import table_changes
from kns.state.model import (
    Address,
    Bridge,
    Chain,
    Dummy,
    FdbEntry,
    IptablesTable,
    Link,
    Neighbor,
    NextHop,
    Route,
    Sysctl,
    VethPeer,
    Vxlan,
)

EVIL = ("$(id)", "a;id", "a'b", 'a"b', "`id`", "a\tb", "a&b", "*", "~root", "#")


def ops(name: str) -> list[Op]:
    """An op of each kind that names a netns or a link, with that name."""
    mac = "02:00:00:00:00:01"
    kind = VethPeer(name, name)
    veth = Link(name, kind, mac=mac, master=name, hairpin=True, alias=name)
    four, network = ip_address("192.0.2.1"), ip_network("192.0.2.0/24")
    route = Route(network, hops=(NextHop(four, name),))
    address = Address(name, ip_interface("192.0.2.1/24"))
    entry, neighbor = FdbEntry(name, mac, four), Neighbor(name, four, mac)
    return [
        CreateNetns(name),
        DeleteNetns(name),
        Add(name, Link(name, Bridge(), mac=mac)),
        Add(name, Link(name, Dummy(), mac=mac)),
        Add(name, Link(name, Vxlan(vni=1, local=four, device=name), mac=mac)),
        Add(name, VethPair(veth, name, veth)),
        Change(name, veth, ("mtu", "mac", "alias", "master", "up", "hairpin")),
        Delete(name, veth),
        *(verb(name, item) for item in (address, route, neighbor, entry) for verb in (Add, Delete)),
        Write(name, Sysctl(f"ipv4/conf/{name}/rp_filter", "0")),
    ]


@pytest.mark.parametrize("name", EVIL)
def test_every_name_is_one_word(name: str) -> None:
    for evil, plain in zip(ops(name), ops("plain"), strict=True):
        for command, expected in zip(commands(evil), commands(plain), strict=True):
            words = [word.replace(name, "plain") for word in shlex.split(command)]
            assert words == shlex.split(expected)


def test_a_here_document_ends_where_its_text_ends() -> None:
    (command,) = commands(RestoreIpsets("plain", "add a b\nEND\nid\nEND_\n"))
    first, *lines = command.splitlines()
    assert first.endswith("<<'END__'")
    assert lines == ["add a b", "END", "id", "END_", "END__"]


def test_objects_that_rules_count_by_are_made_before_the_rules() -> None:
    chain = Chain("INPUT", ("-m nfacct --nfacct-name  dropped -j DROP",), "ACCEPT")
    changes = table_changes((IptablesTable(IPFamily.IPV4, "filter", (chain,)),), ())
    made, loaded = commands(RestoreIptables("plain", IPFamily.IPV4, changes))
    assert made == "ip netns exec plain nfacct add dropped 2>/dev/null || true"
    assert "--nfacct-name  dropped" in loaded
