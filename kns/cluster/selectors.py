"""Label selectors over pods: an index, so that a thousand Services cost what they select."""

from __future__ import annotations

from collections.abc import Iterable

from kns.kinds.common import Labels
from kns.kinds.pod import Pod


def matches(selector: Labels, labels: Labels) -> bool:
    """True if `labels` hold every pair of a Service's selector."""
    return all(labels.get(key) == value for key, value in selector.items())


class PodIndex:
    """Pods by namespace and label."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._by_label: dict[tuple[str, str, str], list[tuple[int, Pod]]] = {}
        for number, pod in enumerate(pods):
            for key, value in pod.labels.items():
                self._by_label.setdefault((pod.namespace, key, value), []).append((number, pod))

    def select(self, namespace: str, selector: Labels) -> tuple[Pod, ...]:
        """The namespace's pods that match, in their order. An empty selector matches none."""
        lists = [self._by_label.get((namespace, *pair), []) for pair in selector.items()]
        fewest = min(lists, key=len, default=[])
        return tuple(pod for _, pod in fewest if matches(selector, pod.labels))
