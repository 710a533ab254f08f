"""`kns compare`: the same lab in several modes or releases of kube-proxy, one after the other.

For each: up ─▶ node1's rules are taken away and loaded, whole and for one endpoint's change
─▶ every check of `kns verify` ─▶ new connections to one service ─▶ down.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kns.cluster.model import Cluster
from kns.compile.lab import compile_node
from kns.compile.names import netns_with
from kns.compile.paths import LabPaths
from kns.engine.down import down
from kns.engine.labs import lab_netns
from kns.engine.up import desire, up
from kns.errors import PlatformError, UsageError
from kns.experiment.bench.latency import measure
from kns.experiment.bench.model import Latency, SyncTime
from kns.experiment.bench.scenario import without_rules
from kns.experiment.bench.sync import timed_sync
from kns.experiment.setting import ProxyVariant
from kns.kinds.common import Protocol
from kns.kinds.endpointslice import Endpoint, EndpointSlice
from kns.kinds.pod import Pod
from kns.kinds.release import Release
from kns.kinds.service import Service, ServicePort, TrafficPolicy
from kns.plan.size import RulesetSize, ruleset_size
from kns.probe.ask.places import places_of
from kns.probe.probe import ProbeOptions, probe
from kns.probe.verify import VerifyReport, verify
from kns.state.model import Netns

#: connections whose time is taken, and requests whose answerers are counted
CONNECTIONS, REQUESTS = 200, 60

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """The service that is called, from which pod, and one of its slices, to change an endpoint."""

    client: Pod
    service: Service
    port: ServicePort
    slice: EndpointSlice

    @property
    def label(self) -> str:
        """`client → svc:port`."""
        return f"{self.client.name} → {self.service.name}:{self.port.port}"


@dataclass(frozen=True, slots=True)
class ModeResult:
    """A lab in one variant. `ruleset`, `full` and `change` are those of the first node."""

    variant: ProxyVariant
    release: Release
    up_seconds: float
    ruleset: RulesetSize
    full: SyncTime
    change: SyncTime | None
    latency: Latency | None
    backends: dict[str, int]
    report: VerifyReport


@dataclass(frozen=True, slots=True)
class Difference:
    """A check whose promise is not the same in all variants, by their names.

    "" where a variant has no such check.
    """

    check: str
    expected: dict[str, str]
    actual: dict[str, str]


@dataclass(frozen=True, slots=True)
class Missing:
    """A variant whose mode this machine lacks."""

    variant: ProxyVariant
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class CompareReport:
    """All variants of a lab side by side; `subject` is empty if no service could be called."""

    lab: str
    node: str
    subject: str
    results: tuple[ModeResult, ...]
    missing: tuple[Missing, ...] = ()

    @property
    def failed(self) -> int:
        """Promises that a variant broke."""
        return sum(result.report.failed for result in self.results)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What the variants promise differently, in the order of the checks."""
        return differences(self.results)

    def to_json(self) -> dict[str, object]:
        """The documented form."""
        return {
            "lab": self.lab,
            "node": self.node,
            "subject": self.subject,
            "modes": [_mode_json(result) for result in self.results],
            "differences": [
                {
                    "check": item.check,
                    "expected": item.expected,
                    "actual": item.actual,
                }
                for item in self.differences
            ],
            "missing": [
                {
                    "setting": str(item.variant),
                    "mode": str(item.variant.mode),
                    "reason": item.reason,
                    "hint": item.hint,
                }
                for item in self.missing
            ],
        }


def _mode_json(result: ModeResult) -> dict[str, object]:
    return {
        "setting": str(result.variant),
        "mode": str(result.variant.mode),
        "version": str(result.release),
        "up_s": round(result.up_seconds, 4),
        "rules": result.ruleset.rules,
        "elements": result.ruleset.elements,
        "bytes": result.ruleset.size,
        "full_sync_s": round(result.full.total, 4),
        "endpoint_sync_s": round(result.change.total, 4) if result.change else None,
        "latency": (
            {"p50_us": round(result.latency.p50, 1), "p99_us": round(result.latency.p99, 1)}
            if result.latency
            else None
        ),
        "backends": result.backends,
        "passed": result.report.passed,
        "failed": result.report.failed,
    }


def compare(
    path: Path,
    variants: Sequence[ProxyVariant],
    progress: Progress = lambda _line: None,
    more: Sequence[Path] = (),
) -> CompareReport:
    """Build the lab in each variant and compare. Those that this machine lacks are in `missing`.

    Raises UsageError if the lab is up: comparing builds and removes it.
    """
    cluster = desire(path, None, more=more).cluster
    if lab_netns(cluster.name):
        raise UsageError(
            f"lab {cluster.name} is up; comparing would build and remove it",
            hint=f"kns down {cluster.name}",
        )
    results: list[ModeResult] = []
    missing: list[Missing] = []
    for variant in variants:
        progress(f"{variant}: building")
        try:
            with _lab(path, more, variant) as (built, seconds):
                results.append(_measure(built, variant, seconds, progress))
        except PlatformError as error:
            missing.append(Missing(variant, error.message, error.hint))
    subject = subject_of(cluster)
    return CompareReport(
        cluster.name,
        cluster.nodes[0].name,
        subject.label if subject else "",
        tuple(results),
        tuple(missing),
    )


@contextlib.contextmanager
def _lab(
    path: Path, more: Sequence[Path], variant: ProxyVariant
) -> Iterator[tuple[Cluster, float]]:
    """The lab in the variant, and how long it took to build; removed at the end."""
    start = time.perf_counter()
    result = up(path, more=more, proxy_mode=variant.mode, release=variant.release)
    seconds = time.perf_counter() - start
    try:
        yield result.cluster, seconds
    finally:
        down(result.lab)


def _measure(
    cluster: Cluster, variant: ProxyVariant, seconds: float, progress: Progress
) -> ModeResult:
    subject = subject_of(cluster)
    full, change, rules = _sync_times(cluster, subject)
    progress(f"{variant}: verifying")
    places = places_of(cluster.name, LabPaths(cluster.name))
    report = verify(cluster, places)
    latency: Latency | None = None
    backends: dict[str, int] = {}
    if subject is not None:
        address = str(subject.service.cluster_ips[0])
        client = netns_with(cluster.name, subject.client)
        target = {"service": (address, subject.port.port)}
        latencies, _cpu = measure(client, target, (), connections=CONNECTIONS, seed=1)
        latency = latencies["service"]
        name = f"svc/{subject.service.namespace}/{subject.service.name}"
        options = ProbeOptions(port=str(subject.port.port), count=REQUESTS)
        source = f"pod/{subject.client.namespace}/{subject.client.name}"
        backends = probe(cluster, places, source, name, options).backends
    return ModeResult(
        variant,
        cluster.network.kube_proxy.version,
        seconds,
        ruleset_size(rules),
        full,
        change,
        latency,
        backends,
        report,
    )


# -- syncing ---------------------------------------------------------------------------------------


def _sync_times(
    cluster: Cluster, subject: Subject | None
) -> tuple[SyncTime, SyncTime | None, Netns]:
    """Take the first node's rules away, load them, replace one endpoint and put it back."""
    rules = _node_state(cluster)
    bare = without_rules(rules)
    timed_sync(lambda: bare, rules)
    full, _ = timed_sync(lambda: _node_state(cluster), bare)
    if subject is None:
        return full, None, rules
    fewer = _without_endpoint(cluster, subject.slice)
    change, changed = timed_sync(lambda: _node_state(fewer), rules)
    timed_sync(lambda: rules, changed)
    return full, change, rules


def _node_state(cluster: Cluster) -> Netns:
    node = cluster.nodes[0]
    pods = tuple(pod for pod in cluster.pods if pod.node == node.name)
    return compile_node(cluster, node, pods)


def _without_endpoint(cluster: Cluster, chosen: EndpointSlice) -> Cluster:
    fewer = replace(chosen, endpoints=chosen.endpoints[1:])
    slices = tuple(fewer if item == chosen else item for item in cluster.endpoint_slices)
    return replace(cluster, endpoint_slices=slices)


# -- what is called --------------------------------------------------------------------------------


def subject_of(cluster: Cluster) -> Subject | None:
    """The service with the most ready endpoints that any pod may call by TCP, and a caller.

    The caller is a pod of the first node if there is one, rather not a backend itself.
    """
    found: Subject | None = None
    for service in cluster.services:
        port = next((p for p in service.ports if p.protocol is Protocol.TCP), None)
        if not service.cluster_ips or port is None or service.namespace == "kube-system":
            continue
        if service.internal_traffic_policy is TrafficPolicy.LOCAL:
            continue
        for item in cluster.endpoint_slices:
            if (item.namespace, item.service) != (service.namespace, service.name):
                continue
            if item.address_type.version != service.cluster_ips[0].version:
                continue
            client = _client(cluster, item)
            better = found is None or _ready(item) > _ready(found.slice)
            if client is not None and _ready(item) and better:
                found = Subject(client, service, port, item)
    return found


def _ready(item: EndpointSlice) -> int:
    return sum(_is_ready(endpoint) for endpoint in item.endpoints)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.ready is not False and bool(endpoint.pod)


def _client(cluster: Cluster, item: EndpointSlice) -> Pod | None:
    backends = {endpoint.pod for endpoint in item.endpoints}
    first = cluster.nodes[0].name
    pods = [pod for pod in cluster.pods if pod.namespace != "kube-system"]
    ordered = sorted(pods, key=lambda pod: (pod.full_name in backends, pod.node != first))
    return ordered[0] if ordered else None


# -- what differs ----------------------------------------------------------------------------------


def differences(results: Sequence[ModeResult]) -> tuple[Difference, ...]:
    """The checks whose promise is not the same in all variants."""
    by_variant = {
        str(result.variant): {check.id: check for check in result.report.checks}
        for result in results
    }
    names = dict.fromkeys(check.id for result in results for check in result.report.checks)
    found = []
    for name in names:
        checks = {variant: by_id.get(name) for variant, by_id in by_variant.items()}
        expected = {variant: check.expected if check else "" for variant, check in checks.items()}
        if len(set(expected.values())) > 1:
            actual = {variant: check.actual if check else "" for variant, check in checks.items()}
            found.append(Difference(name, expected, actual))
    return tuple(found)
