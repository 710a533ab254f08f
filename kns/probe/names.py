"""Finds the object that a user means by a name: `pod1`, `namespace/pod1`, `svc/x`, `internet`.

Pure: reads the Cluster only. A bare name is looked up in the asker's namespace, then in `default`;
a name that fits a pod and a service or node alike is refused with the spellings that are
unambiguous.
"""

from __future__ import annotations

from kns.cluster.model import Cluster
from kns.errors import UsageError
from kns.hints import closest
from kns.kinds.internet import InternetHost
from kns.kinds.node import Node
from kns.kinds.pod import Pod
from kns.kinds.service import Service
from kns.promise.location import DEFAULT_NAMESPACE, INTERNET, Location, LocationKind, label

_KIND_WORDS = {
    "pod": LocationKind.POD,
    "pods": LocationKind.POD,
    "po": LocationKind.POD,
    "svc": LocationKind.SERVICE,
    "service": LocationKind.SERVICE,
    "services": LocationKind.SERVICE,
    "node": LocationKind.NODE,
    "nodes": LocationKind.NODE,
    "no": LocationKind.NODE,
    "internet": LocationKind.INTERNET,
}


def find(
    cluster: Cluster,
    text: str,
    kinds: tuple[LocationKind, ...],
    namespace: str = DEFAULT_NAMESPACE,
) -> Location:
    """The one object of these kinds that `text` names; UsageError if there is none or several."""
    found = search(cluster, text, kinds, namespace)
    if not found:
        _refuse_pending(cluster, text, kinds)
        raise UsageError(
            f"there is no {_alternatives(kinds)} {text!r}", hint=_hint(cluster, text, kinds)
        )
    if len(found) > 1:
        spellings = " or ".join(match.explicit for match in found)
        raise UsageError(
            f"{text!r} is ambiguous: {_alternatives(tuple(match.kind for match in found), 'and')}"
            " have that name",
            hint=f"write {spellings}",
        )
    return found[0]


def _refuse_pending(cluster: Cluster, text: str, kinds: tuple[LocationKind, ...]) -> None:
    """A pod that no node will do for is nowhere to be found, but known."""
    _, wanted = split_kind(text)
    if LocationKind.POD in kinds and wanted in {label(pod) for pod in cluster.pending}:
        raise UsageError(
            f"pod {wanted} is Pending: it runs on no node",
            hint="kns validate with the lab's file says why",
        )


def search(
    cluster: Cluster,
    text: str,
    kinds: tuple[LocationKind, ...],
    namespace: str = DEFAULT_NAMESPACE,
) -> tuple[Location, ...]:
    """Every object of these kinds that `text` names for somebody in the namespace."""
    kind, rest = split_kind(text)
    for place in dict.fromkeys((namespace, DEFAULT_NAMESPACE)):
        named = _named(cluster, rest, (kind,), place) if kind in kinds else ()
        if found := named or _named(cluster, text, kinds, place):
            return found
    return ()


def split_kind(text: str) -> tuple[LocationKind | None, str]:
    """`svc/x` → the kind and `x`; no kind if the text begins with none."""
    first, _, rest = text.partition("/")
    kind = _KIND_WORDS.get(first) if rest else None
    return kind, text if kind is None else rest


def _named(
    cluster: Cluster, text: str, kinds: tuple[LocationKind | None, ...], namespace: str
) -> tuple[Location, ...]:
    written, slash, name = text.rpartition("/")
    found: list[Location] = []
    wanted = (written or namespace, name)
    for kind in kinds:
        match kind:
            case LocationKind.POD:
                found += [Location(p) for p in cluster.pods if (p.namespace, p.name) == wanted]
            case LocationKind.SERVICE:
                found += [Location(s) for s in cluster.services if (s.namespace, s.name) == wanted]
            case LocationKind.NODE if not slash:
                found += [Location(n) for n in cluster.nodes if n.name == name]
            case LocationKind.INTERNET if not slash:
                found += _internet(cluster, name)
            case _:
                pass
    return tuple(found)


def _internet(cluster: Cluster, name: str) -> list[Location]:
    """The host of that name; `internet` alone means the first one."""
    hosts = [host for host in cluster.internet if host.name == name]
    if not hosts and name == INTERNET:
        hosts = list(cluster.internet[:1])
    return [Location(host) for host in hosts]


def known_names(cluster: Cluster, kinds: tuple[LocationKind, ...]) -> tuple[str, ...]:
    """Every name that `find` would accept."""
    items: list[Pod | Service | Node | InternetHost] = []
    if LocationKind.POD in kinds:
        items += cluster.pods
    if LocationKind.SERVICE in kinds:
        items += cluster.services
    if LocationKind.NODE in kinds:
        items += cluster.nodes
    if LocationKind.INTERNET in kinds:
        items += cluster.internet
    return tuple(label(item) for item in items)


def _hint(cluster: Cluster, text: str, kinds: tuple[LocationKind, ...]) -> str:
    names = known_names(cluster, kinds)
    _, wanted = split_kind(text)
    elsewhere = [name for name in names if name.rpartition("/")[2] == wanted]
    near = elsewhere[0] if elsewhere else closest(wanted, names)
    if near:
        return f"did you mean {near}?"
    if len(names) <= 12:
        return f"known: {', '.join(names)}" if names else "the lab has none"
    return "kns get pods, kns get services and kns get nodes list the names"


def _alternatives(kinds: tuple[LocationKind, ...], word: str = "or") -> str:
    names = [
        f"{kind} host" if kind is LocationKind.INTERNET else str(kind)
        for kind in dict.fromkeys(kinds)
    ]
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
