"""The benchmark as a table and as a plot."""

from __future__ import annotations

from xml.etree import ElementTree

from kns.experiment.bench.latency import summarize
from kns.experiment.bench.model import (
    PLACES,
    BenchOptions,
    BenchPoint,
    BenchReport,
    Latency,
    SyncTime,
    Unmeasured,
)
from kns.kinds.networking import ProxyMode
from kns.plan.size import RulesetSize
from kns.report.bench import bench_svg, bench_table
from kns.report.plot import Line, Panel, number_text, plot_svg


def point(mode: ProxyMode, services: int, last: float) -> BenchPoint:
    return BenchPoint(
        mode=mode,
        services=services,
        ruleset=RulesetSize(5 * services, 2 * services, 2048 * services),
        full=SyncTime(0.25 * services, 0.75 * services),
        change=SyncTime(0.001, 0.002),
        observe=0.01,
        latency={place: Latency(40.0, last) for place in PLACES},
        cpu=51.6,
    )


REPORT = BenchReport(
    BenchOptions(endpoints=1, connections=300, seed=7),
    "6.12.0",
    2,
    (
        point(ProxyMode.IPTABLES, 1, 90),
        point(ProxyMode.IPTABLES, 100, 900),
        point(ProxyMode.NFTABLES, 100, 91),
    ),
    (Unmeasured(ProxyMode.IPVS, "ip_vs is missing"), Unmeasured(ProxyMode.IPTABLES, "slow", 1000)),
)


def test_table_has_a_row_for_each_point_and_names_what_is_missing() -> None:
    assert bench_table(REPORT) == (
        "MODE       SERVICES   RULES   ELEMENTS   KIB   FULL SYNC   ONE ENDPOINT"
        "   FIRST p50/p99   MIDDLE p50/p99   LAST p50/p99   CPU\n"
        "iptables   1          5       2          2     1.00 s      0.003 s     "
        "   40/90           40/90            40/90          52\n"
        "iptables   100        500     200        200   100 s       0.003 s     "
        "   40/900          40/900           40/900         52\n"
        "nftables   100        500     200        200   100 s       0.003 s     "
        "   40/91           40/91            40/91          52\n"
        "sync: compute and load; p50/p99: connect() to that service in µs;"
        " CPU: µs of the caller for one connection\n"
        "not measured: ipvs: ip_vs is missing\n"
        "not measured: iptables from 1000 services on: slow\n"
    )


def test_json_has_every_point_and_what_was_not_measured() -> None:
    found = REPORT.to_json()
    assert found["seed"] == 7
    assert found["unmeasured"] == [
        {"mode": "ipvs", "services": 0, "reason": "ip_vs is missing"},
        {"mode": "iptables", "services": 1000, "reason": "slow"},
    ]
    points = found["points"]
    assert isinstance(points, list)
    assert points[1] == {
        "mode": "iptables",
        "services": 100,
        "rules": 500,
        "elements": 200,
        "bytes": 204800,
        "full_compile_s": 25.0,
        "full_load_s": 75.0,
        "change_compile_s": 0.001,
        "change_load_s": 0.002,
        "observe_s": 0.01,
        "latency": {place: {"p50_us": 40.0, "p99_us": 900.0} for place in PLACES},
        "cpu_us": 51.6,
    }


def test_plot_is_xml_with_a_line_for_each_mode() -> None:
    root = ElementTree.fromstring(bench_svg(REPORT))
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    # two modes: a median and a dashed p99 in the first panel, one line in each of the other two
    assert len(lines) == 8


def test_plot_is_the_same_for_the_same_report() -> None:
    assert bench_svg(REPORT) == bench_svg(REPORT)


def test_axes_are_logarithmic() -> None:
    """Equal factors are equal distances."""
    line = Line("a", ((1, 1), (10, 10), (100, 100)))
    svg = plot_svg((Panel("t <&>", "x", "y", (line,)),), "c")
    (path,) = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline")
    (x1, y1), (x2, y2), (x3, y3) = [
        tuple(map(float, pair.split(","))) for pair in path.attrib["points"].split()
    ]
    assert abs((x3 - x2) - (x2 - x1)) < 0.2
    assert abs((y3 - y2) - (y2 - y1)) < 0.2
    assert y3 < y1


def test_numbers_on_the_axes_are_readable() -> None:
    assert [number_text(value) for value in (0.001, 1.0, 10000.0)] == ["0.001", "1", "10,000"]


def test_percentiles_are_by_nearest_rank() -> None:
    assert summarize([5, 1, 4, 2, 3]) == Latency(p50=3, p99=5)
    assert summarize(list(range(101))) == Latency(p50=50, p99=99)
