"""What an op is refused with that needs a link which somebody has deleted since it was seen."""

from __future__ import annotations

import threading
from ipaddress import ip_interface

import pytest

from kns.errors import ApplyError
from kns.kernel import qdiscs
from kns.kernel.apply import _Worker
from kns.plan.ops import Add, LinkOp, Replace
from kns.state.model import Address
from kns.state.traffic import WHOLE_LINK, Shaper, TokenBucket, TrafficClass

NODE = "kns.lab.node1"
SHAPER = Shaper("eth0", (TrafficClass(WHOLE_LINK, TokenBucket(8_000)),))


def worker(*links: str) -> _Worker:
    indexes = {NODE: {name: 16 + place for place, name in enumerate(links)}}
    return _Worker(indexes if links else {}, threading.Event(), lambda _op: None)


@pytest.mark.parametrize("links", [(), ("lo", "eth1")])
@pytest.mark.parametrize(
    "op",
    [
        Add(NODE, Address("eth0", ip_interface("10.0.0.1/24"))),
        Add(NODE, SHAPER),
        Replace(NODE, SHAPER),
    ],
)
def test_the_link_is_named_whether_or_not_its_netns_has_others(
    links: tuple[str, ...], op: LinkOp
) -> None:
    with pytest.raises(ApplyError, match=r"^kns\.lab\.node1: .*: there is no link eth0$"):
        worker(*links)._queue(op)


def test_what_goes_wrong_while_the_kernel_is_asked_is_no_missing_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_args: object) -> None:
        raise KeyError("kind")

    monkeypatch.setattr(qdiscs, "read", read)
    monkeypatch.setattr(_Worker, "_socket", lambda _self, _name: None)
    with pytest.raises(KeyError, match="kind"):
        worker("eth0")._queue(Replace(NODE, SHAPER))
