"""Faults of a lab: what its Lab document has broken on purpose. Kubernetes has no such kind.

The ends of a fault are named as on the command line: `pod1`, `namespace/pod1`, `node1`, `pod/x`,
`node/x`. No pod of `default` bears a node's name: both would be one netns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kns.kinds import names
from kns.kinds.fields import FLAG
from kns.labfile.reader import Integer, ListOf, Parsed, Reading
from kns.labfile.shape import Field, Shape
from kns.labfile.wording import RefusedError


class FaultEndKind(StrEnum):
    """What an end can be."""

    POD = "pod"
    NODE = "node"
    SERVICE = "svc"
    INTERNET = "internet"


@dataclass(frozen=True, slots=True)
class FaultEnd:
    """An end of a fault by name. No `kind`: whichever bears the name."""

    name: str
    kind: FaultEndKind | None = None
    namespace: str = "default"

    def __str__(self) -> str:
        if self.kind is FaultEndKind.INTERNET and self.name == self.kind:
            return self.name
        kind = f"{self.kind}/" if self.kind else ""
        namespace = f"{self.namespace}/" if self.namespace != "default" else ""
        return f"{kind}{namespace}{self.name}"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What is done to packets. Times in microseconds, shares in millionths, the rate in bits/s."""

    delay: int = 0
    jitter: int = 0
    delay_correlation: int = 0
    loss: int = 0
    loss_correlation: int = 0
    duplicate: int = 0
    duplicate_correlation: int = 0
    corrupt: int = 0
    corrupt_correlation: int = 0
    reorder: int = 0
    reorder_correlation: int = 0
    rate: int = 0
    limit: int = 0

    def to_document(self) -> dict[str, object]:
        """Its fields as the lab file has them; only what there is."""
        return {
            name: write(value)
            for name, attribute, write in _WRITTEN
            if (value := getattr(self, attribute))
        }


@dataclass(frozen=True, slots=True)
class NetemFault:
    """Packets on the way from one end to another are impaired; no end: any.

    Of what a link carries the nearest pair of ends counts, then what is said of the whole link.
    """

    source: FaultEnd | None
    target: FaultEnd | None
    impairment: Impairment

    def to_document(self) -> dict[str, object]:
        """As the lab file has it."""
        ends = {"from": self.source, "to": self.target}
        return {
            **{name: str(item) for name, item in ends.items() if item is not None},
            **self.impairment.to_document(),
        }


@dataclass(frozen=True, slots=True)
class Partition:
    """No packet passes between one side and the other, in neither direction."""

    one: tuple[FaultEnd, ...]
    other: tuple[FaultEnd, ...]

    def to_document(self) -> dict[str, object]:
        """As the lab file has it."""
        return {"between": [str(item) for item in self.one], "and": [str(i) for i in self.other]}


@dataclass(frozen=True, slots=True)
class Faults:
    """What is broken on purpose.

    Links that are down, as if somebody had pulled the cable; sides between which nothing passes;
    packets that are delayed, lost or held back on their way; pods that are not ready, whatever
    their probes say; a kube-proxy that deletes no entry of conntrack, as it was up to 1.31 on nodes
    without the program `conntrack`.
    """

    links_down: tuple[FaultEnd, ...] = ()
    netem: tuple[NetemFault, ...] = ()
    unready: tuple[FaultEnd, ...] = ()
    partitions: tuple[Partition, ...] = ()
    no_conntrack_cleanup: bool = False

    def to_document(self) -> dict[str, object]:
        """What the Lab document's `faults` would have to be; only what there is."""
        written: dict[str, object] = {
            "linksDown": [str(item) for item in self.links_down],
            "partitions": [item.to_document() for item in self.partitions],
            "netem": [item.to_document() for item in self.netem],
            "unready": [str(item) for item in self.unready],
            "noConntrackCleanup": self.no_conntrack_cleanup,
        }
        return {key: value for key, value in written.items() if value}


# -- quantities ------------------------------------------------------------------------------------

_QUANTITY = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-zA-Z%]+)")
_MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000}
_BITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
#: netem's and HTB's own rates are of 32 bits of bytes
_MOST_BITS = 30_000_000_000
#: a minute: what waits longer is as good as lost
_LONGEST = 60_000_000


def _quantity(value: object, units: Mapping[str, int], examples: str) -> int:
    found = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = units.get(found[2].lower()) if found else None
    if found is None or unit is None:
        hint = f"units: {', '.join(units)}"
        raise RefusedError.invalid(value, f"must be a number with a unit, (e.g. {examples})", hint)
    return round(float(found[1]) * unit)


def duration(value: object) -> int:
    """Microseconds of `50ms`. RefusedError if it is none of up to a minute."""
    found = _quantity(value, _MICROSECONDS, "50ms or 1.5s")
    if not 0 < found <= _LONGEST:
        raise RefusedError.invalid(value, "must be more than 0 and at most 60s")
    return found


def share(value: object) -> int:
    """Millionths of `1%`. RefusedError if it is none of up to 100%."""
    found = _quantity(value, {"%": 10_000}, "1% or 0.1%")
    if not 0 < found <= 1_000_000:
        raise RefusedError.invalid(value, "must be more than 0% and at most 100%")
    return found


def rate(value: object) -> int:
    """Bits per second of `10mbit`. RefusedError if it is none that a link can be held to."""
    found = _quantity(value, _BITS, "10mbit or 500kbit")
    if not 8_000 <= found <= _MOST_BITS:
        raise RefusedError.invalid(value, "must be between 8kbit and 30gbit, inclusive")
    return found - found % 8


def _written(units: Mapping[str, int]) -> Callable[[int], str]:
    """What writes a number in the largest unit that takes no decimals, or in the smallest."""

    def write(value: int) -> str:
        name, size = max(
            ((n, s) for n, s in units.items() if value % s == 0), key=lambda pair: pair[1]
        )
        return f"{value // size}{name}"

    return write


def _as_share(value: int) -> str:
    return f"{value / 10_000:g}%"


#: the fields of an impairment: in the lab file, here, and how its value is written there
_WRITTEN: tuple[tuple[str, str, Callable[[int], object]], ...] = (
    ("delay", "delay", _written(_MICROSECONDS)),
    ("jitter", "jitter", _written(_MICROSECONDS)),
    ("delayCorrelation", "delay_correlation", _as_share),
    ("loss", "loss", _as_share),
    ("lossCorrelation", "loss_correlation", _as_share),
    ("duplicate", "duplicate", _as_share),
    ("duplicateCorrelation", "duplicate_correlation", _as_share),
    ("corrupt", "corrupt", _as_share),
    ("corruptCorrelation", "corrupt_correlation", _as_share),
    ("reorder", "reorder", _as_share),
    ("reorderCorrelation", "reorder_correlation", _as_share),
    ("rate", "rate", _written(_BITS)),
    ("limit", "limit", int),
)

# -- reading ---------------------------------------------------------------------------------------

_KINDS = {str(kind): kind for kind in FaultEndKind}


def end(value: object) -> FaultEnd:
    """The end that a text names. RefusedError if it can be no name."""
    if not isinstance(value, str):
        raise RefusedError.invalid(value, "must be a string")
    if value == FaultEndKind.INTERNET:
        return FaultEnd(value, FaultEndKind.INTERNET)
    first, slash, rest = value.partition("/")
    kind = _KINDS.get(first) if slash else None
    namespace, _, name = (rest if kind else value).rpartition("/")
    objection = names.subdomain_objection(name)
    if not objection and namespace:
        objection = names.label_objection(namespace)
    if objection:
        hint = "name a pod, namespace/pod or a node; or pod/x, node/x"
        raise RefusedError.invalid(value, objection, hint)
    return FaultEnd(name, kind, namespace or "default")


_END = Parsed(end, {"type": "string", "examples": ["pod1", "kube-system/coredns-1", "node/node1"]})
_DURATION = Parsed(duration, {"type": "string", "examples": ["50ms", "200us", "1.5s"]})
_SHARE = Parsed(share, {"type": "string", "examples": ["1%", "0.1%"]})
_RATE = Parsed(rate, {"type": "string", "examples": ["10mbit", "500kbit", "1gbit"]})


def netem_fault(
    source: FaultEnd | None = None, target: FaultEnd | None = None, **impairment: int
) -> NetemFault:
    """The fault of these fields. RefusedError if they don't make one."""
    if source is None and target is None:
        raise RefusedError("Required value: from or to", "name one end, or both")
    if objection := impairment_objection(Impairment(**impairment)):
        raise RefusedError(*objection)
    return NetemFault(source, target, Impairment(**impairment))


def impairment_objection(found: Impairment) -> tuple[str, str] | None:
    """What is wrong with it, and what to do; None: nothing."""
    if not found.to_document() or found == Impairment(limit=found.limit):
        return "Required value: what happens to the packets", "say delay, loss, rate, …"
    needs = {
        "jitter": "delay",
        "delay_correlation": "jitter",
        "loss_correlation": "loss",
        "duplicate_correlation": "duplicate",
        "corrupt_correlation": "corrupt",
        "reorder": "delay",
        "reorder_correlation": "reorder",
    }
    for name, base in needs.items():
        if getattr(found, name) and not getattr(found, base):
            written = next(n for n, attribute, _ in _WRITTEN if attribute == name)
            return f"{written} has no effect without {base}", f"add {base}, or leave it out"
    return None


_NETEM = Shape(
    netem_fault,
    Field("from", _END, "source", default=None),
    Field("to", _END, "target", default=None),
    Field("delay", _DURATION, default=None),
    Field("jitter", _DURATION, default=None),
    Field("delayCorrelation", _SHARE, default=None),
    Field("loss", _SHARE, default=None),
    Field("lossCorrelation", _SHARE, default=None),
    Field("duplicate", _SHARE, default=None),
    Field("duplicateCorrelation", _SHARE, default=None),
    Field("corrupt", _SHARE, default=None),
    Field("corruptCorrelation", _SHARE, default=None),
    Field("reorder", _SHARE, default=None),
    Field("reorderCorrelation", _SHARE, default=None),
    Field("rate", _RATE, default=None),
    Field("limit", Integer(1, 1_000_000), default=None),
    of=NetemFault,
    title="Netem",
    doc="Impaired packets on the way from one end to another, or of one end's whole link: `delay`"
    " and `jitter` (`50ms`), `loss`, `duplicate`, `corrupt`, `reorder` (`1%`), `rate` (`10mbit`)."
    " Ends are pods, nodes with their pods, hosts of the internet, `svc/x`: the pods behind it.",
)
_SIDE = ListOf(_END, filled=True)
_PARTITION = Shape(
    Partition,
    Field("between", _SIDE, "one", required=True),
    Field("and", _SIDE, "other", required=True),
    title="Partition",
    doc="Two sides between which no packet passes, in neither direction. Ends are those of netem.",
)
SHAPE = Shape(
    Faults,
    Field("linksDown", ListOf(_END)),
    Field("partitions", ListOf(_PARTITION)),
    Field("netem", ListOf(_NETEM)),
    Field("unready", ListOf(_END)),
    Field("noConntrackCleanup", FLAG),
    doc="What is broken on purpose. `linksDown`: pods and nodes whose cable is pulled: their eth0"
    " has no carrier. `partitions`: sides between which nothing passes. `netem`: impaired packets."
    " `unready`: pods that are not ready, whatever their probes say. `noConntrackCleanup`:"
    " kube-proxy leaves the UDP entries of conntrack that lead to endpoints that are gone.",
)


def read_faults(document: object) -> Faults:
    """The faults that `Faults.to_document` wrote. RefusedError if it is something else."""
    return SHAPE.read(document, Reading())
