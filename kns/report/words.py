"""Numbers with nouns."""

from __future__ import annotations

from kns.cluster.model import Cluster


def counted(number: int, noun: str) -> str:
    """`1 pod`, `2 pods`, `2 processes`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def cluster_size(cluster: Cluster) -> str:
    """`2 nodes, 5 pods, 1 service`."""
    nodes, pods = counted(len(cluster.nodes), "node"), counted(len(cluster.pods), "pod")
    return f"{nodes}, {pods}, {counted(len(cluster.services), 'service')}"
