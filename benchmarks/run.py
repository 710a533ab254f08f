"""`make bench`: medians side by side in one run, the ratios, and the targets.

    python -m benchmarks.run [--quick] [--pods 10,100] [--rounds 5] [--only floor,kns] [--json FILE]

The contestants take turns in every round, so that a slow moment of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import KNS, Contestant, Times, contestants, timed

#: medians: contestant → pods → phase → milliseconds
Medians = dict[str, dict[int, Times]]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that was set for kns, and what was measured."""

    name: str
    measured: float
    bound: float
    unit: str = "ms"

    @property
    def ok(self) -> bool:
        return self.measured <= self.bound


def main() -> int:
    options = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("error: this needs root\nhint: make bench")
    sizes = [int(size) for size in options.pods.split(",")]
    with tempfile.TemporaryDirectory(prefix="kns-bench-") as folder:
        runners = [item for item in contestants() if not options.only or item.name in options.only]
        medians = measure(runners, sizes, options.rounds, Path(folder))
    help_ms = statistics.median(timed([*KNS, "--help"]) for _ in range(options.rounds))
    found = list(targets(medians, help_ms))
    print_tables(medians, sizes, options.rounds)
    print_targets(found)
    if options.json:
        report = {
            "kernel": platform.release(),
            "cores": os.cpu_count(),
            "rounds": options.rounds,
            "run": run_file_system(),
            "medians": medians,
            "help_ms": help_ms,
            "targets": [
                {
                    "name": t.name,
                    "measured": t.measured,
                    "bound": t.bound,
                    "unit": t.unit,
                    "ok": t.ok,
                }
                for t in found
            ],
        }
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(target.ok for target in found) or not options.strict else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="kns beside the kernel's floor and others")
    parser.add_argument("--quick", action="store_true", help="10 and 100 pods, three rounds")
    parser.add_argument("--pods", default="", help="sizes, with commas")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, with commas")
    parser.add_argument("--json", metavar="FILE", default="")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    options = parser.parse_args()
    options.pods = options.pods or ("10,100" if options.quick else "10,100,300,1000")
    options.rounds = options.rounds or (3 if options.quick else 5)
    return options


def measure(runners: list[Contestant], sizes: list[int], rounds: int, folder: Path) -> Medians:
    medians: Medians = {runner.name: {} for runner in runners}
    for pods in sizes:
        taking_part = [runner for runner in runners if pods <= runner.most_pods]
        results: dict[str, list[Times]] = {runner.name: [] for runner in taking_part}
        for number in range(rounds):
            for runner in taking_part:
                note(f"{pods} pods, round {number + 1} of {rounds}: {runner.name}")
                results[runner.name].append(runner.run(pods, folder))
        for name, times in results.items():
            medians[name][pods] = {
                phase: statistics.median(one[phase] for one in times) for phase in times[0]
            }
    note("")
    return medians


def note(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def run_file_system() -> str:
    """What /run is on: kns and `ip netns` keep a lab's files there."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next(kind for _, at, kind, *_ in reversed(mounts) if at in ("/run", "/"))


def print_tables(medians: Medians, sizes: list[int], rounds: int) -> None:
    print(
        f"Linux {platform.release()}, {os.cpu_count()} cores, /run on {run_file_system()},"
        f" medians of {rounds}, milliseconds\n"
    )
    print(f"{'':24}" + "".join(f"{f'{pods} pods':>18}" for pods in sizes))
    floor = medians["floor"]
    for name, by_size in medians.items():
        for phase in ("up", "again", "down", "probe"):
            if any(phase in times for times in by_size.values()):
                cells = (cell(by_size.get(pods), floor[pods], phase) for pods in sizes)
                print(f"{f'{name} {phase}':24}" + "".join(f"{text:>18}" for text in cells))
    memory = (f"{medians['kns'][pods]['agent_mb']:.0f} MB" for pods in sizes)
    print(f"{'kns agent':24}" + "".join(f"{text:>18}" for text in memory))
    print("\n(in brackets: times the floor)\n")


def cell(times: Times | None, floor: Times, phase: str) -> str:
    if times is None or phase not in times:
        return "-"
    ratio = f" ({times[phase] / floor[phase]:.2f})" if phase in floor else ""
    return f"{times[phase]:.0f}{ratio}"


def targets(medians: Medians, help_ms: float) -> Iterator[Target]:
    floor, kns = medians["floor"], medians["kns"]
    for pods, times in kns.items():
        if pods <= 10:
            yield Target(f"up, {pods} pods", times["up"], 1000)
        if pods <= 100:
            yield Target(f"up again, {pods} pods", times["again"], 600)
            yield Target(f"probe, one curl, {pods} pods", times["probe"], 200)
        if 10 < pods <= 100:
            bound = 1.5 * floor[pods]["up"] + 300
            yield Target(f"up, {pods} pods: 1.5 x floor + 300", times["up"], bound)
        if pods >= 1000:
            bound = 1.35 * floor[pods]["up"] + 300
            yield Target(f"up, {pods} pods: 1.35 x floor + 300", times["up"], bound)
            yield Target(f"up again, {pods} pods", times["again"], 1000)
            yield Target(f"agent, {pods} pods", times["agent_mb"], 150, "MB")
        bound = 1.2 * floor[pods]["down"] + 150
        yield Target(f"down, {pods} pods: 1.2 x floor + 150", times["down"], bound)
    yield Target("kns --help", help_ms, 100)


def print_targets(found: list[Target]) -> None:
    for target in found:
        verdict = "reached" if target.ok else "MISSED"
        print(
            f"{target.name:36}{target.measured:8.0f} {target.unit:2}"
            f"  at most {target.bound:6.0f} {target.unit:2}  {verdict}"
        )


if __name__ == "__main__":
    sys.exit(main())
