"""Ingresses in lab files: manifests beside short forms, and what is warned of."""

from __future__ import annotations

import pytest

from kns.cluster.ingress import served
from kns.cluster.resolve import resolve
from kns.errors import SpecError
from kns.kinds.load import LoadedLab, load_lab_text
from tests.kinds.labs import HEAD, NODES, lab

BASE = """
pods: [{name: web, labels: {app: web}}]
services:
- {name: web, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
- {name: out, type: ExternalName, externalName: example.com}
"""
MANIFEST = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop, annotations: {a: b}, uid: 1}
spec:
  ingressClassName: nginx
  tls: [{hosts: [shop.test], secretName: shop}]
  defaultBackend: {service: {name: web, port: {name: http}}}
  rules:
  - host: shop.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}
"""


def with_manifest(text: str) -> LoadedLab:
    return load_lab_text(f"{HEAD}{NODES}---\n{text}")


def warnings(body: str) -> list[str]:
    return [f"{item.path}: {item.message}" for item in lab(BASE + body).warnings]


def rules(service: str, port: str = "80") -> str:
    backend = f"{{service: {service}, port: {port}}}"
    return f"[{{paths: [{{path: /, pathType: Prefix, backend: {backend}}}]}}]"


def test_a_manifest_says_the_same_as_the_short_form() -> None:
    spec = with_manifest(MANIFEST).spec.ingresses[0]
    short = lab(
        """
ingresses:
- name: shop
  namespace: shop
  annotations: {a: b}
  ingressClassName: nginx
  tls: [{hosts: [shop.test], secretName: shop}]
  defaultBackend: {service: {name: web, port: {name: http}}}
  rules:
  - host: shop.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
"""
    ).spec.ingresses[0]
    assert spec == short


def test_ingress_classes_and_tls_secrets_are_read_from_manifests() -> None:
    spec = with_manifest(
        """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: other}
spec: {controller: example.com/other, parameters: {kind: X, name: y}}
---
apiVersion: v1
kind: Secret
metadata: {name: shop}
type: kubernetes.io/tls
data:
  tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=
  tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUIKLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo=
"""
    ).spec
    assert [(item.name, item.controller) for item in spec.ingress_classes] == [
        ("other", "example.com/other")
    ]
    secret = spec.secrets[0]
    assert secret.certificate.splitlines()[0] == "-----BEGIN CERTIFICATE-----"
    assert secret.key.splitlines()[0] == "-----BEGIN PRIVATE KEY-----"


def test_other_secrets_are_passed_over() -> None:
    opaque = "{apiVersion: v1, kind: Secret, metadata: {name: x}, data: {password: c2VjcmV0}}"
    loaded = with_manifest(opaque)
    assert (loaded.spec.secrets, loaded.warnings) == ((), ())


def test_a_wrong_secret_is_not_shown_in_its_message() -> None:
    body = "secrets: [{name: x, stringData: {tls.crt: hello, tls.key: my-secret-key}}]"
    with pytest.raises(SpecError) as caught:
        lab(body)
    assert not any("my-secret-key" in str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"ingresses: [{{name: a, rules: {rules('web')}}}]", []),
        (f"ingresses: [{{name: a, rules: {rules('web', 'http')}}}]", []),
        (
            f"ingresses: [{{name: a, rules: {rules('wbe')}}}]",
            [
                "ingresses[0].rules[0].paths[0].backend.service: "
                "there is no Service default/wbe: requests get a 503"
            ],
        ),
        (
            f"ingresses: [{{name: a, namespace: b, rules: {rules('web')}}}]",
            [
                "ingresses[0].rules[0].paths[0].backend.service: "
                "there is no Service b/web: requests get a 503"
            ],
        ),
        (
            f"ingresses: [{{name: a, rules: {rules('web', '81')}}}]",
            [
                "ingresses[0].rules[0].paths[0].backend.service: "
                "Service web has no port 81: requests get a 503"
            ],
        ),
        (
            "ingresses: [{name: a, defaultBackend: {service: out, port: 80}}]",
            [
                "ingresses[0].defaultBackend.service: "
                "Service out is an ExternalName: requests get a 503"
            ],
        ),
        (
            f"ingresses: [{{name: a, ingressClassName: ngnix, rules: {rules('web')}}}]",
            [
                "ingresses[0].ingressClassName: "
                'there is no IngressClass "ngnix": no controller serves the Ingress'
            ],
        ),
        (
            f"ingresses: [{{name: a, tls: [{{secretName: s}}], rules: {rules('web')}}}]",
            ["ingresses[0].tls[0].secretName: there is no Secret default/s in this file"],
        ),
        (
            f"ingresses: [{{name: a, rules: {rules('web')}}}, {{name: b, rules: {rules('web')}}}]",
            [
                "ingresses[1].rules[0].paths[0].path: "
                'host "" and path "/" is already defined in ingress default/a'
            ],
        ),
        (
            "ingresses: [{name: a, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /},"
            f" rules: {rules('web')}}}]",
            [
                "ingresses[0].annotations[nginx.ingress.kubernetes.io/rewrite-target]: "
                "this annotation has no effect here"
            ],
        ),
    ],
)
def test_what_leads_nowhere_is_warned_of(body: str, expected: list[str]) -> None:
    assert warnings(body) == expected


INGRESS = (
    "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: noclass}\n"
    "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n"
)
WEB = "services: [{name: web, ports: [{port: 80}]}]\n"
DEFAULT = 'annotations: {ingressclass.kubernetes.io/is-default-class: "true"}'


@pytest.mark.parametrize(
    ("classes", "expected", "message"),
    [
        ("", "", "it names no class, and no IngressClass is the default: no controller serves it"),
        ("ingressClasses: [{name: nginx}]\n", "",
         "it names no class, and no IngressClass is the default: no controller serves it"),
        (f"ingressClasses: [{{name: nginx, {DEFAULT}}}]\n", "nginx", ""),
        (f"ingressClasses: [{{name: fast, controller: example.com/fast, {DEFAULT}}}]\n", "fast",
         "it names no class, and the default one (fast) is not ours: no controller serves it"),
    ],
)  # fmt: skip
def test_an_ingress_of_a_manifest_without_class_is_for_the_default_one(
    classes: str, expected: str, message: str
) -> None:
    """ingress-nginx's own class is no default; kind's manifest alone has it serve such ones."""
    loaded = lab(f"{WEB}{classes}{INGRESS}")
    cluster = resolve(loaded.spec).cluster
    assert [item.ingress_class for item in cluster.ingresses] == [expected]
    assert len(served(cluster)) == (expected == "nginx")
    told = [p for p in loaded.warnings if p.path == "spec.ingressClassName"]
    assert [problem.message for problem in told] == ([message] if message else [])
    assert all(problem.hint == "add `ingressClassName: nginx`" for problem in told)


def test_an_ingress_of_the_lab_document_without_class_is_the_labs_own() -> None:
    backend = "defaultBackend: {service: web, port: 80}"
    loaded = lab(f"{WEB}ingresses: [{{name: a, {backend}}}]\n")
    assert [item.ingress_class for item in loaded.spec.ingresses] == ["nginx"]
    assert not [p for p in loaded.warnings if "class" in p.message]
