"""A lab file with errors, less the parts that have them: so that the rest is checked as well.

One slip must not hide the others. After the models have refused some parts, unknown keys are taken
out, items with errors left out, and a wrong field of `networking` or of the head gets its default.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from kns.labfile.document import Document
from kns.labfile.model import LabSpec
from kns.labfile.problems import location_of

_LISTS = (
    "nodes", "pods", "services", "endpointSlices", "internet", "namespaces",
    "ingresses", "ingressClasses", "secrets",
)  # fmt: skip
#: the parts of `networking` that no address depends on
_OPTIONS = ("kubeProxyMode", "kubeProxy", "dns", "egress", "mtu", "podNetwork", "nodePortRange")


@dataclass(slots=True)
class Salvaged:
    """What could be read. `kept` gives, per list, the written index of each item that is left."""

    lab: LabSpec
    kept: dict[str, list[int]]
    node_names: frozenset[str]
    #: false where a field of `networking` was wrong, so that no subnet can be relied on
    networks_known: bool = True
    #: false where there is no sound node
    has_nodes: bool = True


def all_kept(document: Document, lab: LabSpec) -> Salvaged:
    """The whole of a document without errors."""
    data = document.data if isinstance(document.data, dict) else {}
    kept = {name: list(range(_length(data, name))) for name in _LISTS}
    return Salvaged(lab, kept, frozenset(node.name for node in lab.nodes))


def salvage(document: Document, error: ValidationError) -> Salvaged | None:
    """What is left of a document without the parts that `error` is about, if that makes a lab."""
    if not isinstance(document.data, dict):
        return None
    pruned = _Pruned(copy.deepcopy(document.data))
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        location = location_of(detail)
        if detail["type"] == "extra_forbidden":
            drop_key(pruned.data, location)
        else:
            pruned.drop(location)
    kept = pruned.finish()
    has_nodes = bool(pruned.data.get("nodes"))
    if not has_nodes:
        pruned.data["nodes"] = [{"name": "unknown"}]
    try:
        lab = LabSpec.model_validate(pruned.data)
    except ValidationError:
        return None
    return Salvaged(lab, kept, _node_names(document.data), pruned.networks_known, has_nodes)


def drop_key(data: object, location: Sequence[str | int]) -> None:
    """Take one key out of nested data."""
    for step in location[:-1]:
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            data = data.get(step) if isinstance(data, dict) else None
    if isinstance(data, dict):
        data.pop(location[-1], None)


@dataclass(slots=True)
class _Pruned:
    """A copy of a document's data from which parts are taken."""

    data: dict[str, object]
    networks_known: bool = True
    _dropped: dict[str, set[int]] = field(default_factory=dict)

    def drop(self, location: Sequence[str | int]) -> None:
        """Take out the smallest part that makes sense without the value at `location`."""
        top = str(location[0]) if location else ""
        if top == "apiVersion":
            self.data[top] = "kns/v1"
        elif top == "kind":
            self.data[top] = "Lab"
        elif top == "metadata":
            self.data[top] = {"name": "lab"}
        elif top in _LISTS and len(location) > 1 and isinstance(location[1], int):
            self._dropped.setdefault(top, set()).add(location[1])
        elif top == "networking":
            self._drop_networking(location)
        else:
            self.data.pop(top, None)

    def _drop_networking(self, location: Sequence[str | int]) -> None:
        """Take out one option; one of the subnets' leaves open what the addresses are."""
        named = list(location)
        while named and isinstance(named[-1], int):
            named.pop()
        drop_key(self.data, named)
        if len(named) < 2 or named[1] not in _OPTIONS:
            self.networks_known = False

    def finish(self) -> dict[str, list[int]]:
        """Take the dropped items out of their lists; the indexes of those that stay."""
        kept: dict[str, list[int]] = {}
        for name in _LISTS:
            items = self.data.get(name)
            if not isinstance(items, list):
                continue
            dropped = self._dropped.get(name, set())
            kept[name] = [index for index in range(len(items)) if index not in dropped]
            self.data[name] = [items[index] for index in kept[name]]
        return kept


def _length(data: dict[str, object], name: str) -> int:
    items = data.get(name)
    return len(items) if isinstance(items, list) else 0


def _node_names(data: dict[str, object]) -> frozenset[str]:
    """The names of all nodes that are written, sound or not."""
    nodes = data.get("nodes")
    items = nodes if isinstance(nodes, list) else []
    names = [item.get("name") for item in items if isinstance(item, dict)]
    return frozenset(name for name in names if isinstance(name, str))
