"""apiVersion and kind: what an API server has a place for."""

from __future__ import annotations

import pytest

from kns.cluster.manifests import load_objects
from kns.errors import Problem, SpecError
from kns.kinds.load import load_lab_text
from tests.kinds.labs import HEAD, NODES


def refusals(*objects: str) -> list[Problem]:
    """The errors of a lab with these manifests beside it."""
    try:
        load_lab_text("---\n".join((f"{HEAD}{NODES}", *objects)))
    except SpecError as error:
        return list(error.problems)
    return []


def refusal(version: str, kind: str) -> tuple[str, str, str]:
    """Path, message and hint of the one error that such an object is."""
    written = f"apiVersion: {version}\n" if version else ""
    found = [
        (problem.path, problem.message, problem.hint)
        for problem in refusals(f"{written}kind: {kind}\nmetadata: {{name: x}}\n")
        if problem.path in {"apiVersion", "kind"}
    ]
    return found[0] if found else ("", "", "")


@pytest.mark.parametrize(
    ("version", "kind", "path", "hint"),
    [
        ("apps/v1", "Service", "apiVersion", "use v1"),
        ("v1", "service", "kind", 'did you mean "Service"?'),
        ("v1", "Servce", "kind", 'did you mean "Service"?'),
        ("v1", "Deployment", "apiVersion", "use apps/v1"),
        ("apps/v2", "Deployment", "apiVersion", "use apps/v1"),
        ("networking.k8s.io/v2", "Ingress", "apiVersion", "use networking.k8s.io/v1"),
        ("app/v1", "Deployment", "apiVersion", "use apps/v1"),
        ("app/v1", "Thing", "kind", ""),
        ("policy/v1beta1", "PodSecurityPolicy", "apiVersion", "Kubernetes 1.25 removed"),
    ],
)
def test_a_kind_that_no_api_server_has(version: str, kind: str, path: str, hint: str) -> None:
    found = refusal(version, kind)
    assert found[:2] == (path, f'no matches for kind "{kind}" in version "{version}"')
    assert hint in found[2]


@pytest.mark.parametrize(
    ("version", "kind", "use", "release"),
    [
        ("extensions/v1beta1", "Ingress", "networking.k8s.io/v1", "1.22"),
        ("networking.k8s.io/v1beta1", "Ingress", "networking.k8s.io/v1", "1.22"),
        ("networking.k8s.io/v1beta1", "IngressClass", "networking.k8s.io/v1", "1.22"),
        ("extensions/v1beta1", "Deployment", "apps/v1", "1.16"),
        ("extensions/v1beta1", "NetworkPolicy", "networking.k8s.io/v1", "1.16"),
        ("apps/v1beta2", "StatefulSet", "apps/v1", "1.16"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1", "1.25"),
        ("batch/v1beta1", "CronJob", "batch/v1", "1.25"),
        ("policy/v1beta1", "PodDisruptionBudget", "policy/v1", "1.25"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "autoscaling/v2", "1.26"),
    ],
)
def test_a_version_that_was_removed(version: str, kind: str, use: str, release: str) -> None:
    path, message, hint = refusal(version, kind)
    assert (path, message) == (
        "apiVersion",
        f'no matches for kind "{kind}" in version "{version}"',
    )
    assert hint.startswith(f"use {use}; Kubernetes {release} removed {version}")


def test_a_removed_ingress_is_told_what_has_changed_and_nothing_of_its_fields() -> None:
    """`serviceName` was right in its version: that no backend is there would be no help."""
    (problem,) = refusals(
        "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: old}\n"
        "spec: {rules: [{http: {paths: [{backend: {serviceName: web, servicePort: 80}}]}}]}\n"
    )
    assert "pathType is required there, serviceName and servicePort are" in problem.hint


def test_a_misspelt_kind_is_one_problem() -> None:
    """That objects of the kind have no effect would contradict it."""
    written = "---\napiVersion: v1\nkind: service\nmetadata: {name: x}\n"
    with pytest.raises(SpecError) as caught:
        load_lab_text(f"{HEAD}{NODES}{written}")
    assert [problem.path for problem in (*caught.value.problems, *caught.value.warnings)] == [
        "kind"
    ]


@pytest.mark.parametrize("version", ["", "v1/", "/v1", "a/b/c"])
def test_an_api_version_that_is_none(version: str) -> None:
    path, message, _ = refusal(version, "Pod")
    assert path == "apiVersion"
    assert message == (f"unexpected GroupVersion string: {version}" if version else REQUIRED)


REQUIRED = "Required value"


def test_an_object_without_version_is_checked_all_the_same() -> None:
    """All errors in one round."""
    found = refusals("kind: Service\nmetadata: {name: a.b}\nspec: {ports: [{port: 0}]}\n")
    paths = [problem.path for problem in found]
    assert paths == ["apiVersion", "metadata.name", "spec.ports[0].port"]
    assert found[0].hint == "add `apiVersion: v1`"


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("serving.knative.dev/v1", "Service"),
        ("networking.istio.io/v1", "Gateway"),
        ("config.openshift.io/v1", "Ingress"),
        ("metallb.io/v1beta1", "IPAddressPool"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("resource.k8s.io/v1alpha3", "DeviceTaintRule"),
        ("example.com/v1", "BlockList"),
    ],
)
def test_others_kinds_are_told_of_and_are_not_kubernetes_own(version: str, kind: str) -> None:
    loaded = load_lab_text(
        f"{HEAD}{NODES}---\napiVersion: {version}\nkind: {kind}\n"
        "metadata: {name: x}\nspec: {template: {}}\n"
    )
    (warning,) = loaded.warnings
    assert warning.message == f"objects of kind {kind} have no effect here"
    assert (loaded.spec.services, loaded.spec.ingresses) == ((), ())


def test_the_items_of_a_typed_list_are_of_its_version() -> None:
    """`kubectl get --raw /api/v1/services` prints items without kind and version."""
    items = "items: [{metadata: {name: a}, spec: {ports: [{port: 80}]}}]\n"
    loaded = load_lab_text(f"{HEAD}{NODES}---\napiVersion: v1\nkind: ServiceList\n{items}")
    assert [service.name for service in loaded.spec.services] == ["a"]
    (problem,) = refusals(f"apiVersion: v1\nkind: List\n{items}")
    assert (problem.path, problem.message) == ("items[0].kind", "Required value")


def test_what_an_api_server_printed_is_of_kubernetes_own_kinds() -> None:
    knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\n"
    own = "apiVersion: v1\nkind: Service\nmetadata: {name: y}\n"
    objects = load_objects([("a.yaml", f"{knative}---\n{own}")])
    assert [service.name for service in objects.services] == ["y"]
    with pytest.raises(SpecError) as caught:
        load_objects([("a.yaml", "apiVersion: apps/v1\nkind: Service\nmetadata: {name: x}\n")])
    assert caught.value.problems[0].hint == "use v1"
