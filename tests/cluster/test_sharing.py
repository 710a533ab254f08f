"""Two clusters of a lab share what is equal in both."""

from __future__ import annotations

import copy
from dataclasses import replace

from kns.cluster.sharing import sharing
from tests.clusters import make_cluster

BEFORE = make_cluster()


def test_an_equal_cluster_is_the_one_before() -> None:
    assert sharing(copy.deepcopy(BEFORE), BEFORE) is BEFORE


def test_of_another_cluster_the_equal_objects_are_those_before() -> None:
    anew = copy.deepcopy(BEFORE)
    first, *others = anew.pods
    changed = replace(anew, pods=(replace(first, ready=not first.ready), *others))
    found = sharing(changed, BEFORE)
    assert found == changed
    assert found.nodes is BEFORE.nodes
    assert found.services is BEFORE.services
    assert found.endpoint_slices is BEFORE.endpoint_slices
    assert [pod is old for pod, old in zip(found.pods, BEFORE.pods, strict=True)] == [
        False,
        *(True for _ in others),
    ]


def test_order_counts() -> None:
    anew = copy.deepcopy(BEFORE)
    turned = replace(anew, pods=anew.pods[::-1])
    assert [pod.name for pod in sharing(turned, BEFORE).pods] == [pod.name for pod in turned.pods]
