"""Manifests such as well-known projects publish load without a Lab document and without an error.

Written anew, field by field as in the file that each heading names: what is tested is that nothing
has to be changed in them for kns.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from kns.cluster.resolve import resolve
from kns.kinds.load import load_lab_text
from kns.kinds.workload import WorkloadKind

TEXT = (Path(__file__).parent / "field-manifests.txt").read_text(encoding="utf-8")
#: heading and manifest
PARTS = re.split(r"^\[(.*)\]\n", TEXT, flags=re.MULTILINE)[1:]
MANIFESTS = dict(zip(PARTS[::2], PARTS[1::2], strict=True))


def test_there_are_twenty() -> None:
    assert len(MANIFESTS) >= 20


@pytest.mark.parametrize("heading", MANIFESTS)
def test_it_loads_as_it_is(heading: str) -> None:
    loaded = load_lab_text(MANIFESTS[heading], "app.yaml")
    resolve(loaded.spec)
    spec = loaded.spec
    found = {
        "Service": spec.services,
        "Ingress": spec.ingresses,
        "IngressClass": spec.ingress_classes,
        "NetworkPolicy": spec.network_policies,
        "Deployment": [w for w in spec.workloads if w.kind is WorkloadKind.DEPLOYMENT],
        "StatefulSet": [w for w in spec.workloads if w.kind is WorkloadKind.STATEFUL_SET],
        "DaemonSet": [w for w in spec.workloads if w.kind is WorkloadKind.DAEMON_SET],
        "Pod": [w for w in spec.workloads if w.kind is WorkloadKind.POD],
    }
    written = Counter(re.findall(r"^ *kind: \"?(\w+)", MANIFESTS[heading], flags=re.MULTILINE))
    assert {kind: len(items) for kind, items in found.items()} == {
        kind: written[kind] for kind in found
    }
