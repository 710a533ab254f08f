"""ipvsadm's and ipset's lines, written and read back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from kns.state import ipset, ipvs
from kns.state.ipvs import IpvsStep, Verb
from kns.state.model import Count, IpSet, IpvsTimeouts, RealServer, VirtualServer

BACKEND = RealServer(ip_address("10.244.1.10"), 8080)
WEB = VirtualServer("tcp", ip_address("10.96.10.1"), 80, real_servers=(BACKEND,))
DNS = VirtualServer(
    "udp",
    ip_address("fd00:10:96::a"),
    53,
    scheduler="mh",
    persistent=10800,
    flags=0x10,
    real_servers=(RealServer(ip_address("fd00:10:244:1::2"), 53, weight=0),),
)
SAVED = """\
-A -t 10.96.10.1:80 -s rr
-a -t 10.96.10.1:80 -r 10.244.1.10:8080 -m -w 1
-A -u [fd00:10:96::a]:53 -s mh -p 10800 -b mh-port
-a -u [fd00:10:96::a]:53 -r [fd00:10:244:1::2]:53 -m -w 0
"""


def test_save_text_is_ipvsadms() -> None:
    assert ipvs.save_text([WEB, DNS]) == SAVED


def test_parse_save_reads_what_save_text_wrote() -> None:
    assert ipvs.parse_save(SAVED) == (WEB, DNS)


@pytest.mark.parametrize(
    ("scheduler", "flags", "text"),
    [
        ("sh", 0x18, "-s sh -b sh-fallback,sh-port"),
        ("rr", 0x20, "-s rr -b flag-3"),
        ("mh", 0x08, "-s mh -b mh-fallback"),
    ],
)
def test_scheduler_flags_have_names(scheduler: str, flags: int, text: str) -> None:
    service = replace(WEB, scheduler=scheduler, flags=flags, real_servers=())
    assert ipvs.save_text([service]) == f"-A -t 10.96.10.1:80 {text}\n"
    assert ipvs.parse_save(ipvs.save_text([service])) == (service,)


def test_virtual_servers_of_a_mark_are_left_out() -> None:
    assert ipvs.parse_save("-A -f 7 -s rr\n") == ()


@pytest.mark.parametrize(
    ("step", "command"),
    [
        (IpvsStep(Verb.EDIT_SERVICE, WEB), "ipvsadm -E -t 10.96.10.1:80 -s rr"),
        (IpvsStep(Verb.DELETE_SERVICE, WEB), "ipvsadm -D -t 10.96.10.1:80"),
        (
            IpvsStep(Verb.EDIT_SERVER, WEB, replace(BACKEND, weight=0)),
            "ipvsadm -e -t 10.96.10.1:80 -r 10.244.1.10:8080 -m -w 0",
        ),
        (
            IpvsStep(Verb.DELETE_SERVER, WEB, BACKEND),
            "ipvsadm -d -t 10.96.10.1:80 -r 10.244.1.10:8080",
        ),
    ],
)
def test_command_of_a_step(step: IpvsStep, command: str) -> None:
    assert ipvs.command(step) == command


def test_timeouts_command() -> None:
    assert ipvs.timeouts_command(IpvsTimeouts(900, 0, 300)) == "ipvsadm --set 900 0 300"


# -- ipsets ----------------------------------------------------------------------------------------

HASH = "family inet hashsize 1024 maxelem 65536 bucketsize 12"
CLUSTER_IP = IpSet(
    "KUBE-CLUSTER-IP", "hash:ip,port", HASH, ("10.96.0.1,tcp:443", "10.96.10.1,tcp:80")
)
NODE_PORT = IpSet("KUBE-NODE-PORT-TCP", "bitmap:port", "range 0-65535", ("30080",))


def test_changes_from_nothing_create_and_fill() -> None:
    assert ipset.changes([CLUSTER_IP], []) == (
        f"create KUBE-CLUSTER-IP hash:ip,port {HASH}\n"
        "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n"
        "add KUBE-CLUSTER-IP 10.96.10.1,tcp:80\n"
    )


def test_changes_touch_only_entries_that_differ() -> None:
    before = replace(CLUSTER_IP, entries=("10.96.0.1,tcp:443", "10.96.10.9,tcp:80"))
    assert ipset.changes([CLUSTER_IP, NODE_PORT], [before, NODE_PORT]) == (
        "add KUBE-CLUSTER-IP 10.96.10.1,tcp:80\ndel KUBE-CLUSTER-IP 10.96.10.9,tcp:80\n"
    )


def test_set_of_another_kind_is_made_anew() -> None:
    before = replace(NODE_PORT, options="range 0-1023", entries=("80",))
    assert ipset.changes([NODE_PORT], [before]) == (
        "destroy KUBE-NODE-PORT-TCP\n"
        "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
        "add KUBE-NODE-PORT-TCP 30080\n"
    )


def test_leftovers_are_destroyed() -> None:
    assert ipset.leftovers([NODE_PORT], [CLUSTER_IP, NODE_PORT]) == "destroy KUBE-CLUSTER-IP\n"


def test_parse_save_takes_no_notice_of_how_far_a_table_has_grown() -> None:
    text = f"create KUBE-CLUSTER-IP hash:ip,port {HASH}\n"
    grown = text.replace("hashsize 1024", "hashsize 16384")
    assert ipset.parse_save(grown) == ipset.parse_save(text)


def test_parse_save_sorts_and_drops_the_random_seed() -> None:
    text = (
        "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
        "add KUBE-NODE-PORT-TCP 30080\n"
        f"create KUBE-CLUSTER-IP hash:ip,port {HASH} initval 0x1f2e3d4c\n"
        "add KUBE-CLUSTER-IP 10.96.10.1,tcp:80\n"
        "add KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n"
    )
    assert ipset.parse_save(text) == (CLUSTER_IP, NODE_PORT)


STATISTICS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.96.10.1:80                      12       90       60     5400     4800
  -> 10.244.1.10:8080                    6       45       30     2700     2400
FWM  7                                   1        1        1       60       60
  -> 10.244.1.10:8080                    1        1        1       60       60
UDP  [fd00:10:96::a]:53                  3       15       12      900      800
  -> [fd00:10:244:1::2]:53               3       15       12      900      800
"""


def test_statistics_are_told_of_the_servers_they_are_about() -> None:
    web, dns = ipvs.with_counts([WEB, DNS], STATISTICS)
    assert (web.count, dns.count) == (Count(90, 5400), Count(15, 900))
    assert [server.count for server in web.real_servers] == [Count(45, 2700)]
    assert [server.count for server in dns.real_servers] == [Count(15, 900)]
    assert (web, dns) == (WEB, DNS)  # what was counted makes no difference


def test_without_statistics_nothing_was_counted() -> None:
    assert [item.count for item in ipvs.with_counts([WEB, DNS], "")] == [None, None]
