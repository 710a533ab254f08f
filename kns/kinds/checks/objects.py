"""What is wrong with objects that come to a lab which is there already.

The rules are those of the lab file: one reader and one set of checks serve both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from kns.errors import Problem
from kns.kinds.checks.lab import validate
from kns.kinds.common import Object
from kns.kinds.lab import API_VERSION, read_lab_document
from kns.kinds.load import sources_of
from kns.kinds.manifests import read_manifests
from kns.kinds.objects import name_of
from kns.labfile.document import Document
from kns.labfile.parse import parse_documents

_LAB = "lab"


def object_problems(
    documents: Sequence[Document], lab: Object, nodes: Sequence[str]
) -> Iterator[Problem]:
    """Every error of the objects, by themselves and among each other, in a lab with these nodes."""
    (surroundings,) = parse_documents(json.dumps(bare_lab(lab, nodes)), _LAB)
    manifests = read_manifests(tuple(documents))
    sources = sources_of(read_lab_document(surroundings), manifests)
    found = (*manifests.problems, *validate(sources))
    yield from sorted({problem for problem in found if problem.file != _LAB})


def bare_lab(lab: Object, nodes: Sequence[str]) -> Object:
    """A Lab document with these nodes alone, for what an object says of its networks."""
    names: list[str] = list(nodes) or ["node1"]
    document: Object = {
        "apiVersion": API_VERSION,
        "kind": "Lab",
        "metadata": {"name": name_of(lab) or _LAB},
        "nodes": [{"name": name} for name in names],
    }
    kept = ("networking", "loadBalancer", "apiServer", "ingressController", "internet")
    return {**document, **{key: lab[key] for key in kept if key in lab}}
