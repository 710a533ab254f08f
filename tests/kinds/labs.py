"""Lab files for tests: a head, two nodes, and what the test is about."""

from __future__ import annotations

from kns.errors import SpecError
from kns.kinds.load import LoadedLab, load_lab_text

HEAD = "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: lab}\n"
NODES = "nodes: [{name: node1}, {name: node2}]\n"


def lab(body: str = "", *, nodes: str = NODES) -> LoadedLab:
    """The lab with `body` after the head and the nodes."""
    return load_lab_text(HEAD + nodes + body)


def problems(body: str = "", *, nodes: str = NODES) -> list[str]:
    """What is wrong with such a lab, without file and place."""
    try:
        lab(body, nodes=nodes)
    except SpecError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []
