"""The rules that the real kube-proxy wrote, case by case, and how two of them are compared.

Order has no meaning between chains, nor in the chains each of whose rules matches another Service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kns.addresses import IPFamily
from kns.state.iptables import parse_save
from tests.kube_proxy_cases import CASES, RELEASE

FLAGS = ("--cluster-cidr=10.244.0.0/16",)
RELEASES = (RELEASE, "1.36")
#: apart from its counters a release left what this one did, where it has no folder of its own;
#: nfacct was usable where it has
SAME_WITHOUT_COUNTERS = {"1.36": RELEASE}
COUNTED, UNCOUNTED = "--nfacct=on", "--nfacct=off"
NODE = "node1"
UNORDERED = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}
LAST_RULE = "NOTE: this must be the last rule in this chain"
CANARY = "KUBE-PROXY-CANARY"
SAVED = {IPFamily.IPV4: "iptables.save", IPFamily.IPV6: "ip6tables.save"}

Tables = dict[str, dict[str, tuple[str, tuple[str, ...]]]]


@dataclass(frozen=True, slots=True)
class State:
    """One captured state: the objects that kube-proxy saw, its flags, and what it left."""

    label: str
    objects: tuple[Mapping[str, Any], ...]
    flags: tuple[str, ...]
    folder: Path

    @property
    def text(self) -> str:
        """The objects as `kubectl get -o json` prints them."""
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": self.objects}, indent=4)

    def captured(self, family: IPFamily) -> Tables:
        """Its nat and filter tables, canary chains left out."""
        return comparable((self.folder / SAVED[family]).read_text(), family)


def case_names(release: str = RELEASE) -> list[str]:
    """Every case that was captured in this mode, of a release."""
    wanted = (release, SAME_WITHOUT_COUNTERS.get(release, release))
    return sorted({p.parents[1].name for r in wanted for p in CASES.glob(f"*/iptables/{r}")})


def states(case: str, release: str = RELEASE) -> Iterator[State]:
    """The case's first state and those after each of its steps."""
    folder = CASES / case
    flags_file, stored = folder / "flags", folder / "iptables" / release
    counts = release in SAME_WITHOUT_COUNTERS and stored.is_dir()
    if not stored.is_dir():
        stored = stored.with_name(SAME_WITHOUT_COUNTERS[release])
    counting = COUNTED if counts else UNCOUNTED
    flags: tuple[str, ...] = (*FLAGS, f"--kube-proxy-version={release}", counting)
    flags += tuple(flags_file.read_text().split()) if flags_file.exists() else ()
    documents = list(yaml.safe_load_all((folder / "objects.yaml").read_text()))
    objects = {_key(item): item for item in documents if item}
    yield State(case, tuple(objects.values()), flags, stored)
    for step in sorted((folder / "steps").glob("*.yaml")):
        change = yaml.safe_load(step.read_text())
        for item in change.get("apply", ()):
            objects[_key(item)] = item
        for item in change.get("delete", ()):
            del objects[item["kind"], item["namespace"], item["name"]]
        after = stored / f"step-{step.stem}"
        yield State(f"{case}/{step.stem}", tuple(objects.values()), flags, after)


def _key(item: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = item["metadata"]
    return item["kind"], meta.get("namespace", ""), meta["name"]


def comparable(text: str, family: IPFamily) -> Tables:
    """Tables, their chains, their policy and rules; canary chains left out."""
    return {
        table.name: {
            chain.name: (chain.policy, _in_order(chain.name, chain.rules))
            for chain in table.chains
            if chain.name != CANARY
        }
        for table in parse_save(text, family)
    }


def _in_order(chain: str, rules: tuple[str, ...]) -> tuple[str, ...]:
    if chain in UNORDERED:
        return tuple(sorted(rules, key=lambda rule: (LAST_RULE in rule, rule)))
    return rules
