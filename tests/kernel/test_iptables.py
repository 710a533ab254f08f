"""Loading rules beside somebody who holds the legacy programs' lock."""

from __future__ import annotations

import fcntl
import subprocess
import threading
from pathlib import Path

import pytest

from kns.addresses import IPFamily
from kns.kernel import iptables, netns
from kns.plan.ops import RestoreIptables
from kns.state.iptables import table_changes
from kns.state.model import Chain, IptablesTable
from tests.legacy_iptables import legacy_path

LOCK = Path("/run/xtables.lock")
TABLE = IptablesTable(IPFamily.IPV4, "nat", (Chain("KUBE-SERVICES"),))

pytestmark = [pytest.mark.kernel]


def test_a_lock_held_for_long_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lock serves all netns, and many nodes' rules are loaded side by side."""
    monkeypatch.setenv("PATH", legacy_path(tmp_path))
    subprocess.run(["ip", "netns", "add", "locked"], check=True)
    op = RestoreIptables("locked", IPFamily.IPV4, table_changes((TABLE,), ()))
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        longer_than_kube_proxy_waits = threading.Timer(6, fcntl.flock, (lock, fcntl.LOCK_UN))
        longer_than_kube_proxy_waits.start()
        try:
            netns.call_in("locked", iptables.apply_here, op)
        finally:
            longer_than_kube_proxy_waits.join()
            subprocess.run(["ip", "netns", "del", "locked"], check=True)
