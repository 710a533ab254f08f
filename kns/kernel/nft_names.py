"""Which nft tables a netns has, by one netlink dump: no program is started for it."""

from __future__ import annotations

import contextlib
import struct

from pyroute2.netlink import NETLINK_NETFILTER, NLM_F_DUMP

from kns.kernel import values
from kns.kernel.netlink import BODY, Socket, attributes, readdressed

#: linux/netfilter/nfnetlink.h NFNL_SUBSYS_NFTABLES, nf_tables.h NFT_MSG_GETTABLE, NFTA_TABLE_NAME
_GET_TABLES, _NAME = (10 << 8) | 1, 1
#: struct nfgenmsg: family, version, resource id
_NFGENMSG = struct.Struct("=BBH")
#: linux/netfilter.h NFPROTO_*, as `nft` names them
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_REQUEST = readdressed(_NFGENMSG.pack(0, 0, 0), _GET_TABLES, NLM_F_DUMP)


def tables_here() -> frozenset[tuple[str, str]]:
    """Family and name of every table in the calling thread's netns; none without nf_tables."""
    found = set()
    with contextlib.closing(Socket(NETLINK_NETFILTER)) as sock, contextlib.suppress(OSError):
        for data in sock.dump(_REQUEST):
            family = _FAMILIES.get(data[BODY], "")
            name = values.text(attributes(data, {_NAME: "name"}, BODY + _NFGENMSG.size)["name"])
            found.add((family, name))
    return frozenset(found)
