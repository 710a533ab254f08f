"""What somebody changes by hand in a lab is seen, mended, and nothing else is touched.

The changes of a kind are made together: each must be named by `status`, and after one `up` all
that the tools show is as it was.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kns.compile.names import lab_prefix
from kns.compile.paths import LabPaths
from kns.engine.down import down, removable_labs
from kns.engine.status import status
from kns.engine.up import up
from kns.kernel import netns
from kns.kernel.processes import Context, run
from tests.end_to_end.labfiles import fingerprint, leftovers, small_lab, write_lab
from tests.end_to_end.portrait import Portrait, differences, portrait

pytestmark = pytest.mark.kernel


class Change(NamedTuple):
    """A change in the netns of `place` by a shell command; `seen` is in its line of drift."""

    place: str
    command: str
    seen: str


def read_changes() -> dict[str, list[Change]]:
    """The table, by kind."""
    found: dict[str, list[Change]] = {}
    lines = (Path(__file__).parent / "drift.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("["):
            found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            place, command, seen = line.split(" | ")
            found[next(reversed(found))].append(Change(place, command, seen))
    return found


CHANGES = read_changes()
#: the lab as it was built
PORTRAIT: Portrait = {}
LAB = "drifttest"
NETWORK = "ipFamily: dual, podNetwork: vxlan, "


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    text = small_lab(LAB, pods=3, nodes=2).replace("networking: {", f"networking: {{{NETWORK}")
    path = write_lab(tmp_path_factory.mktemp("drift"), text)
    up(path)
    assert status(LAB).healthy
    wait_for_link_locals()
    PORTRAIT.update(portrait(LAB))
    yield path
    down(LAB)
    assert leftovers(LAB) == {}


def wait_for_link_locals() -> None:
    """Until the kernel has given each bridge its own address: it does once a port has a carrier."""
    script = "until ip -6 addr show dev {} scope link | grep -q fe80; do sleep 0.1; done"
    for place, bridge in (
        ("fabric", "underlay"), ("fabric", "internet0"), ("node1", "cni0"), ("node2", "cni0"),
    ):  # fmt: skip
        context = Context(f"{lab_prefix(LAB)}{place}")
        assert run(["sh", "-c", script.format(bridge)], context=context, timeout=60).failure == ""


def test_the_table_is_large() -> None:
    assert sum(map(len, CHANGES.values())) >= 200


def can_be_made(kind: str) -> bool:
    """False for what the kernel has no part for."""
    if kind == "ipsec":
        return Path("/proc/net/xfrm_stat").exists()
    if kind == "rules of the legacy programs":
        words = ["unshare", "-n", "iptables-legacy", "-t", "mangle", "-L"]
        return bool(shutil.which(words[2])) and run(words).failure == ""
    return True


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_by_hand_are_seen_and_mended(lab: Path, kind: str) -> None:
    if not can_be_made(kind):
        pytest.skip(f"this machine has no {kind}")
    for change in CHANGES[kind]:
        carry_out(change)
    drift = status(LAB).drift
    for change in CHANGES[kind]:
        assert any(
            line.startswith(f"{change.place}: ") and change.seen in line for line in drift
        ), (
            change,
            drift,
        )
    up(lab)
    assert differences(PORTRAIT, portrait(LAB)) == []
    assert up(lab).ops == ()
    assert status(LAB).healthy


def is_seen(change: Change, drift: tuple[str, ...]) -> bool:
    """True if a line of the drift names the change, at its place."""
    return any(line.startswith(f"{change.place}: ") and change.seen in line for line in drift)


def carry_out(change: Change) -> None:
    """Run the command in the place's netns."""
    context = Context(f"{lab_prefix(LAB)}{change.place}")
    done = run(["sh", "-ec", change.command], context=context, timeout=20)
    assert done.returncode == 0, (change, done.stderr)


# -- names that lead elsewhere ---------------------------------------------------------------------


def netns_path(place: str) -> str:
    return str(netns.path_of(f"{lab_prefix(LAB)}{place}"))


@pytest.mark.parametrize("source", ["/proc/self/ns/net", "pod1"])
def test_a_name_with_another_netns_over_it_is_made_anew(lab: Path, source: str) -> None:
    """Neither the host's netns nor the other pod's, which is mounted there, is touched."""
    host, pod1 = fingerprint(), netns.identity(f"{lab_prefix(LAB)}pod1")
    over = source if source.startswith("/") else netns_path(source)
    assert run(["mount", "--bind", over, netns_path("pod2")]).returncode == 0
    assert "pod2: delete netns" in status(LAB).drift
    up(lab)
    assert (fingerprint(), netns.identity(f"{lab_prefix(LAB)}pod1")) == (host, pod1)
    assert up(lab).ops == ()
    assert differences(PORTRAIT, portrait(LAB)) == []


def test_down_spares_the_processes_of_the_host_s_netns(tmp_path: Path) -> None:
    name = "driftdown"
    up(write_lab(tmp_path, small_lab(name)))
    with subprocess.Popen(["sleep", "60"]) as bystander:
        path = netns.path_of(f"{lab_prefix(name)}pod1")
        assert run(["mount", "--bind", "/proc/self/ns/net", str(path)]).returncode == 0
        down(name)
        assert bystander.poll() is None
        bystander.kill()
    assert leftovers(name) == {}


def test_the_lock_that_a_killed_up_leaves_is_seen_and_removed() -> None:
    lock = LabPaths("driftlock").lock
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    lock.touch(mode=0o600)
    assert "driftlock" in removable_labs()
    down("driftlock")
    assert not lock.exists()


# -- the ends of options ---------------------------------------------------------------------------

ENDS = [
    "kubeProxyMode: nftables, kubeProxy: {masqueradeBit: 31}",
    "kubeProxyMode: nftables, kubeProxy: {masqueradeBit: 0}",
    "kubeProxyMode: iptables, kubeProxy: {masqueradeBit: 31}",
    "kubeProxyMode: iptables, kubeProxy: {masqueradeBit: 0}",
    "mtu: 1280, ipFamily: ipv6",
    "mtu: 9000, podNetwork: vxlan, ipFamily: dual",
]


@pytest.mark.parametrize("options", ENDS)
def test_up_again_changes_nothing_at_the_ends_of_options(tmp_path: Path, options: str) -> None:
    name = "driftends"
    text = small_lab(name, pods=2, nodes=2).replace("networking: {", f"networking: {{{options}, ")
    path = write_lab(tmp_path, text)
    try:
        up(path)
        assert (status(name).drift, up(path).ops) == ((), ())
    finally:
        down(name)
