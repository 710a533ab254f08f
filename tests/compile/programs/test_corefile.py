"""The files for a real CoreDNS, read by dnspython, say what the built-in server says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.zone
import pytest

from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.cluster.zone import ClusterZone
from kns.cluster.zone_index import ZoneOptions
from kns.compile.programs.corefile import coredns_files
from kns.kinds.load import load_lab

LAB = Path(__file__).parents[3] / "labs" / "discovery.yaml"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return resolve(load_lab(LAB).spec, Leases()).cluster


def records(files: dict[str, str]) -> list[tuple[str, str, str]]:
    """Owner, type and data of every record in the zone files, SOA and NS of the zones left out."""
    found = []
    for name, text in files.items():
        if name != "Corefile":
            origin = text.split()[0]
            zone = dns.zone.from_text(text, origin=origin, relativize=False)
            for owner, _, rdata in zone.iterate_rdatas():
                if owner != zone.origin:
                    rdtype = dns.rdatatype.to_text(rdata.rdtype)
                    found.append((owner.to_text(), rdtype, rdata.to_text()))
    return found


def test_every_record_of_the_files_is_what_the_built_in_server_says(cluster: Cluster) -> None:
    files = dict(coredns_files(cluster, "/f"))
    zone = ClusterZone(cluster, replace(ZoneOptions.of(cluster), fall_through=()))
    found = records(files)
    for owner, rdtype, data in found:
        answer = zone.lookup(owner, rdtype)
        assert answer is not None
        assert data in {record.data for record in answer.answer}, (owner, rdtype)
    assert len(found) > 60


@pytest.mark.parametrize(
    ("owner", "rdtype", "count"),
    [
        ("web.default.svc.cluster.local.", "A", 1),
        ("web.default.svc.cluster.local.", "AAAA", 1),
        ("_http._tcp.web.default.svc.cluster.local.", "SRV", 1),
        ("db.data.svc.cluster.local.", "A", 2),
        ("db-0.db.data.svc.cluster.local.", "A", 1),
        ("db-all.data.svc.cluster.local.", "A", 3),
        ("shop.default.svc.cluster.local.", "CNAME", 1),
        ("10.0.96.10.in-addr.arpa.", "PTR", 1),
        ("dns-version.cluster.local.", "TXT", 1),
        ("ns.dns.cluster.local.", "A", 1),
    ],
)
def test_files_have_the_records(cluster: Cluster, owner: str, rdtype: str, count: int) -> None:
    found = records(dict(coredns_files(cluster, "/f")))
    assert sum((item[0], item[1]) == (owner, rdtype) for item in found) == count


def test_corefile_names_every_zone_file_and_the_upstream(cluster: Cluster) -> None:
    files = coredns_files(cluster, "/f")
    corefile = files["Corefile"]
    assert [
        name for name in files if name != "Corefile" and f"    file /f/{name} " not in corefile
    ] == []
    upstream = " ".join(str(address) for address in cluster.internet[0].addresses)
    assert f"    forward . {upstream}\n" in corefile
    assert corefile.count("{\n") == corefile.count("    }\n") + 1
    assert corefile.endswith("\n}\n")


def test_pod_records_are_a_template_or_names_or_nothing(cluster: Cluster) -> None:
    texts = {}
    for mode in ("insecure", "verified", "disabled"):
        dns_options = replace(cluster.network.dns, pod_records=mode)
        changed = replace(cluster, network=replace(cluster.network, dns=dns_options))
        files = coredns_files(changed, "/f")
        texts[mode] = (
            "template" in files["Corefile"],
            ".pod.cluster.local." in files["cluster.db"],
        )
    assert texts == {
        "insecure": (True, True),
        "verified": (False, True),
        "disabled": (False, False),
    }
