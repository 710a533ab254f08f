"""The DNS server of the DNS pods: questions a second on one core, and how long they take.

    python -m benchmarks.dns [--seconds 2] [--services 1000] [--window 32] [--json FILE]

One process serves a cluster of SERVICES services with ten endpoints each in a netns of its own; a
client keeps WINDOW questions under way. `per core` is what one core could answer: the questions by
the processor time that the server really used, so that a slow client does not hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from itertools import count, cycle, islice
from pathlib import Path

import dns.message

from kns.addresses import IPFamily
from kns.agent.serve.dns import DNSServer
from kns.cluster.model import Cluster, Network
from kns.cluster.zone import ClusterZone
from kns.kernel import netns, processes, sockets
from kns.kinds.endpointslice import Endpoint, EndpointPort, EndpointSlice
from kns.kinds.networking import DNSOptions
from kns.kinds.service import Service, ServicePort

ENDPOINTS = 10
PORT = 53
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of question: how many a second, and the time of one in milliseconds."""

    name: str
    per_second: float
    per_core: float
    median_ms: float
    p99_ms: float
    lost: int


def main() -> int:
    options = parse_arguments()
    if options.serve:
        serve(options.services)
        return 0
    if os.geteuid() != 0:
        sys.exit("error: this needs root\nhint: make bench")
    build = build_seconds(options.services)
    name = f"t-dns-bench-{os.getpid()}"
    netns.prepare_folder()
    netns.in_thread(netns.create_here, name)
    try:
        processes.run(["ip", "link", "set", "lo", "up"], context=processes.Context(name))
        results = measure_all(name, options)
    finally:
        netns.delete(name)
        netns.remove_folder_if_empty()
    report(results, build, options)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="questions a second of the built-in DNS server")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--json", metavar="FILE", default="")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


# -- the server, a process of its own --------------------------------------------------------------


def cluster(services: int) -> Cluster:
    """`services` services, half of them headless, with ten endpoints each."""
    cluster_ip = IPv4Network("10.96.0.0/12")
    pods = (IPv4Address("10.0.0.1") + number for number in count())
    slices = tuple(
        EndpointSlice(
            "default",
            f"svc-{number}-1",
            f"svc-{number}",
            IPFamily.IPV4,
            (EndpointPort(8080, "http"),),
            tuple(Endpoint((address,)) for address in islice(pods, ENDPOINTS)),
        )
        for number in range(services)
    )
    return Cluster(
        name="bench",
        network=Network(
            families=(IPFamily.IPV4,),
            pod_cidrs=(IPv4Network("10.0.0.0/8"),),
            service_cidrs=(cluster_ip,),
            node_cidrs=(),
            internet_cidrs=(),
            dns=DNSOptions(service_ips=(ip_address("10.96.0.10"),)),
        ),
        nodes=(),
        services=tuple(
            Service(
                "default",
                f"svc-{number}",
                cluster_ips=() if number % 2 else (cluster_ip[number + 20],),
                ports=(ServicePort(80, "http"),),
            )
            for number in range(services)
        ),
        endpoint_slices=slices,
    )


def serve(services: int) -> None:
    async def forever() -> None:
        zones = (ClusterZone(cluster(services)),)
        server = DNSServer(lambda: zones)
        server.serve_udp(sockets.open_here(ADDRESS, PORT, protocol="udp"))
        print("ready", flush=True)
        await asyncio.Event().wait()

    asyncio.run(forever())


def build_seconds(services: int) -> float:
    """How long a zone takes from the cluster to its first answer, all indexes made."""
    made = cluster(services)
    start = time.perf_counter()
    zone = ClusterZone(made)
    zone.lookup("svc-1.default.svc.cluster.local.", "A")
    zone.lookup("1.0.0.10.in-addr.arpa.", "PTR")
    return time.perf_counter() - start


# -- the client ------------------------------------------------------------------------------------


def measure_all(name: str, options: argparse.Namespace) -> list[Measured]:
    argv = [sys.executable, "-m", "benchmarks.dns", "--serve", "--services", str(options.services)]
    context = processes.Context(name)
    process = processes.spawn(argv, context=context, stdout=subprocess.PIPE)
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            sys.exit("error: the server did not start")
        kinds = {
            "cluster IP, asked before": cycle(questions("svc-{}", range(0, options.services, 2))),
            "ten endpoints, asked before": cycle(
                questions("svc-{}", range(1, options.services, 2))
            ),
            "every name for the first time": questions("no-{}", count()),
        }
        return [
            netns.call_in(name, measure, kind, wires, process.pid, options)
            for kind, wires in kinds.items()
        ]
    finally:
        process.kill()
        process.wait()


def questions(pattern: str, numbers: Iterator[int] | range) -> Iterator[bytes]:
    for number in numbers:
        name = f"{pattern.format(number)}.default.svc.cluster.local"
        yield dns.message.make_query(name, "A", id=0).to_wire()


def measure(kind: str, wires: Iterator[bytes], pid: int, options: argparse.Namespace) -> Measured:
    """Keep a window of questions under way until the time is over."""
    ready = list(islice(wires, 100_000))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((ADDRESS, PORT))
    sent: dict[int, float] = {}
    taken: list[float] = []
    lost = 0
    cpu_before, start = cpu_seconds(pid), time.perf_counter()
    end = start + options.seconds
    for number, wire in enumerate(cycle(ready)):
        while len(sent) >= options.window:
            if not select.select([sock], [], [], 1.0)[0]:
                lost += len(sent)
                sent.clear()
                break
            reply = sock.recv(4096)
            begun = sent.pop(int.from_bytes(reply[:2], "big"), None)
            if begun is not None:
                taken.append(time.perf_counter() - begun)
        now = time.perf_counter()
        if now > end:
            break
        identifier = number & 0xFFFF
        sent[identifier] = now
        sock.send(identifier.to_bytes(2, "big") + wire[2:])
    wall, cpu = time.perf_counter() - start, cpu_seconds(pid) - cpu_before
    sock.close()
    return Measured(
        kind,
        per_second=len(taken) / wall,
        per_core=len(taken) / cpu,
        median_ms=statistics.median(taken) * 1000,
        p99_ms=statistics.quantiles(taken, n=100)[98] * 1000,
        lost=lost,
    )


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far: fields 14 and 15 of /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(results: list[Measured], build: float, options: argparse.Namespace) -> None:
    endpoints = options.services * ENDPOINTS
    print(f"DNS: {options.services} services, {endpoints} endpoints, {options.window} under way\n")
    print(f"{'':32}{'per second':>12}{'per core':>12}{'median':>12}{'p99':>12}{'lost':>8}")
    for item in results:
        print(
            f"{item.name:32}{item.per_second:12,.0f}{item.per_core:12,.0f}"
            f"{item.median_ms:9.2f} ms{item.p99_ms:9.2f} ms{item.lost:8}"
        )
    print(f"\nzone and its indexes: {build * 1000:.0f} ms")
    if options.json:
        found = {"build_ms": build * 1000, "results": [asdict(item) for item in results]}
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
