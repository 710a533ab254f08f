"""Trials of what no single flow shows: which connections, what they show, why there are none."""

from __future__ import annotations

import pytest

from kns.cluster.resolve import resolve
from kns.experiment.migrate.differences import Sides, differences
from kns.experiment.migrate.kinds import DifferenceKind
from kns.experiment.migrate.trial import (
    HELD,
    Affinity,
    BackendChoice,
    HeldConnections,
    HeldFlow,
    Trial,
    choice_of,
    trial_of,
)
from kns.experiment.setting import proxy_setting
from kns.kinds.load import load_lab_text
from kns.promise.lookup import Lookup

#: a Service for each kind of trial; kns' own DNS is none that tells who answers
LAB = """
apiVersion: kns/v1
kind: Lab
metadata: {name: trials}
networking: {kubeProxy: {ipvs: {scheduler: rr}}}
nodes: [{name: node1}, {name: node2}]
pods:
- {name: client, node: node1}
- name: web
  replicas: 2
  labels: {app: web}
  containers: [{name: web, ports: [{port: 8080}, {name: udp, port: 5353, protocol: UDP}]}]
services:
- name: sticky
  type: NodePort
  sessionAffinity: ClientIP
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
- {name: plain, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
- {name: udp, selector: {app: web}, ports: [{port: 53, targetPort: udp, protocol: UDP}]}
"""


def trials(
    setting: str, other: str, kind: DifferenceKind, service: str, *edits: tuple[str, str]
) -> Trial | str:
    """What is tried of the Service's difference under `setting`, where `other` is the other one."""
    text = LAB
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    cluster = resolve(load_lab_text(text).spec).cluster
    sides = Sides.of(cluster, proxy_setting(setting), proxy_setting(other))
    (change,) = (
        item
        for item in differences(sides)
        if (item.kind, item.flow) == (kind, None) and item.service.endswith(f"/{service}")
    )
    return trial_of(Lookup(proxy_setting(setting).cluster(cluster)), change)


IPVS, NFTABLES, OLD = "ipvs@1.37", "nftables@1.37", "nftables@1.36"


@pytest.mark.parametrize(
    ("setting", "other", "scheduler", "choice"),
    [
        (NFTABLES, IPVS, "rr", BackendChoice.BY_CHANCE),
        (IPVS, NFTABLES, "rr", BackendChoice.IN_TURN),
        (IPVS, NFTABLES, "lc", BackendChoice.IN_TURN),
        (IPVS, NFTABLES, "sh", BackendChoice.ALWAYS_ONE),
    ],
)
def test_a_scheduler_shows_in_connections_that_stay_open(
    setting: str, other: str, scheduler: str, choice: BackendChoice
) -> None:
    edit = ("scheduler: rr", f"scheduler: {scheduler}")
    found = trials(setting, other, DifferenceKind.SCHEDULER, "plain", edit)
    assert isinstance(found, HeldConnections)
    assert (found.choice, found.flow.source.label) == (choice, "client")


@pytest.mark.parametrize(
    ("setting", "other", "scheduler", "follows_and_moves"),
    [
        (NFTABLES, IPVS, "rr", (True, False)),
        (IPVS, NFTABLES, "rr", (False, True)),
        (IPVS, NFTABLES, "lc", (False, False)),
    ],
)
def test_affinity_shows_in_two_addresses_of_a_service(
    setting: str, other: str, scheduler: str, follows_and_moves: tuple[bool, bool]
) -> None:
    edit = ("scheduler: rr", f"scheduler: {scheduler}")
    found = trials(setting, other, DifferenceKind.SESSION_AFFINITY, "sticky", edit)
    assert isinstance(found, Affinity)
    assert (found.follows, found.is_moved) == follows_and_moves
    assert (found.first.port, found.second.port, found.other.port) == (80, 30080, 30080)
    assert [flow.source.label for flow in (found.first, found.second, found.other)] == [
        "client",
        "client",
        "node1",
    ]


def test_stale_udp_shows_in_a_socket_that_stays_open() -> None:
    for setting, other, is_refused in (
        (OLD, NFTABLES, False),
        (NFTABLES, OLD, True),
        ("ipvs@1.36", OLD, True),
    ):
        found = trials(setting, other, DifferenceKind.STALE_UDP, "udp")
        assert isinstance(found, HeldFlow)
        assert (found.is_refused, found.service.name) == (is_refused, "udp")


@pytest.mark.parametrize(
    ("kind", "service", "edit", "reason"),
    [
        (DifferenceKind.STALE_UDP, "kube-dns", ("rr", "rr"), "kube-dns: who answers can't be read"),
        (
            DifferenceKind.STALE_UDP,
            "udp",
            ("replicas: 2", "replicas: 0"),
            "udp: udp has no ready endpoint",
        ),
        (DifferenceKind.SCHEDULER, "sticky", ("rr", "rr"), "sticky: session affinity hides it"),
        (DifferenceKind.SCHEDULER, "plain", ("rr", "mh"), "what the scheduler mh chooses"),
        (DifferenceKind.SCHEDULER, "udp", ("rr", "rr"), "udp: no TCP port of it has two"),
        (
            DifferenceKind.SESSION_AFFINITY,
            "sticky",
            ("type: NodePort", "type: ClusterIP"),
            "sticky: no pod of the lab reaches two endpoints by two addresses",
        ),
        (
            DifferenceKind.SESSION_AFFINITY,
            "sticky",
            ("ClientIP", "ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}"),
            "sticky: it lasts 5 s only",
        ),
    ],
)
def test_what_is_not_tried_has_its_reason(
    kind: DifferenceKind, service: str, edit: tuple[str, str], reason: str
) -> None:
    edits = [edit]
    if "ClusterIP" in edit[1]:
        edits.append((", nodePort: 30080", ""))
    found = trials("ipvs@1.36", OLD, kind, service, *edits)
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize(
    ("backends", "choice"),
    [
        (["a"] * HELD, BackendChoice.ALWAYS_ONE),
        (["b", "a"] * 5, BackendChoice.IN_TURN),
        (["b", "a", "a", "b", "b", "a"], BackendChoice.IN_TURN),  # equal numbers after each pair
        (["a", "a", "b", "b"], BackendChoice.BY_CHANCE),
        (["a", "b", "c", "c", "b"], BackendChoice.IN_TURN),
        (["a", "b", "c", "c", "c"], BackendChoice.BY_CHANCE),
    ],
)
def test_how_backends_were_chosen(backends: list[str], choice: BackendChoice) -> None:
    assert choice_of(backends) is choice
