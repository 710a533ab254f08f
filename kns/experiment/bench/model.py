"""What the benchmark of services measured, as values."""

from __future__ import annotations

from dataclasses import dataclass

from kns.kinds.networking import ProxyMode
from kns.plan.size import RulesetSize

#: the services that are called, by their place among all in the order of their names
PLACES = ("first", "middle", "last")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. `connections` are made to each place; `limit` is in seconds.

    A mode whose rules took longer than `limit` to load is not measured with more services.
    """

    modes: tuple[ProxyMode, ...] = tuple(ProxyMode)
    sizes: tuple[int, ...] = (1, 10, 100, 1000, 5000, 10000)
    endpoints: int = 1
    connections: int = 300
    seed: int = 1
    limit: float = 120.0


@dataclass(frozen=True, slots=True)
class Latency:
    """The time of connect() in microseconds: the median and the 99th percentile."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class SyncTime:
    """Seconds to compute rules, and to load what differs into the kernel."""

    compile: float
    load: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.compile + self.load


@dataclass(frozen=True, slots=True)
class BenchPoint:
    """One mode with one number of services.

    `cpu` is the calling thread's CPU time for one connection in microseconds, softirqs that run in
    its context included. `observe` is reading the rules back, which kns does before a change.
    """

    mode: ProxyMode
    services: int
    ruleset: RulesetSize
    full: SyncTime
    change: SyncTime
    observe: float
    latency: dict[str, Latency]
    cpu: float


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A mode, or from `services` on a part of it, that was left out, and why."""

    mode: ProxyMode
    reason: str
    services: int = 0


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All points, in the order of mode and size."""

    options: BenchOptions
    kernel: str
    cpus: int
    points: tuple[BenchPoint, ...]
    unmeasured: tuple[Unmeasured, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The report as JSON; times in seconds (`…_s`) and microseconds (`…_us`)."""
        return {
            "kernel": self.kernel,
            "cpus": self.cpus,
            "seed": self.options.seed,
            "endpoints": self.options.endpoints,
            "connections": self.options.connections,
            "points": [_point(point) for point in self.points],
            "unmeasured": [
                {"mode": str(item.mode), "services": item.services, "reason": item.reason}
                for item in self.unmeasured
            ],
        }


def _point(point: BenchPoint) -> dict[str, object]:
    return {
        "mode": str(point.mode),
        "services": point.services,
        "rules": point.ruleset.rules,
        "elements": point.ruleset.elements,
        "bytes": point.ruleset.size,
        "full_compile_s": round(point.full.compile, 4),
        "full_load_s": round(point.full.load, 4),
        "change_compile_s": round(point.change.compile, 4),
        "change_load_s": round(point.change.load, 4),
        "observe_s": round(point.observe, 4),
        "latency": {
            place: {"p50_us": round(value.p50, 1), "p99_us": round(value.p99, 1)}
            for place, value in point.latency.items()
        },
        "cpu_us": round(point.cpu, 1),
    }
