"""`kns bench services`: what a proxy mode costs with 1, 10, … 10,000 services.

For each mode and size a lab is built, node1 gets the rules, one endpoint is replaced, the first,
the middle and the last service are called, and the lab is removed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from kns.compile.own_rules import own_rules
from kns.engine import down, platform
from kns.engine.labs import lab_netns
from kns.errors import ApplyError, KnsError, UsageError
from kns.experiment.bench.latency import listening, measure
from kns.experiment.bench.model import (
    PLACES,
    BenchOptions,
    BenchPoint,
    BenchReport,
    Unmeasured,
)
from kns.experiment.bench.scenario import PORT, TARGET_PORT, Scenario, without_rules
from kns.experiment.bench.sync import only, timed_sync
from kns.kernel.apply import apply
from kns.kernel.observe import interests, observe
from kns.kinds.networking import ProxyMode
from kns.plan.diff import plan
from kns.plan.size import ruleset_size
from kns.state.model import HostState, Netns

LAB = "bench"
Progress = Callable[[str], None]


def bench_services(options: BenchOptions, progress: Progress = lambda _line: None) -> BenchReport:
    """Measure every mode and size; modes that this machine lacks are in `unmeasured`."""
    platform.require_root()
    if lab_netns(LAB):
        raise UsageError(f"a lab named {LAB} is there already", hint=f"kns down {LAB}")
    points: list[BenchPoint] = []
    unmeasured: list[Unmeasured] = []
    for mode in options.modes:
        try:
            for point in _points(mode, options, progress):
                points.append(point)
        except _TooSlowError as slow:
            unmeasured.append(slow.left_out)
        except KnsError as error:
            unmeasured.append(Unmeasured(mode, error.message))
    kernel = os.uname().release
    cpus = os.cpu_count() or 1
    return BenchReport(options, kernel, cpus, tuple(points), tuple(unmeasured))


class _TooSlowError(Exception):
    """A mode took longer than the limit: `left_out` are the sizes that are not tried."""

    def __init__(self, left_out: Unmeasured) -> None:
        super().__init__(left_out.reason)
        self.left_out = left_out


def _points(mode: ProxyMode, options: BenchOptions, progress: Progress) -> Iterator[BenchPoint]:
    sizes = sorted(options.sizes)
    for size, following in zip(sizes, [*sizes[1:], 0], strict=True):
        progress(f"{mode}: {size} services")
        point = _measure(Scenario(LAB, mode, size, options.endpoints), options)
        yield point
        if following and point.full.total > options.limit:
            reason = f"{size} services took {point.full.total:.0f} s to load"
            raise _TooSlowError(Unmeasured(mode, reason, following))


def _measure(scenario: Scenario, options: BenchOptions) -> BenchPoint:
    base = scenario.base()
    with _built(base, scenario):
        before = without_rules(_node_of(base, scenario))
        full, rules = timed_sync(scenario.rules, before)
        observed = _observe(scenario, rules)
        middle = scenario.services // 2
        change, rules = timed_sync(lambda: scenario.rules(middle), rules)
        indexes = (0, middle, scenario.services - 1)
        targets = {
            place: (scenario.address(index), PORT)
            for place, index in zip(PLACES, indexes, strict=True)
        }
        with listening(scenario.servers, TARGET_PORT) as listeners:
            latency, cpu = measure(
                scenario.client,
                targets,
                listeners,
                connections=options.connections,
                seed=options.seed,
            )
    return BenchPoint(
        mode=scenario.mode,
        services=scenario.services,
        ruleset=ruleset_size(rules),
        full=full,
        change=change,
        observe=observed,
        latency=latency,
        cpu=cpu,
    )


@contextlib.contextmanager
def _built(base: HostState, scenario: Scenario) -> Iterator[None]:
    """The lab without rules on node1; removed at the end, whatever happens."""
    bare = tuple(
        without_rules(space) if space.name == scenario.node else space for space in base.netns
    )
    state = replace(base, netns=bare)
    platform.require(base, scenario.cluster())
    try:
        apply(plan(state, HostState()), {})
        yield
    finally:
        down.remove(scenario.lab)


def _node_of(state: HostState, scenario: Scenario) -> Netns:
    return next(space for space in state.netns if space.name == scenario.node)


def _observe(scenario: Scenario, rules: Netns) -> float:
    """Seconds to read node1 back; ApplyError if it does not hold what was loaded."""
    wanted = only(rules)
    start = time.perf_counter()
    found = observe((scenario.node,), interests(wanted, own_rules()))
    seconds = time.perf_counter() - start
    seen = found.state.netns[0]
    # links are not compared: their far ends are in netns that were not read
    left = plan(only(rules), only(replace(seen, links=rules.links)))
    if left:
        raise ApplyError(f"{len(left)} differences after loading", netns=scenario.node)
    return seconds
