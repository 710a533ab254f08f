"""What of a node's rules is kns' own: what kube-proxy's modes and network policies are known by."""

from __future__ import annotations

from kns.compile.networkpolicy import table as networkpolicy
from kns.compile.proxy.by_mode import proxies
from kns.state.model import RuleNames


def own_rules() -> RuleNames:
    """All of it together, whichever the lab has now: it may have had others before."""
    own = (*(mode.OWN for mode in proxies()), networkpolicy.OWN)
    tables = tuple(name for names in own for name in names.nft_tables)
    return RuleNames(tables, next((names.ipset_prefix for names in own if names.ipset_prefix), ""))
