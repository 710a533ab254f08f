"""Who asks, and whether he may: bearer tokens, and the roles of service accounts.

The lab's owner has a token of his own and may do anything. A service account's token (`kubectl
create token`, and in the files of its pods) may what Roles and ClusterRoles say that are bound to
the account, as in a cluster with RBAC.

Source: k8s.io/apiserver/pkg/authorization and k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac;
k8s.io/kubernetes/pkg/serviceaccount/claims.go.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kns.agent.api.requests import ADMIN, APIRequest, APIUser
from kns.agent.api.status import forbidden
from kns.agent.store import Store
from kns.kinds.common import Object
from kns.kinds.objects import items, mapping, mappings, text
from kns.kinds.resources import SERVICE_ACCOUNT, by_kind
from kns.labfile.reader import JSON

_RBAC = "rbac.authorization.k8s.io/v1"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class AccessQuestion:
    """One thing that somebody wants to do."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


#: the token of a service account, by its namespace and name
TokenOf = Callable[[str, str], str]


class Authenticator:
    """Knows the tokens of one lab; `secret` is the owner's."""

    def __init__(self, secret: str, token_of: TokenOf) -> None:
        self._secret, self.token_of = secret, token_of

    def user(self, token: str, store: Store) -> APIUser | None:
        """Whose token it is; None if nobody's, or that of an account that is gone."""
        if not token.isascii():
            # as every name is; a byte that is no UTF-8 comes as a surrogate that nobody can encode
            return None
        if hmac.compare_digest(token.encode(), self._secret.encode()):
            return ADMIN
        namespace, _, rest = token.partition(".")
        account, _, _random = rest.rpartition(".")
        # serviceaccount.Validator: the account must be there, and be the one it was made for
        if not account or store.get(SERVICE_ACCOUNT, namespace, account) is None:
            return None
        if not hmac.compare_digest(token.encode(), self.token_of(namespace, account).encode()):
            return None
        return account_user(namespace, account)

    def authorize(self, request: APIRequest, store: Store) -> None:
        """StatusError 403 if the user may not."""
        question = asked(request)
        if is_allowed(request.user, question, store):
            return
        where = (
            f'in the namespace "{question.namespace}"'
            if question.namespace
            else "at the cluster scope"
        )
        why = (
            f'User "{request.user.name}" cannot {question.verb} resource "{question.resource}" in '
            f'API group "{question.group}" {where}'
        )
        raise forbidden(request.target.resource, request.target.name, why)


def account_user(namespace: str, account: str) -> APIUser:
    """The user that a service account is."""
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    )
    return APIUser(f"system:serviceaccount:{namespace}:{account}", groups)


def asked(request: APIRequest) -> AccessQuestion:
    """What a request is about, in the words of roles."""
    target = request.target
    verb = _VERBS.get(request.method, "")
    if request.method == "GET":
        verb = "watch" if request.flag("watch") else "get" if target.name else "list"
    if request.method == "DELETE":
        verb = "delete" if target.name else "deletecollection"
    if target.subresource in {"exec", "attach", "portforward"}:
        verb = "create"
    below = f"/{target.subresource}" if target.subresource else ""
    plural = f"{target.resource.plural}{below}"
    return AccessQuestion(verb, target.resource.group, plural, target.namespace, target.name)


def is_allowed(user: APIUser, question: AccessQuestion, store: Store) -> bool:
    """Whether a role says so that is bound to the user."""
    if "system:masters" in user.groups:
        return True
    rules = _rules(user, question.namespace, store)
    return any(_covers(rule, question) for rule in rules)


def _rules(user: APIUser, namespace: str, store: Store) -> Iterator[Object]:
    bindings = [(obj, "") for obj in _all(store, "ClusterRoleBinding")]
    if namespace:
        bindings += [(obj, namespace) for obj in _all(store, "RoleBinding", namespace)]
    for binding, where in bindings:
        if any(_is_meant(subject, user, where) for subject in mappings(binding, "subjects")):
            kind, name = text(binding, "roleRef", "kind"), text(binding, "roleRef", "name")
            found = by_kind(_RBAC, kind)
            role = store.get(found, where, name) if found is not None else None
            yield from mappings(role, "rules")


def _all(store: Store, kind: str, namespace: str = "") -> tuple[Object, ...]:
    found = by_kind(_RBAC, kind)
    return store.list(found, namespace) if found is not None else ()


def _is_meant(subject: Object, user: APIUser, where: str) -> bool:
    name = text(subject, "name")
    match text(subject, "kind"):
        case "ServiceAccount":
            namespace = text(subject, "namespace") or where
            return user.name == f"system:serviceaccount:{namespace}:{name}"
        case "Group":
            return name in user.groups
        case _:
            return user.name == name


def _covers(rule: Object, question: AccessQuestion) -> bool:
    names = items(rule, "resourceNames")
    return (
        _has(items(rule, "verbs"), question.verb)
        and _has(items(rule, "apiGroups"), question.group)
        and _has(items(rule, "resources"), question.resource)
        and (not names or question.name in names)
    )


def _has(listed: list[JSON], word: str) -> bool:
    below = "*/" + word.partition("/")[2] if "/" in word else word
    return "*" in listed or word in listed or below in listed


def review(body: JSON, user: APIUser, store: Store) -> Object:
    """The answer to a SelfSubjectAccessReview (`kubectl auth can-i`)."""
    attributes = mapping(body, "spec", "resourceAttributes")
    sub = text(attributes, "subresource")
    plural = text(attributes, "resource") + (f"/{sub}" if sub else "")
    question = AccessQuestion(
        text(attributes, "verb"),
        text(attributes, "group"),
        plural,
        text(attributes, "namespace"),
        text(attributes, "name"),
    )
    allowed = is_allowed(user, question, store) if attributes else "system:masters" in user.groups
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": mapping(body, "spec"),
        "status": {"allowed": allowed},
    }
