"""Who may what: tokens, roles and their bindings."""

from __future__ import annotations

import pytest

from kns.agent.api.access import (
    AccessQuestion,
    Authenticator,
    account_user,
    is_allowed,
    review,
)
from kns.agent.api.requests import ADMIN, APIRequest, target_of
from kns.agent.api.status import StatusError
from kns.agent.store import Store
from kns.kinds.common import Object
from kns.kinds.objects import part
from kns.kinds.resources import SERVICE_ACCOUNT, by_kind
from kns.labfile.reader import JSON

RBAC = "rbac.authorization.k8s.io/v1"
READER = account_user("default", "reader")


@pytest.fixture
def store() -> Store:
    made = Store()

    def put(kind: str, **parts: JSON) -> None:
        resource = by_kind(RBAC, kind)
        assert resource is not None
        made.create(resource, parts)

    subject: Object = {"kind": "ServiceAccount", "name": "reader", "namespace": "default"}
    rule: Object = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    named: Object = {**rule, "resources": ["services"], "resourceNames": ["web"]}
    metadata: Object = {"name": "read", "namespace": "default"}
    put("Role", metadata=metadata, rules=[rule, named])
    role: Object = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"}
    put("RoleBinding", metadata=metadata, subjects=[subject], roleRef=role)
    everything: Object = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    put("ClusterRole", metadata={"name": "all"}, rules=[everything])
    group: Object = {"kind": "Group", "name": "system:serviceaccounts:ops"}
    whole: Object = {**role, "kind": "ClusterRole", "name": "all"}
    put("ClusterRoleBinding", metadata={"name": "ops"}, subjects=[group], roleRef=whole)
    return made


def put_account(store: Store, namespace: str, name: str) -> None:
    store.create(SERVICE_ACCOUNT, {"metadata": {"namespace": namespace, "name": name}})


def token_of(namespace: str, account: str) -> str:
    return f"{namespace}.{account}.0123"


def test_a_token_is_somebodys_or_nobodys(store: Store) -> None:
    known = Authenticator("secret", token_of)
    put_account(store, "default", "my.account")
    assert known.user("secret", store) == ADMIN
    token = token_of("default", "my.account")
    assert known.user(token, store) == account_user("default", "my.account")
    for wrong in (
        "",
        "Secret",
        token[:-1],
        token.replace("default", "other"),
        "a.b.c",
        "..",
        "ü",
        "\udcff",
        "a.\udcff.c",
    ):
        assert known.user(wrong, store) is None


def test_a_token_goes_with_its_account(store: Store) -> None:
    """As the API server's: refused without the account, and by one that was made anew."""
    made: dict[tuple[str, str], str] = {}

    def account_token(namespace: str, account: str) -> str:
        return made.setdefault((namespace, account), f"{namespace}.{account}.{len(made)}")

    known = Authenticator("secret", account_token)
    put_account(store, "default", "reader")
    token = account_token("default", "reader")
    assert known.user(token, store) == READER
    store.delete(SERVICE_ACCOUNT, "default", "reader")
    assert known.user(token, store) is None
    assert known.user(token_of("default", "nobody"), store) is None
    assert list(made) == [("default", "reader")]


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        (AccessQuestion("get", "", "pods", "default", "x"), True),
        (AccessQuestion("delete", "", "pods", "default", "x"), False),
        (AccessQuestion("get", "apps", "pods", "default"), False),
        (AccessQuestion("get", "", "pods", "other"), False),
        (AccessQuestion("list", "", "pods"), False),
        (AccessQuestion("get", "", "pods/log", "default", "x"), False),
        (AccessQuestion("get", "", "services", "default", "web"), True),
        (AccessQuestion("get", "", "services", "default", "db"), False),
    ],
)
def test_a_role_allows_what_it_says_in_its_namespace(
    store: Store, question: AccessQuestion, *, allowed: bool
) -> None:
    assert is_allowed(READER, question, store) is allowed
    assert is_allowed(ADMIN, question, store)
    assert is_allowed(account_user("ops", "any"), question, store)
    assert not is_allowed(account_user("other", "reader"), question, store)


def test_who_may_not_is_told_what(store: Store) -> None:
    target = target_of("/api/v1/namespaces/default/pods/web")
    with pytest.raises(StatusError) as caught:
        Authenticator("x", token_of).authorize(APIRequest("DELETE", target, user=READER), store)
    assert caught.value.code == 403
    assert caught.value.message == (
        'pods "web" is forbidden: User "system:serviceaccount:default:reader" cannot delete '
        'resource "pods" in API group "" in the namespace "default"'
    )


def test_a_review_answers_what_a_request_would(store: Store) -> None:
    def body(verb: str) -> Object:
        attributes: Object = {"verb": verb, "resource": "pods", "namespace": "default"}
        return {"spec": {"resourceAttributes": attributes}}

    assert part(review(body("list"), READER, store), "status", "allowed") is True
    assert part(review(body("create"), READER, store), "status", "allowed") is False
    assert part(review(body("create"), ADMIN, store), "status", "allowed") is True
