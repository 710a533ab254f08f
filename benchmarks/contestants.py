"""What is measured: each contestant builds the same network of PODS pods and takes it down again.

Everything runs as whole processes, as a user starts them, timed from outside. `make bench` runs all
of it inside throw-away namespaces, so nothing that a contestant leaves reaches the host.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

NODES = 4
SERVICES = 10
LAB = "bench"
KNS = [sys.executable, "-m", "kns.cli.main"]
CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))

#: milliseconds by phase: `up`, `again`, `down`, …
Times = dict[str, float]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that builds a network; `most_pods` is where it takes too long to be of interest."""

    name: str
    run: Callable[[int, Path], Times]
    most_pods: int = 1000


def timed(
    argv: Sequence[str | Path], *, env: dict[str, str] | None = None, text: str = ""
) -> float:
    """Run a program, which must succeed, and return its wall-clock time in milliseconds."""
    start = time.perf_counter()
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, env=env, check=False, timeout=600
    )
    elapsed = (time.perf_counter() - start) * 1000
    if done.returncode != 0:
        command = " ".join(map(str, argv))
        sys.exit(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return elapsed


# -- kns -------------------------------------------------------------------------------------------


def lab_file(pods: int, folder: Path) -> Path:
    """A lab of `pods` pods on four nodes behind ten services."""
    lab = {
        "apiVersion": "kns/v1",
        "kind": "Lab",
        "metadata": {"name": LAB},
        "nodes": [{"name": f"node{n}"} for n in range(1, NODES + 1)],
        "pods": [
            {
                "name": f"pod{n}",
                "node": f"node{n % NODES + 1}",
                "labels": {"app": f"app{n % SERVICES}"},
                "containers": [{"name": "web", "port": 8080}],
            }
            for n in range(1, pods + 1)
        ],
        "services": [
            {
                "name": f"svc{n}",
                "selector": {"app": f"app{n}"},
                "ports": [{"port": 80, "targetPort": 8080}],
            }
            for n in range(SERVICES)
        ],
    }
    path = folder / f"bench-{pods}.yaml"
    path.write_text(json.dumps(lab), encoding="utf-8")  # JSON is YAML
    return path


def run_kns(pods: int, folder: Path) -> Times:
    """`up`, `up` again with nothing to change, one probe, `down`; and the agent's memory in MB."""
    lab = lab_file(pods, folder)
    try:
        up = timed([*KNS, "up", lab])
        again = timed([*KNS, "up", lab])
        probe = timed([*KNS, "probe", "pod1", "svc2"])
        memory = agent_megabytes()
    finally:
        down = timed([*KNS, "down", LAB])
    return {"up": up, "again": again, "probe": probe, "down": down, "agent_mb": memory}


def agent_megabytes() -> float:
    """Resident memory of the lab's agent."""
    pid = Path(f"/run/kns/{LAB}/agent.pid").read_text(encoding="ascii").strip()
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    sys.exit("the agent tells no VmRSS")


# -- the floor -------------------------------------------------------------------------------------


def compile_floor(folder: Path) -> Path:
    """Build floor.c; a C compiler is part of `make setup-test`."""
    binary = folder / "floor"
    source = Path(__file__).with_name("floor.c")
    timed(["cc", "-O2", "-o", binary, source])
    return binary


def run_floor(pods: int, folder: Path) -> Times:
    """The kernel's own time for the same netns, links, addresses and routes, in raw netlink."""
    binary = folder / "floor"
    if not binary.exists():
        compile_floor(folder)
    done = subprocess.run(
        [binary, str(pods), str(NODES)], capture_output=True, text=True, check=True, timeout=600
    )
    told = json.loads(done.stdout)
    return {"up": told["up_ms"], "down": told["down_ms"]}


# -- CNI plugins -----------------------------------------------------------------------------------


def cni_folder() -> Path | None:
    """Where the plugins are (Debian: containernetworking-plugins), if they are."""
    return next((folder for folder in CNI_PLUGINS if (folder / "bridge").exists()), None)


def run_cni(pods: int, folder: Path) -> Times:
    """What kubelet's runtime does: a netns a pod, one ADD of bridge with host-local each."""
    plugins = cni_folder()
    assert plugins is not None
    config = json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": "bridge",
            "bridge": "cni-bench0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(folder / "ipam"),
                "ranges": [[{"subnet": "10.240.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    )
    names = [f"cni-bench-{n}" for n in range(pods)]

    def call(command: str) -> float:
        total = 0.0
        for name in names:
            if command == "ADD":
                total += timed(["ip", "netns", "add", name])
            env = {
                "PATH": os.environ["PATH"],
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": name,
                "CNI_NETNS": f"/run/netns/{name}",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(plugins),
            }
            total += timed([plugins / "bridge"], env=env, text=config)
            if command == "DEL":
                total += timed(["ip", "netns", "delete", name])
        return total

    try:
        up = call("ADD")
    finally:
        down = call("DEL")
        timed(["ip", "link", "delete", "cni-bench0"])
        shutil.rmtree(folder / "ipam", ignore_errors=True)
    return {"up": up, "down": down}


# -- mininet ---------------------------------------------------------------------------------------


def run_mininet(pods: int, folder: Path) -> Times:  # noqa: ARG001 - as the others
    """`mn` with one Linux bridge and PODS hosts, built and torn down by one process."""
    both = timed(
        [
            "mn",
            "--topo",
            f"single,{pods}",
            "--switch",
            "lxbr",
            "--controller",
            "none",
            "--test",
            "none",
        ]
    )
    return {"up": both}


def contestants() -> list[Contestant]:
    """Those that this machine has, kns and the floor first."""
    found = [Contestant("floor", run_floor), Contestant("kns", run_kns)]
    if cni_folder() is not None:
        found.append(Contestant("cni bridge", run_cni, most_pods=100))
    if shutil.which("mn") and shutil.which("brctl"):
        found.append(Contestant("mininet", run_mininet, most_pods=100))
    return found
