"""The verbs of the API over a store: what each answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping

import pytest

from kns.agent.api import watches
from kns.agent.api.registry import APPLY, Registry
from kns.agent.api.representations import Representation
from kns.agent.api.requests import APIRequest, target_of
from kns.agent.api.status import StatusError, of_store
from kns.agent.api.subresources import answer
from kns.agent.api.watches import ObjectWatch
from kns.agent.store import Store, StoreError
from kns.kinds.common import Object
from kns.kinds.objects import (
    items,
    labels_of,
    mapping,
    mappings,
    name_of,
    number,
    part,
    text,
    with_part,
)
from kns.kinds.resources import CONFIG_MAP, ENDPOINT_SLICE, NAMESPACE, POD, SERVICE
from kns.labfile.reader import JSON
from tests.agent.api.seeded import SEED

NOW = 1_767_323_045.0
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
CONFIGS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
def registry() -> Registry:
    store = Store(clock=lambda: NOW)
    store.replace_all(SEED)
    return Registry(store, lambda: NOW)


def request(
    method: str,
    path: str,
    body: JSON = None,
    content_type: str = "application/json",
    **query: str,
) -> APIRequest:
    raw = b"" if body is None else json.dumps(body).encode()
    return APIRequest(method, target_of(path), query, content_type, raw, agent="test/1")


def placed(obj: Object) -> Object:
    return with_part(obj, "default", "metadata", "namespace")


def config(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {**data}}


def deployment(replicas: int = 2) -> Object:
    labels: Object = {"app": "x"}
    spec: Object = {"containers": [{"name": "server"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dep"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def refused(registry: Registry, asked: APIRequest) -> StatusError:
    try:
        made = answer if asked.target.subresource else None
        _ = made(registry, asked, NOW) if made else registry.answer(asked)
    except (StatusError, StoreError) as error:
        return of_store(error)
    raise AssertionError(f"{asked} was not refused")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/widgets",
        "/api/v2/pods",
        "/apis/apps/v1/pods",
        "/apis/foo/v1/bars",
        "/api/v1/namespaces/default/nodes",
        "/api/v1/pods/web-1",
        PODS + "/web-1/scale",
        PODS + "/web-1/log/more",
    ],
)
def test_what_is_not_served_is_not_found(path: str) -> None:
    with pytest.raises(StatusError) as caught:
        target_of(path)
    assert caught.value.code == 404


def test_paths_name_objects() -> None:
    target = target_of("/api/v1/namespaces/shop")
    assert (target.resource, target.namespace, target.name) == (NAMESPACE, "", "shop")
    target = target_of("/api/v1/namespaces/shop/status")
    assert (target.resource, target.name, target.subresource) == (NAMESPACE, "shop", "status")
    target = target_of(PODS + "/web-1/log")
    assert (target.resource, target.namespace, target.name, target.subresource) == (
        POD,
        "default",
        "web-1",
        "log",
    )


def test_get_and_list(registry: Registry) -> None:
    found = registry.answer(request("GET", PODS + "/web-1")).object
    assert name_of(found) == "web-1"
    listed = registry.answer(request("GET", "/api/v1/pods", labelSelector="app=web")).object
    assert listed["kind"] == "PodList"
    assert [name_of(obj) for obj in mappings(listed, "items")] == ["web-1", "web-2"]
    assert text(listed, "metadata", "resourceVersion") == str(registry.store.version)
    error = refused(registry, request("GET", PODS + "/nope"))
    assert error.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "nope" not found',
        "reason": "NotFound",
        "details": {"name": "nope", "kind": "pods"},
        "code": 404,
    }


def test_a_list_in_parts(registry: Registry) -> None:
    def part_of(query: Mapping[str, str]) -> Object:
        return registry.answer(request("GET", "/api/v1/pods", **query)).object

    first = part_of({"limit": "1"})
    assert number(first, "metadata", "remainingItemCount") == 1
    token = text(first, "metadata", "continue")
    registry.store.create(CONFIG_MAP, config("a"))
    second = part_of({"limit": "1", "continue": token})
    assert [name_of(obj) for obj in mappings(second, "items")] == ["web-2"]
    version = text(first, "metadata", "resourceVersion")
    assert text(second, "metadata", "resourceVersion") == version
    assert "continue" not in mapping(second, "metadata")
    again = Registry(Store())
    again.store.restore(registry.store.all(), registry.store.version + 1)
    asked = request("GET", "/api/v1/pods", **{"continue": token})
    assert refused(again, asked).code == 410
    assert refused(registry, request("GET", "/api/v1/pods", **{"continue": "x"})).code == 400
    assert refused(registry, request("GET", "/api/v1/pods", resourceVersion="999")).code == 504


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "--5"},
        {"limit": "\u0663"},
        {"resourceVersion": "9" * 5000},
        {"continue": "eyJ2IjpJbmZpbml0eSwiYWZ0ZXIiOltdfQ=="},
    ],
)
def test_a_query_that_makes_no_sense_is_a_bad_request(
    registry: Registry, query: dict[str, str]
) -> None:
    assert refused(registry, request("GET", PODS, **query)).code == 400


def test_a_negative_limit_is_none(registry: Registry) -> None:
    whole = registry.answer(request("GET", PODS)).object
    assert registry.answer(request("GET", PODS, limit="-3")).object == whole


def test_create_defaults_and_answers_the_object(registry: Registry) -> None:
    done = registry.answer(request("POST", DEPLOYMENTS, deployment()))
    assert done.code == 201
    assert part(done.object, "spec", "strategy", "rollingUpdate", "maxSurge") == "25%"
    assert text(done.object, "metadata", "namespace") == "default"
    assert registry.store.list(NAMESPACE)[0] is not None
    assert refused(registry, request("POST", DEPLOYMENTS, deployment())).reason == "AlreadyExists"


def test_create_makes_a_name_of_a_prefix(registry: Registry) -> None:
    body = config("")
    body["metadata"] = {"generateName": "a-"}
    names = {name_of(registry.answer(request("POST", CONFIGS, body)).object) for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("a-") and len(name) == 7 for name in names)


def test_create_drops_the_status_that_the_author_wrote(registry: Registry) -> None:
    pod: Object = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a"}]},
        "status": {"phase": "Running", "podIP": "1.2.3.4"},
    }
    made = registry.answer(request("POST", PODS, pod)).object
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_create_needs_a_namespace_that_stays(registry: Registry) -> None:
    path = "/api/v1/namespaces/shop/configmaps"
    assert refused(registry, request("POST", path, config("a"))).message == (
        'namespaces "shop" not found'
    )
    registry.store.create(NAMESPACE, {"metadata": {"name": "shop"}})
    registry.answer(request("POST", path, config("a")))
    registry.answer(request("DELETE", "/api/v1/namespaces/shop"))
    error = refused(registry, request("POST", path, config("b")))
    assert error.code == 403
    assert "because it is being terminated" in error.message
    other: Object = {**config("a"), "metadata": {"name": "a", "namespace": "other"}}
    assert refused(registry, request("POST", CONFIGS, other)).code == 400


INVALID: list[tuple[str, str, Object, str, str]] = [
    (
        SERVICES,
        "Service",
        {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 0}]}},
        "spec.ports[0].port",
        "FieldValueInvalid",
    ),
    (
        SERVICES,
        "Service",
        {"metadata": {"name": "a"}, "spec": {"type": "Bad", "ports": [{"port": 80}]}},
        "spec.type",
        "FieldValueNotSupported",
    ),
    (
        SERVICES,
        "Service",
        {"metadata": {"name": "a"}, "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80}]}},
        "spec.clusterIPs",
        "FieldValueInvalid",
    ),
    (
        PODS,
        "Pod",
        {"metadata": {"name": "A"}, "spec": {"containers": [{"name": "a"}]}},
        "metadata.name",
        "FieldValueInvalid",
    ),
    (
        PODS,
        "Pod",
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "a"}]}},
        "spec.containers[1].name",
        "FieldValueDuplicate",
    ),
    (
        "/api/v1/nodes",
        "Node",
        {"metadata": {"name": "n"}, "spec": {"podCIDR": "x"}},
        "spec.podCIDR",
        "FieldValueInvalid",
    ),
    (
        "/api/v1/namespaces/default/secrets",
        "Secret",
        {"metadata": {"name": "a b"}},
        "metadata.name",
        "FieldValueInvalid",
    ),
    (CONFIGS, "ConfigMap", {"metadata": {}}, "metadata.name", "FieldValueRequired"),
]


@pytest.mark.parametrize(("path", "kind", "body", "field", "reason"), INVALID)
def test_what_breaks_the_rules_of_its_kind_is_refused(
    registry: Registry, path: str, kind: str, body: Object, field: str, reason: str
) -> None:
    before = registry.store.version
    error = refused(registry, request("POST", path, body))
    assert (error.code, error.reason) == (422, "Invalid")
    causes = [
        (text(item, "field"), text(item, "reason")) for item in items(error.details, "causes")
    ]
    assert (field, reason) in causes
    assert error.message.startswith(f'{kind} "')
    assert registry.store.version == before


def test_a_dry_run_keeps_nothing(registry: Registry) -> None:
    before = registry.store.version
    for asked in (
        request("POST", DEPLOYMENTS, deployment(), dryRun="All"),
        request("PATCH", SERVICES + "/web", {"spec": {"type": "NodePort"}}, MERGE, dryRun="All"),
        request("DELETE", PODS + "/web-1", dryRun="All"),
        request("DELETE", PODS, dryRun="All"),
        request("POST", CONFIGS, config("a"), dryRun="All"),
    ):
        registry.answer(asked)
        assert registry.store.version == before
    assert refused(registry, request("POST", CONFIGS, config("a"), dryRun="x")).code == 400


MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def test_a_put_of_an_older_version_is_a_conflict(registry: Registry) -> None:
    registry.answer(request("POST", CONFIGS, config("a", x="1")))
    read = registry.answer(request("GET", CONFIGS + "/a")).object
    registry.answer(request("PUT", CONFIGS + "/a", {**read, "data": {"x": "2"}}))
    error = refused(registry, request("PUT", CONFIGS + "/a", {**read, "data": {"x": "3"}}))
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message.startswith('Operation cannot be fulfilled on configmaps "a"')
    assert refused(registry, request("PUT", CONFIGS + "/b", config("b"))).code == 404
    assert refused(registry, request("PUT", CONFIGS + "/a", config("b"))).code == 400


@pytest.mark.parametrize(
    ("patch", "content_type"),
    [
        ({"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}, STRATEGIC),
        ({"spec": {"ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}]}}, MERGE),
        ([{"op": "add", "path": "/spec/ports/0/nodePort", "value": 30080}], JSON_PATCH),
    ],
)
def test_the_forms_of_patches(registry: Registry, patch: JSON, content_type: str) -> None:
    kind: JSON = {"spec": {"type": "NodePort"}}
    registry.answer(request("PATCH", SERVICES + "/web", kind, MERGE))
    made = registry.answer(request("PATCH", SERVICES + "/web", patch, content_type)).object
    port = mappings(made, "spec", "ports")[0]
    assert (port["nodePort"], port["targetPort"], port["protocol"]) == (30080, 8080, "TCP")
    assert refused(registry, request("PATCH", SERVICES + "/web", patch, "text/plain")).code == 415


def test_a_service_keeps_what_it_was_given(registry: Registry) -> None:
    body: Object = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]},
    }
    made = registry.answer(request("PUT", SERVICES + "/web", body)).object
    assert text(made, "spec", "clusterIP") == "10.96.0.20"
    patch: JSON = {"spec": {"clusterIP": "10.96.0.99"}}
    error = refused(registry, request("PATCH", SERVICES + "/web", patch, MERGE))
    assert "may not change once set" in error.message


@pytest.mark.parametrize(
    ("path", "patch"),
    [
        (PODS + "/web-1", {"spec": {"nodeName": "node2"}}),
        (PODS + "/web-1", {"spec": {"hostNetwork": True}}),
        (DEPLOYMENTS + "/dep", {"spec": {"selector": {"matchLabels": {"app": "y"}}}}),
    ],
)
def test_what_may_not_change_any_more(registry: Registry, path: str, patch: JSON) -> None:
    registry.answer(request("POST", DEPLOYMENTS, deployment()))
    assert refused(registry, request("PATCH", path, patch, MERGE)).code == 422


def test_an_image_and_labels_of_a_pod_may_change(registry: Registry) -> None:
    patch: JSON = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "server", "image": "nginx:2"}]},
    }
    made = registry.answer(request("PATCH", PODS + "/web-1", patch, STRATEGIC)).object
    assert labels_of(made) == {"app": "web", "a": "b"}
    bad: JSON = {"metadata": {"labels": {"a b": "c"}}}
    assert refused(registry, request("PATCH", PODS + "/web-1", bad, MERGE)).code == 422


def test_the_status_has_a_path_of_its_own(registry: Registry) -> None:
    patch: JSON = {"spec": {"unschedulable": True}, "status": {"phase": "Failed"}}
    made = registry.answer(request("PATCH", PODS + "/web-1", {"status": {"phase": "x"}}, MERGE))
    assert text(made.object, "status", "phase") == "Running"
    asked = request("PATCH", PODS + "/web-1/status", patch, MERGE)
    assert text(answer(registry, asked, NOW).object, "status", "phase") == "Failed"


def test_server_side_apply(registry: Registry) -> None:
    def apply(body: Object, manager: str = "one", **query: str) -> APIRequest:
        return request("PATCH", CONFIGS + "/a", body, APPLY, fieldManager=manager, **query)

    assert registry.answer(apply(config("a", x="1"))).code == 201
    assert registry.answer(apply(config("a", x="1"))).code == 200
    error = refused(registry, apply(config("a", x="2"), "two"))
    assert (error.code, error.reason) == (409, "Conflict")
    assert items(error.details, "causes") == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "one" using v1',
            "field": ".data.x",
        }
    ]
    made = registry.answer(apply(config("a", x="2"), "two", force="true")).object
    assert made["data"] == {"x": "2"}
    assert refused(registry, request("PATCH", CONFIGS + "/a", config("a"), APPLY)).code == 400


def test_scale(registry: Registry) -> None:
    registry.answer(request("POST", DEPLOYMENTS, deployment()))
    path = DEPLOYMENTS + "/dep/scale"
    found = answer(registry, request("GET", path), NOW).object
    assert (found["kind"], part(found, "spec", "replicas")) == ("Scale", 2)
    assert text(found, "status", "selector") == "app=x"
    patch: JSON = {"spec": {"replicas": 5}}
    answer(registry, request("PATCH", path, patch, MERGE), NOW)
    changed = registry.answer(request("GET", DEPLOYMENTS + "/dep")).object
    assert part(changed, "spec", "replicas") == 5
    assert refused(registry, request("PATCH", path, {"spec": {"replicas": -1}}, MERGE)).code == 422
    stale: Object = {**found, "spec": {"replicas": 7}}
    assert refused(registry, request("PUT", path, stale)).code == 409
    assert refused(registry, request("DELETE", path)).code == 405


def test_eviction_and_binding(registry: Registry) -> None:
    eviction: JSON = {"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": {}}
    done = answer(registry, request("POST", PODS + "/web-1/eviction", eviction), NOW)
    assert done.code == 201
    found = registry.store.get(POD, "default", "web-1")
    assert part(found, "metadata", "deletionTimestamp") is not None
    pod: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}}
    registry.answer(request("POST", PODS, pod))
    binding: JSON = {"target": {"kind": "Node", "name": "node2"}}
    answer(registry, request("POST", PODS + "/p/binding", binding), NOW)
    found = registry.store.get(POD, "default", "p")
    assert text(found, "spec", "nodeName") == "node2"
    assert refused(registry, request("POST", PODS + "/p/binding", binding)).code == 400


def test_delete(registry: Registry) -> None:
    gone = registry.answer(request("DELETE", SERVICES + "/web")).object
    assert (gone["status"], part(gone, "details", "kind")) == ("Success", "services")
    marked = registry.answer(request("DELETE", PODS + "/web-1")).object
    assert part(marked, "metadata", "deletionGracePeriodSeconds") == 30
    options: JSON = {"gracePeriodSeconds": 0}
    registry.answer(request("DELETE", PODS + "/web-1", options))
    assert registry.store.get(POD, "default", "web-1") is None
    wrong: JSON = {"preconditions": {"uid": "other"}}
    assert refused(registry, request("DELETE", PODS + "/web-2", wrong)).code == 409
    registry.answer(request("DELETE", PODS, labelSelector="app=none"))
    assert registry.store.get(POD, "default", "web-2") is not None
    assert refused(registry, request("DELETE", SERVICES + "/web")).code == 404
    assert refused(registry, request("PUT", SERVICES)).code == 405


def test_orphans_live_on(registry: Registry) -> None:
    owner = registry.answer(request("POST", DEPLOYMENTS, deployment())).object
    reference: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "dep",
        "uid": text(owner, "metadata", "uid"),
    }
    owned = config("owned")
    owned["metadata"] = {"name": "owned", "ownerReferences": [reference]}
    registry.store.create(CONFIG_MAP, owned)
    registry.answer(request("DELETE", DEPLOYMENTS + "/dep", propagationPolicy="Orphan"))
    left = registry.store.get(CONFIG_MAP, "default", "owned")
    assert items(left or {}, "metadata", "ownerReferences") == []


def owned_by_a_deployment(registry: Registry) -> Object:
    """A Deployment, which owns the ConfigMap `owned`."""
    owner = registry.answer(request("POST", DEPLOYMENTS, deployment())).object
    reference: Object = {"kind": "Deployment", "name": "dep", "uid": text(owner, "metadata", "uid")}
    owned = config("owned")
    owned["metadata"] = {"name": "owned", "ownerReferences": [reference]}
    registry.store.create(CONFIG_MAP, owned)
    return owner


@pytest.mark.parametrize("policy", ["Orphan", "Foreground"])
@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_a_deletion_that_is_refused_changes_nothing(
    registry: Registry, policy: str, field: str
) -> None:
    owned_by_a_deployment(registry)
    before = registry.store.version
    options: JSON = {"propagationPolicy": policy, "preconditions": {field: "7"}}
    assert refused(registry, request("DELETE", DEPLOYMENTS + "/dep", options)).code == 409
    assert registry.store.version == before


def test_in_the_foreground_an_owner_waits_for_its_dependents(registry: Registry) -> None:
    owner = owned_by_a_deployment(registry)
    conditions: Object = {
        name: part(owner, "metadata", name) for name in ("uid", "resourceVersion")
    }
    options: JSON = {"propagationPolicy": "Foreground", "preconditions": conditions}
    held = registry.answer(request("DELETE", DEPLOYMENTS + "/dep", options)).object
    assert items(held, "metadata", "finalizers") == ["foregroundDeletion"]
    assert text(held, "metadata", "deletionTimestamp")
    assert registry.store.get(CONFIG_MAP, "default", "owned") is not None


def test_an_unknown_policy_is_refused(registry: Registry) -> None:
    owned_by_a_deployment(registry)
    wrong = request("DELETE", DEPLOYMENTS + "/dep", propagationPolicy="Sideways")
    error = refused(registry, wrong)
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: '
        '"Sideways": supported values: "Foreground", "Background", "Orphan", "nil"'
    )


WRONG_OPTIONS: tuple[tuple[Object, int, str], ...] = (
    (
        {"gracePeriodSeconds": "x"},
        400,
        "cannot unmarshal string into Go struct field DeleteOptions",
    ),
    ({"gracePeriodSeconds": 1.5}, 400, "DeleteOptions.gracePeriodSeconds"),
    ({"gracePeriodSeconds": True}, 400, "cannot unmarshal bool"),
    ({"gracePeriodSeconds": 10**30}, 400, "cannot unmarshal number"),
    ({"propagationPolicy": 5}, 400, "DeleteOptions.propagationPolicy"),
    ({"orphanDependents": "yes"}, 400, "DeleteOptions.orphanDependents"),
    ({"preconditions": "x"}, 400, "DeleteOptions.preconditions"),
    ({"preconditions": ["x"]}, 400, "cannot unmarshal array"),
    ({"preconditions": {"uid": 7}}, 400, "Preconditions.preconditions.uid"),
    ({"preconditions": {"resourceVersion": 7}}, 400, "preconditions.resourceVersion"),
    ({"dryRun": "All"}, 400, "DeleteOptions.dryRun"),
    ({"dryRun": ["Some"]}, 422, 'dryRun: Unsupported value: ["Some"]'),
    ({"kind": "Pod"}, 400, "cannot be converted to DeleteOptions"),
    ({"orphanDependents": False, "propagationPolicy": "Orphan"}, 422, "cannot be both set"),
    ({"preconditions": {"uid": "other"}}, 409, "Precondition failed: UID in precondition: other"),
    ({"preconditions": {"resourceVersion": "7000"}}, 409, "cannot be fulfilled on pods"),
)


@pytest.mark.parametrize(("options", "code", "why"), WRONG_OPTIONS)
def test_options_that_make_no_sense_are_refused(
    registry: Registry, options: Object, code: int, why: str
) -> None:
    before = registry.store.version
    eviction: Object = {"kind": "Eviction", "deleteOptions": options}
    asked = {
        "one": request("DELETE", PODS + "/web-1", options),
        "all": request("DELETE", PODS, options),
        "evicted": request("POST", PODS + "/web-1/eviction", eviction),
    }
    for what, wrong in asked.items():
        error = refused(registry, wrong)
        assert error.code == code, what
        # of an Eviction the decoder tells the whole path
        assert why in error.message or (what == "evicted" and code == 400), error.message
    assert registry.store.version == before


@pytest.mark.parametrize("body", [[], "x", 7])
def test_a_body_that_is_no_options_is_refused(registry: Registry, body: JSON) -> None:
    assert refused(registry, request("DELETE", PODS + "/web-1", body)).code == 400
    assert refused(registry, request("POST", PODS + "/web-1/eviction", body)).code == 400


def test_options_of_the_query_are_heard_too(registry: Registry) -> None:
    owned_by_a_deployment(registry)
    registry.answer(request("DELETE", DEPLOYMENTS + "/dep", orphanDependents="true"))
    left = registry.store.get(CONFIG_MAP, "default", "owned")
    assert items(left or {}, "metadata", "ownerReferences") == []


def test_a_collection_is_deleted_as_the_options_say(registry: Registry) -> None:
    owned_by_a_deployment(registry)
    registry.answer(request("DELETE", DEPLOYMENTS, propagationPolicy="Orphan"))
    left = registry.store.get(CONFIG_MAP, "default", "owned")
    assert items(left or {}, "metadata", "ownerReferences") == []
    for name in ("web-1", "web-2"):
        pod = registry.store.get(POD, "default", name)
        assert pod is not None
        registry.store.update(POD, with_part(pod, "n1", "spec", "nodeName"))
    registry.answer(request("DELETE", PODS, gracePeriodSeconds="7"))
    marked = registry.store.list(POD, "default")
    assert {part(item, "metadata", "deletionGracePeriodSeconds") for item in marked} == {7}


def test_what_has_no_effect_is_said(registry: Registry) -> None:
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    body: Object = {"metadata": {"name": "a"}, "spec": {"minAvailable": 1}}
    done = registry.answer(request("POST", path, body))
    assert done.warnings == ("objects of kind PodDisruptionBudget have no effect here",)


@pytest.fixture(autouse=True)
def _services_stay(registry: Registry) -> Iterator[None]:
    """No request changes an object in place."""
    before = {id(obj): json.dumps(obj) for obj in registry.store.list(SERVICE)}
    kept = registry.store.list(SERVICE)
    yield
    assert {id(obj): json.dumps(obj) for obj in kept} == before


LABS = "/apis/kns/v1/labs"


def lab(name: str = "seeded", **parts: JSON) -> Object:
    return {"apiVersion": "kns/v1", "kind": "Lab", "metadata": {"name": name}, **parts}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/api/v1/namespaces/default", "this namespace may not be deleted"),
        (f"{LABS}/seeded", "kns down removes the lab"),
        (LABS, "kns down removes the lab"),
    ],
)
def test_what_a_cluster_needs_stays(registry: Registry, path: str, why: str) -> None:
    with pytest.raises(StatusError, match=why) as caught:
        registry.answer(request("DELETE", path))
    assert caught.value.code == 403
    assert registry.answer(request("GET", path)).code == 200


def test_a_lab_is_one_object_and_no_list_of_others(registry: Registry) -> None:
    with pytest.raises(StatusError, match="the lab's name is seeded") as caught:
        registry.answer(request("POST", LABS, lab("other")))
    assert caught.value.code == 422
    listed = lab(pods=[{"name": "pod1", "node": "node1"}], services=[])
    with pytest.raises(StatusError, match="objects of their own kinds") as caught:
        registry.answer(request("PUT", f"{LABS}/seeded", listed))
    causes = mappings(caught.value.body, "details", "causes")
    assert [cause["field"] for cause in causes] == ["pods", "services"]
    slow: Object = {"kubeProxyMode": "nftables"}
    changed = registry.answer(request("PUT", f"{LABS}/seeded", lab(networking=slow)))
    assert part(changed.object, "networking", "kubeProxyMode") == "nftables"


def test_endpoints_are_made_of_a_service_s_slices(registry: Registry) -> None:
    labels: Object = {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }

    def endpoint(address: str, **conditions: bool) -> Object:
        target: Object = {"kind": "Pod", "name": f"pod-{address[-1]}"}
        return {"addresses": [address], "conditions": {**conditions}, "targetRef": target}

    made: Object = {
        "metadata": {"name": "web-abcde", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [
            endpoint("10.244.0.2", ready=True),
            endpoint("10.244.0.3", ready=False),
            endpoint("10.244.0.4", ready=False, terminating=True),
        ],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }
    registry.store.create(ENDPOINT_SLICE, made)
    # podToEndpointAddressForService of the endpoints controller: the first of ipFamilies alone
    six: Object = {
        "metadata": {**mapping(made, "metadata"), "name": "web-6"},
        "addressType": "IPv6",
    }
    registry.store.create(
        ENDPOINT_SLICE, {**made, **six, "endpoints": [endpoint("fd00:10:244::2", ready=True)]}
    )
    path = "/api/v1/namespaces/default/endpoints"
    one = registry.answer(request("GET", f"{path}/web")).object
    assert one == mappings(registry.answer(request("GET", path)).object, "items")[0]
    assert one["subsets"] == [
        {
            "addresses": [{"ip": "10.244.0.2", "targetRef": {"kind": "Pod", "name": "pod-2"}}],
            "notReadyAddresses": [
                {"ip": "10.244.0.3", "targetRef": {"kind": "Pod", "name": "pod-3"}}
            ],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }
    ]
    with pytest.raises(StatusError, match="not found"):
        registry.answer(request("GET", f"{path}/other"))


def test_a_watch_of_endpoints_tells_of_those_that_are_made(registry: Registry) -> None:
    def piece(*addresses: str) -> Object:
        points: list[JSON] = [
            {"addresses": [address], "conditions": {"ready": True}} for address in addresses
        ]
        labels: Object = {
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        meta: Object = {"name": "web-abcde", "namespace": "default", "labels": labels}
        return {"metadata": meta, "addressType": "IPv4", "endpoints": points, "ports": []}

    async def watch(then: Callable[[], None], **query: str) -> list[tuple[str, list[str]]]:
        asked = request("GET", "/api/v1/namespaces/default/endpoints", **query)
        events = ObjectWatch(registry.store, asked, Representation.OBJECT).events()
        found: list[tuple[str, list[str]]] = []
        asyncio.get_running_loop().call_later(0.05, then)
        async for event in events:
            addresses = [
                text(item, "ip")
                for subset in mappings(event, "object", "subsets")
                for item in mappings(subset, "addresses")
            ]
            found.append((text(event, "type"), addresses))
            if addresses == ["10.244.0.9"] or found[-1][0] == "DELETED":
                break
        return found

    slices = registry.store
    slices.create(ENDPOINT_SLICE, piece("10.244.0.2"))
    version = str(slices.version)

    def change() -> None:
        # what does not change the addresses is no change of the Endpoints
        same = with_part(piece("10.244.0.2"), {"note": "x"}, "metadata", "annotations")
        slices.update(ENDPOINT_SLICE, same)
        slices.update(ENDPOINT_SLICE, piece("10.244.0.9"))

    assert asyncio.run(watch(change)) == [
        ("ADDED", ["10.244.0.2"]),
        ("MODIFIED", ["10.244.0.9"]),
    ]
    found = asyncio.run(watch(lambda: None, resourceVersion=version))
    assert found[-1][1] == ["10.244.0.9"]

    def end() -> None:
        slices.delete(ENDPOINT_SLICE, "default", "web-abcde")

    assert asyncio.run(watch(end, resourceVersion=str(slices.version)))[-1][0] == "DELETED"


def test_a_watch_that_nobody_reads_keeps_no_changes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "_WAITING", 10)
    store = registry.store

    async def watch() -> list[str]:
        events = ObjectWatch(store, request("GET", CONFIGS), Representation.OBJECT).events()
        store.create(CONFIG_MAP, placed(config("a")))
        found = [text(await anext(events), "type")]
        listening = len(store._subscribers)
        for number_ in range(30):
            store.update(CONFIG_MAP, placed(config("a", x=str(number_))))
        assert len(store._subscribers) == listening - 1
        async for event in events:
            found.append(text(event, "type"))
        return found

    assert asyncio.run(watch()) == ["ADDED", *["MODIFIED"] * 10, "ERROR"]
