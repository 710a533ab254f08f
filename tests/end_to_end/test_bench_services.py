"""The benchmark runs, measures what it says, and leaves nothing behind."""

from __future__ import annotations

import pytest

from kns.engine.labs import lab_netns
from kns.errors import UsageError
from kns.experiment.bench.model import PLACES, BenchOptions
from kns.experiment.bench.scenario import Scenario, without_rules
from kns.experiment.bench.services import LAB, bench_services
from kns.experiment.bench.sync import only
from kns.kernel import netns
from kns.kinds.networking import ProxyMode
from kns.plan.diff import plan
from kns.plan.ops import LoadNft, RestoreIptables

pytestmark = pytest.mark.kernel

MODES = (ProxyMode.IPTABLES, ProxyMode.NFTABLES)


@pytest.fixture(scope="module", autouse=True)
def _nobody_else() -> None:
    if lab_netns(LAB):
        pytest.skip(f"a lab named {LAB} is running here")


def test_bench_measures_each_mode_and_size_and_removes_the_lab() -> None:
    options = BenchOptions(modes=MODES, sizes=(1, 5), endpoints=2, connections=20)
    report = bench_services(options)
    assert report.unmeasured == ()
    assert [(point.mode, point.services) for point in report.points] == [
        (mode, size) for mode in MODES for size in (1, 5)
    ]
    for point in report.points:
        assert set(point.latency) == set(PLACES)
        assert all(0 < value.p50 <= value.p99 for value in point.latency.values())
        assert point.full.load > 0
        assert point.ruleset.rules > 0
    assert lab_netns(LAB) == ()


def test_bench_stops_a_mode_that_takes_longer_than_the_limit() -> None:
    options = BenchOptions(
        modes=(ProxyMode.NFTABLES,), sizes=(1, 2, 3), connections=10, limit=0.0001
    )
    report = bench_services(options)
    assert [point.services for point in report.points] == [1]
    assert [(item.mode, item.services) for item in report.unmeasured] == [(ProxyMode.NFTABLES, 2)]


def test_bench_refuses_while_a_lab_of_its_name_is_there() -> None:
    name = f"kns.{LAB}.node1"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        with pytest.raises(UsageError):
            bench_services(BenchOptions(modes=MODES, sizes=(1,)))
    finally:
        netns.delete(name)


def test_replacing_an_endpoint_changes_one_service_only() -> None:
    scenario = Scenario(LAB, ProxyMode.NFTABLES, services=3, endpoints=2)
    before, after = scenario.rules(), scenario.rules(changed=1)
    (op,) = (op for op in plan(only(after), only(before)) if isinstance(op, LoadNft))
    assert isinstance(op, LoadNft)
    assert op.desired is not None
    assert op.observed is not None
    kept = {chain.name for chain in op.observed.chains if "svc-00001" not in chain.name}
    assert kept == {chain.name for chain in op.desired.chains if "svc-00001" not in chain.name}


def test_full_sync_starts_from_no_rules() -> None:
    scenario = Scenario(LAB, ProxyMode.IPTABLES, services=1, endpoints=1)
    rules = scenario.rules()
    ops = plan(only(rules), only(without_rules(rules)))
    assert {type(op) for op in ops} == {RestoreIptables}
