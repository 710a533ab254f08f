"""The resources that the API serves, and parts of plain objects."""

from __future__ import annotations

import pytest

from kns.kinds import resources
from kns.kinds.common import Object
from kns.kinds.objects import ObjectKey, key_of, labels_of, mapping, number, part, text, with_part

POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "n": 1}},
    "spec": {"terminationGracePeriodSeconds": 5, "hostNetwork": True},
}


def test_each_path_and_each_kind_is_one_resources() -> None:
    plurals = {(found.api_version, found.plural) for found in resources.RESOURCES}
    kinds = {(found.api_version, found.kind) for found in resources.RESOURCES}
    assert len(plurals) == len(kinds) == len(resources.RESOURCES)


def test_no_word_means_two_resources() -> None:
    words = [
        word
        for found in resources.RESOURCES
        for word in {found.plural, found.singular, *found.short_names}
    ]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("deploy", "Deployment"),
        ("Deployment", "Deployment"),
        ("deployments.apps", "Deployment"),
        ("svc", "Service"),
        ("endpoints", "Endpoints"),
        ("netpol", "NetworkPolicy"),
    ],
)
def test_a_resource_is_found_by_what_kubectl_calls_it(word: str, kind: str) -> None:
    found = resources.by_word(word)
    assert found is not None
    assert found.kind == kind


def test_a_resource_is_found_by_kind_and_by_path() -> None:
    assert resources.by_kind("apps/v1", "Deployment") is resources.DEPLOYMENT
    assert resources.by_kind("v1", "Deployment") is None
    assert resources.by_plural("discovery.k8s.io/v1", "endpointslices") is resources.ENDPOINT_SLICE
    assert resources.resource_of(POD) is resources.POD
    assert resources.resource_of({"kind": "Pod"}) is None
    assert resources.by_word("widgets") is None


def test_parts_of_an_object() -> None:
    assert key_of(POD) == ObjectKey("shop", "web")
    assert labels_of(POD) == {"app": "web"}
    assert text(POD, "spec", "nodeName") == ""
    assert number(POD, "spec", "terminationGracePeriodSeconds") == 5
    assert number(POD, "spec", "hostNetwork", default=7) == 7
    assert mapping(POD, "status", "podIPs") == {}
    assert part(POD, "metadata", "name", "x") is None


def test_a_part_is_replaced_in_a_copy() -> None:
    made = with_part(POD, "node1", "spec", "nodeName")
    assert text(made, "spec", "nodeName") == "node1"
    assert "nodeName" not in mapping(POD, "spec")
    assert with_part(made, None, "spec", "nodeName") == POD
    assert with_part({}, 1, "a", "b") == {"a": {"b": 1}}
