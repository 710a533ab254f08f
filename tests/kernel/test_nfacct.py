"""Accounting objects, and rules that count by them, in a netns of the test's own."""

from __future__ import annotations

import pytest

from kns.addresses import IPFamily
from kns.kernel import iptables, netns, nfacct, syscalls
from kns.kernel.nfacct import NfacctSupport
from kns.plan.ops import RestoreIptables
from kns.state.iptables import table_changes, unused_objects
from kns.state.model import Chain, IptablesTable

pytestmark = pytest.mark.kernel

RULE = "-m conntrack --ctstate INVALID -m nfacct --nfacct-name  dropped -j DROP"
TABLE = IptablesTable(IPFamily.IPV4, "filter", (Chain("INPUT", (RULE,), "ACCEPT"),))


def test_objects_are_made_once_and_listed() -> None:
    if nfacct.support() is NfacctSupport.NOTHING:
        pytest.skip("this kernel has no nfacct")

    def body() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        assert nfacct.list_here() == ()
        nfacct.ensure_here(["a", "b"])
        nfacct.ensure_here(["b", "c"])
        assert sorted(nfacct.list_here()) == ["a", "b", "c"]

    netns.in_thread(body)


def test_objects_go_with_the_last_rule_that_counts_by_them() -> None:
    if nfacct.support() is not NfacctSupport.WHOLE:
        pytest.skip("this kernel has no nfacct")
    kept = IptablesTable(IPFamily.IPV6, "filter", TABLE.chains)

    def body() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        for table in (TABLE, kept):
            iptables.apply_here(RestoreIptables("here", table.family, table_changes((table,), ())))
        unused = unused_objects((), iptables.read_here())
        assert unused == ("dropped",)
        assert unused_objects((kept,), (TABLE, kept)) == ()
        for table in (TABLE, kept):
            emptied = table_changes((), (table,))
            iptables.apply_here(RestoreIptables("here", table.family, emptied))
        nfacct.delete_here(unused)
        assert nfacct.list_here() == ()
        nfacct.delete_here(unused)

    netns.in_thread(body)


def test_rules_find_the_objects_by_which_they_count() -> None:
    if nfacct.support() is not NfacctSupport.WHOLE:
        pytest.skip("this kernel has no nfacct")

    def body() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        op = RestoreIptables("here", IPFamily.IPV4, table_changes((TABLE,), ()))
        iptables.apply_here(op)
        found = [t for t in iptables.read_here() if t.family is IPFamily.IPV4]
        assert [c.rules for t in found for c in t.chains if c.name == "INPUT"] == [(RULE,)]
        assert table_changes(found, found) == ()
        iptables.apply_here(op)

    netns.in_thread(body)
