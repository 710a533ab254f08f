"""Lab files for tests of the engine, and what a lab may leave behind: nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from kns.cluster.model import Cluster
from kns.compile.names import lab_prefix
from kns.compile.paths import RUN_DIR
from kns.engine.down import down
from kns.engine.up import up
from kns.kernel import netns, processes
from kns.kernel.processes import run
from kns.kinds.networking import ProxyMode
from kns.probe.ask.places import Places
from kns.probe.verify import CheckResult, VerifyReport, verify
from tests.vm import features

SMALL = """\
apiVersion: kns/v1
kind: Lab
metadata: {{name: {name}}}
networking: {{dns: {{enabled: false}}}}
nodes: [{{name: node1}}{nodes}]
pods:
{pods}
services:
- {{name: svc-a, selector: {{app: a}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


def small_lab(name: str, *, pods: int = 1, nodes: int = 1) -> str:
    """A lab file with pods pod1… on nodes node1…, all behind svc-a."""
    lines = "\n".join(
        f"- {{name: pod{i + 1}, node: node{i % nodes + 1}, labels: {{app: a}}}}"
        for i in range(pods)
    )
    more = "".join(f", {{name: node{i + 2}}}" for i in range(nodes - 1))
    return SMALL.format(name=name, pods=lines, nodes=more)


def write_lab(folder: Path, text: str) -> Path:
    """The text as a file."""
    file = folder / "lab.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def broken_promises(
    report: VerifyReport, cluster: Cluster, places: Places
) -> tuple[CheckResult, ...]:
    """The checks that failed. In the rig's VM they are carried out a second time before they count.

    An emulated machine may take longer than a probe's four seconds to answer many at once.
    """
    failed = tuple(check for check in report.checks if not check.ok)
    return still_broken(failed, cluster, places) if failed and features.required() else failed


def still_broken(
    failed: tuple[CheckResult, ...], cluster: Cluster, places: Places
) -> tuple[CheckResult, ...]:
    """Those of the checks, at least one, that fail a second time."""
    again = "|".join(f"^{re.escape(check.id)}$" for check in failed)
    return tuple(c for c in verify(cluster, places, only=again).checks if not c.ok)


@dataclass(slots=True)
class OneLab:
    """A lab that is built in one form after the other, each as long as tests ask for it.

    pytest builds a parametrized fixture again for each row of a table.
    """

    name: str
    folder: Path
    form: tuple[str, ProxyMode] | None = None

    def ensure(self, text: str, mode: ProxyMode) -> Path:
        """The lab is up in that form, as its file says; returns the file."""
        file = self.folder / "lab.yaml"
        if self.form != (text, mode):
            self.remove()
            file.write_text(text, encoding="utf-8")
            self.form = (text, mode)
            up(file, proxy_mode=mode)
        return file

    def mend(self) -> None:
        """Converge it to its file again."""
        assert self.form is not None
        up(self.folder / "lab.yaml", proxy_mode=self.form[1])

    def remove(self) -> None:
        """Nothing of it is left."""
        self.form = None
        down(self.name)
        assert leftovers(self.name) == {}


def leftovers(lab: str) -> dict[str, object]:
    """Everything of the lab that is still there, by kind; empty if nothing is."""
    mounts = [
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        if lab_prefix(lab) in line
    ]
    pids = [
        pid
        for entry in os.scandir("/proc")
        if entry.name.isdigit()
        and b"kns.agent\0" + lab.encode() in processes.command_line(pid := int(entry.name))
    ]
    found = {
        "netns": list(netns.list_netns(lab_prefix(lab))),
        "mounts": mounts,
        "processes": pids,
        "files": [str(path) for path in RUN_DIR.glob(f"*{lab}*")] if RUN_DIR.exists() else [],
    }
    return {kind: what for kind, what in found.items() if what}


FINGERPRINT = (
    ("ip", "-d", "-j", "link"),
    ("ip", "-j", "addr"),
    ("ip", "-j", "route", "show", "table", "all"),
    ("ip", "-j", "-6", "route", "show", "table", "all"),
    ("ip", "-j", "rule"),
    ("ip", "-j", "neigh"),
    ("nft", "-s", "list", "ruleset"),
    ("iptables-save",),
    ("sysctl", "-a", "-r", "^net\\."),
)
#: counters and clocks that pass by themselves
MOVING = (
    "nf_conntrack_count",
    "preferred_life_time",
    "valid_life_time",
    "tcp_mem",
    "stable_secret",
)


def fingerprint() -> str:
    """The host's own network: links, addresses, routes, rules, nft ruleset, sysctls under net."""
    parts = []
    for argv in FINGERPRINT:
        done = run(argv, timeout=60)
        lines = [line for line in done.stdout.splitlines() if not any(w in line for w in MOVING)]
        parts.append(f"{' '.join(argv)}: {done.returncode}\n" + "\n".join(lines))
    return "\n".join(parts)
