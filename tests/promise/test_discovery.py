"""What is expected of names and variables, and how answers are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kns.cluster.faults import ClusterFaults
from kns.cluster.leases import Leases
from kns.cluster.model import Cluster
from kns.cluster.podfiles import ResolvConf, pod_resolv_conf
from kns.cluster.records import Record
from kns.cluster.resolve import resolve
from kns.cluster.zone import ClusterZone
from kns.kinds.faults import FaultEnd, Faults
from kns.kinds.load import load_lab
from kns.kinds.pod import DNSPolicy, Pod
from kns.kinds.service import Service
from kns.probe.ask.dns_model import DNSQuery, DNSTrace, ResolutionOutcome, search_order
from kns.probe.judge import judge
from kns.probe.model import Attempt
from kns.promise.check import Check, Expectation, Resolve, Skip, Variables
from kns.promise.discovery import ENVIRONMENT, discovery_checks
from kns.promise.flow import Outcome
from kns.promise.lookup import Lookup

LAB = Path(__file__).parents[2] / "labs" / "discovery.yaml"
CONF = ResolvConf(("10.96.0.10",))


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return resolve(load_lab(LAB).spec, Leases()).cluster


def checks(cluster: Cluster) -> dict[str, Check]:
    return {
        check.id: check for check in discovery_checks(Lookup(cluster)) if isinstance(check, Check)
    }


def names(check: Check) -> list[str]:
    return [step.ask.name for step in check.steps if isinstance(step.ask, Resolve)]


def test_own_namespace_has_the_short_form_and_the_other_has_not(cluster: Cluster) -> None:
    found = checks(cluster)
    zone = "svc.cluster.local"
    assert names(found["name-resolution/forms/client->web"]) == [
        "web",
        "web.default",
        "web.default.svc",
        f"web.default.{zone}",
        f"web.default.{zone}.",
    ]
    assert names(found["name-resolution/forms/data/db-0->web"])[0] == "web.default"


def test_form_that_could_be_an_endpoint_is_left_out(cluster: Cluster) -> None:
    """From `data`, `db.default` would first be tried as endpoint db of data's service default."""
    cluster = replace(cluster, services=(*cluster.services, Service("data", "default")))
    found = checks(cluster)
    assert names(found["name-resolution/forms/data/db-0->web"])[0] == "web.default.svc"


def test_name_that_the_pods_own_hosts_file_answers_is_left_out(cluster: Cluster) -> None:
    """A pod named like a service of its namespace has that name from kubelet."""
    pods = tuple(replace(pod, name="web") if pod.name == "client" else pod for pod in cluster.pods)
    found = checks(replace(cluster, pods=pods))
    assert names(found["name-resolution/forms/web->web"])[0] == "web.default"


def resolved(zone: ClusterZone, ask: Resolve, conf: ResolvConf) -> set[str] | None:
    """What the zone gives for a name, by its search list; None if another server must be asked."""
    for name in search_order(ask.name, conf):
        found: set[str] = set()
        for rdtype in (ask.rdtype,) if ask.rdtype else ("A", "AAAA"):
            answer = zone.lookup(name, rdtype)
            if answer is None or answer.pending:
                return None
            found |= {record.data for record in answer.answer if record.type == rdtype}
        if found:
            return found
    return set()


def test_every_expected_name_is_what_the_zone_answers(cluster: Cluster) -> None:
    """Two derivations that know nothing of each other agree, name by name."""
    zone = ClusterZone(cluster)
    compared = 0
    for check in checks(cluster).values():
        for step in check.steps:
            if isinstance(step.ask, Resolve) and isinstance(check.source.item, Pod):
                conf = pod_resolv_conf(cluster, check.source.item)
                found = resolved(zone, step.ask, conf)
                if found is not None:
                    assert (step.ask, found) == (step.ask, set(step.expectation.records or ()))
                    compared += 1
    assert compared > 80


def test_headless_srv_names_each_ready_pod_with_its_share(cluster: Cluster) -> None:
    (step,) = checks(cluster)["name-resolution/srv/client->data/db:sql"].steps
    assert step.expectation.records == (
        "0 25 5432 db-0.db.data.svc.cluster.local.",
        "0 25 5432 db-1.db.data.svc.cluster.local.",
    )


def test_each_dns_pod_is_asked_at_each_of_its_addresses(cluster: Cluster) -> None:
    found = checks(cluster)["name-resolution/server/client->kube-system/coredns-1"]
    servers = [step.ask.server for step in found.steps if isinstance(step.ask, Resolve)]
    (pod,) = (pod for pod in cluster.pods if pod.name == "coredns-1")
    assert servers == list(pod.addresses)


def test_lab_without_dns_is_asked_no_names(cluster: Cluster) -> None:
    dns = replace(cluster.network.dns, enabled=False)
    cluster = replace(cluster, network=replace(cluster.network, dns=dns))
    assert {check.path for check in checks(cluster).values()} == {ENVIRONMENT}


def test_pods_that_do_not_ask_cluster_dns_are_no_askers(cluster: Cluster) -> None:
    pods = tuple(replace(pod, dns_policy=DNSPolicy.DEFAULT) for pod in cluster.pods)
    found = tuple(discovery_checks(Lookup(replace(cluster, pods=pods))))
    assert {check.path for check in found if isinstance(check, Check)} == {ENVIRONMENT}
    assert [skip.what for skip in found if isinstance(skip, Skip)] == ["name-resolution"]


def test_where_no_dns_pod_is_ready_no_name_is_asked(cluster: Cluster) -> None:
    slices = tuple(
        replace(item, endpoints=tuple(replace(point, ready=False) for point in item.endpoints))
        if item.service == "kube-dns"
        else item
        for item in cluster.endpoint_slices
    )
    found = tuple(discovery_checks(Lookup(replace(cluster, endpoint_slices=slices))))
    asked = {check.kind for check in found if isinstance(check, Check)}
    assert asked.isdisjoint({"forms", "srv", "reverse", "pod-record", "server", "outside"})
    (skip, *_) = [item for item in found if isinstance(item, Skip)]
    assert "kube-system/kube-dns has no ready endpoint" in skip.reason


@pytest.mark.parametrize("is_down", [False, True])
def test_short_names_without_address_are_asked_of_an_upstream_that_answers(
    cluster: Cluster, *, is_down: bool
) -> None:
    """Their last question is that for the bare name, which the cluster's servers pass on."""
    # the pod that asks and the one server are on the node whose link is down
    pods = tuple(pod for pod in cluster.pods if pod.node == "node1")
    there = {pod.full_name for pod in pods} - {"data/db-0", "data/db-1"}
    slices = tuple(
        replace(item, endpoints=tuple(each for each in item.endpoints if each.pod in there))
        for item in cluster.endpoint_slices
    )
    written = Faults(links_down=(FaultEnd("node1"),) if is_down else ())
    faults = ClusterFaults(written, nodes_down=frozenset({"node1"} if is_down else ()))
    lost = replace(cluster, pods=pods, endpoint_slices=slices, faults=faults)
    found = tuple(discovery_checks(Lookup(lost)))
    (check,) = (c for c in found if isinstance(c, Check) and c.id.endswith("forms/client->data/db"))
    full = ["db.data.svc.cluster.local", "db.data.svc.cluster.local."]
    assert names(check) == (full if is_down else ["db.data", "db.data.svc", *full])


def test_variables_leave_out_names_that_two_services_make(cluster: Cluster) -> None:
    (step,) = checks(cluster)[f"{ENVIRONMENT}/web-1"].steps
    expected = dict(entry for group in step.expectation.variables for entry in group.entries)
    assert "FOO_SERVICE_PORT" not in expected
    assert expected["FOO_SERVICE_SERVICE_PORT"] == "80"
    (own, *_) = checks(cluster)[f"{ENVIRONMENT}/client"].steps[0].expectation.variables
    assert own == Variables((("WEB_SERVICE_PORT", "mine"),), optional=False)


def test_pod_without_service_links_has_nothing_to_check(cluster: Cluster) -> None:
    assert f"{ENVIRONMENT}/quiet" not in checks(cluster)


# -- judging ---------------------------------------------------------------------------------------


def trace(outcome: ResolutionOutcome, *data: str) -> DNSTrace:
    records = tuple(Record("a.", "A", 5, text) for text in data)
    query = DNSQuery("a.", "A", "10.96.0.10", "udp", "NOERROR", records, latency_ms=1.0)
    return DNSTrace("pod1", "a.", ("A",), CONF, outcome, (query,))


@pytest.mark.parametrize(
    ("want", "seen", "ok"),
    [
        (("10.0.0.1", "10.0.0.2"), trace(ResolutionOutcome.RESOLVED, "10.0.0.2", "10.0.0.1"), True),
        (("10.0.0.1",), trace(ResolutionOutcome.RESOLVED, "10.0.0.1", "10.0.0.2"), False),
        (("10.0.0.1",), trace(ResolutionOutcome.NXDOMAIN), False),
        ((), trace(ResolutionOutcome.NXDOMAIN), True),
        ((), trace(ResolutionOutcome.NODATA), True),
        ((), trace(ResolutionOutcome.TIMEOUT), False),
        ((), trace(ResolutionOutcome.SERVFAIL), False),
        ((), trace(ResolutionOutcome.RESOLVED, "10.0.0.1"), False),
    ],
)
def test_names_are_judged_as_sets_and_absence_needs_an_answer(
    want: tuple[str, ...], seen: DNSTrace, *, ok: bool
) -> None:
    assert judge(Expectation(records=want), seen).ok is ok


@pytest.mark.parametrize(
    ("body", "ok"),
    [
        ("A=1\nB=2\nOWN=x\n", True),
        ("OWN=x\n", True),
        ("A=1\nOWN=x\n", False),
        ("A=1\nB=3\nOWN=x\n", False),
        ("A=1\nB=2\n", False),
    ],
)
def test_variables_come_as_a_whole_group_or_not_at_all(body: str, *, ok: bool) -> None:
    groups = (Variables((("OWN", "x"),), optional=False), Variables((("A", "1"), ("B", "2"))))
    seen = (Attempt(Outcome.CONNECTED, body=body, status=200),)
    assert judge(Expectation(variables=groups), seen).ok is ok
