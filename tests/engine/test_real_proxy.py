"""What breaks a real kube-proxy on a machine, from what was seen there."""

from __future__ import annotations

import pytest

from kns.engine.real_proxy import (
    RuleCounts,
    examine_privileged,
    kernel_fact,
    nfacct_fact,
    nft_fact,
    variants_fact,
)
from kns.kernel import netns, processes, syscalls
from kns.kernel.nfacct import NfacctSupport


@pytest.mark.parametrize(("release", "ok"), [("5.10.0-28-amd64", False), ("6.1.0", True)])
def test_nftables_mode_wants_a_kernel(release: str, *, ok: bool) -> None:
    assert kernel_fact(release).ok is ok


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("nftables v0.9.8 (E.D.S.)", "nftables 1.0.1 or newer"),
        ("nftables v1.0.6 (Lester Gooch #5)", ""),
        ("nftables v1.1.3 (Commodore Bullmoose #4)", "nft 1.0.6.1 or newer"),
    ],
)
def test_nft_of_the_host_and_of_the_image_must_read_each_other(said: str, mend: str) -> None:
    fact = nft_fact(said)
    assert fact.ok is not bool(mend)
    assert mend in fact.mend


@pytest.mark.parametrize(
    ("found", "ok"),
    [(NfacctSupport.WHOLE, True), (NfacctSupport.OBJECTS, False), (NfacctSupport.NOTHING, True)],
)
def test_objects_without_the_match_keep_all_rules_out(found: NfacctSupport, *, ok: bool) -> None:
    fact = nfacct_fact(found)
    assert fact.ok is ok
    assert ("xt_nfacct" in fact.mend) is not ok


@pytest.mark.parametrize(
    ("counts", "ok"),
    [(RuleCounts(3, 0), True), (RuleCounts(0, 3), True), (RuleCounts(2, 3), False)],
)
def test_rules_of_both_variants_are_told(counts: RuleCounts, *, ok: bool) -> None:
    fact = variants_fact(counts)
    assert fact.ok is ok
    assert fact.found == f"rules: {counts.legacy} legacy, {counts.nft} nft"


@pytest.mark.kernel
def test_rules_are_counted_by_the_variant_that_wrote_them() -> None:
    def look() -> str:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        rules = "*filter\n-A INPUT -j ACCEPT\n-A OUTPUT -j ACCEPT\nCOMMIT\n"
        assert processes.run(["iptables-nft-restore"], input=rules).failure == ""
        legacy = processes.run(["iptables-legacy-restore"], input=rules).failure == ""
        found = next(f.found for f in examine_privileged() if f.name == "iptables variants")
        assert found == f"rules: {2 if legacy else 0} legacy, 2 nft"
        return found

    assert netns.in_thread(look)
