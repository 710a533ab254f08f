"""Reads and writes of objects as the API's verbs have them: a request in, an object out.

Nothing here waits: what a request does, it does between two turns of the event loop, so that no
other write comes between its reading and its writing.

Source: k8s.io/apiserver/pkg/endpoints/handlers and registry/generic/registry.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from kns.agent.api import deletion, endpoints, ownership, services, validation
from kns.agent.api.decoding import Decoded, decoded, json_of
from kns.agent.api.patches import json_patch, merge_patch, strategic_merge
from kns.agent.api.requests import APIRequest
from kns.agent.api.selectors import selector
from kns.agent.api.status import (
    bad_request,
    expired,
    forbidden,
    invalid,
    method_not_allowed,
    not_found,
    success,
    too_large_version,
    unsupported_media_type,
)
from kns.agent.store import ExpiredError, Store, timestamp
from kns.agent.strategy import UpdatePart
from kns.kinds.api_types import type_of
from kns.kinds.common import SAFE_LETTERS, Object
from kns.kinds.defaults import defaulted
from kns.kinds.objects import (
    items,
    key_of,
    mapping,
    mappings,
    name_of,
    part,
    text,
    with_part,
)
from kns.kinds.resources import LAB, NAMESPACE, NODE, POD, SERVICE, Resource
from kns.labfile.reader import JSON

APPLY = "application/apply-patch+yaml"
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY,
)


@dataclass(frozen=True, slots=True)
class APIAnswer:
    """What a request is answered."""

    object: Object
    code: int = 200
    warnings: tuple[str, ...] = ()


class Registry:
    """The verbs over a store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self._clock = clock

    def answer(self, request: APIRequest) -> APIAnswer:
        """Carry out a request for objects. StatusError, or an error of the store's."""
        named = bool(request.target.name)
        match request.method:
            case "GET":
                return APIAnswer(self.get(request) if named else self.list(request))
            case "POST" if not named:
                return self.create(request)
            case "PUT" if named:
                return self.replace(request)
            case "PATCH" if named:
                return self.patch(request)
            case "DELETE" if named:
                return APIAnswer(self.delete(request))
            case "DELETE":
                return APIAnswer(self.delete_collection(request))
            case _:
                raise method_not_allowed(request.target.resource)

    # -- reading -----------------------------------------------------------------------------------

    def get(self, request: APIRequest) -> Object:
        """The object that the request names."""
        target = request.target
        found = endpoints.listed(self.store, target.resource, target.namespace, target.name)
        if not found:
            raise not_found(target.resource, target.name)
        return found[0]

    def list(self, request: APIRequest) -> Object:
        """The list that the request asks for, or the next part of it (`limit`, `continue`)."""
        resource = request.target.resource
        version, after = self._from(request)
        found = self.selected(request)
        if after:
            found = tuple(obj for obj in found if key_of(obj) > after)
        limit = request.number("limit") or 0
        own: Object = {"resourceVersion": str(version)}
        if 0 < limit < len(found):
            token = {"v": version, "after": list(key_of(found[limit - 1]))}
            own["continue"] = base64.urlsafe_b64encode(json.dumps(token).encode()).decode()
            own["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        listed: list[JSON] = list(found)
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": own,
            "items": listed,
        }

    def selected(self, request: APIRequest) -> tuple[Object, ...]:
        """The objects that the request's selectors admit."""
        target = request.target
        wanted = selector(
            target.resource,
            request.query.get("labelSelector", ""),
            request.query.get("fieldSelector", ""),
        )
        found = endpoints.listed(self.store, target.resource, target.namespace, target.name)
        return tuple(obj for obj in found if wanted.admits(obj))

    def _from(self, request: APIRequest) -> tuple[int, tuple[str, ...]]:
        """The version that the list is of, and the key after which it goes on."""
        asked = request.number("resourceVersion") or 0
        if asked > self.store.version:
            raise too_large_version(asked, self.store.version)
        token = request.query.get("continue", "")
        if not token:
            return self.store.version, ()
        try:
            read = json.loads(base64.urlsafe_b64decode(token))
            version, after = int(read["v"]), tuple(map(str, read["after"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise bad_request(f"continue key is not valid: {token}") from None
        try:
            self.store.changes_since(version)
        except ExpiredError:
            why = "The provided continue parameter is too old to display a consistent list result."
            raise expired(why) from None
        return version, after

    # -- creating ----------------------------------------------------------------------------------

    def create(self, request: APIRequest) -> APIAnswer:
        """POST: put in the object of the body."""
        resource = request.target.resource
        found = self._decoded(request, json_of(request.body, request.content_type))
        obj = self._placed(request, found.object)
        if not name_of(obj) and (prefix := text(obj, "metadata", "generateName")):
            made = prefix[:58] + "".join(secrets.choice(SAFE_LETTERS) for _ in range(5))
            obj = with_part(obj, made, "metadata", "name")
        return APIAnswer(self._create(request, obj), 201, self._warnings(resource, found))

    def _create(self, request: APIRequest, obj: Object) -> Object:
        resource = request.target.resource
        obj = self._fresh(resource, obj)
        self._check(resource, obj, None)
        owner = self._owner(request, "Update")
        if not items(obj, "metadata", "managedFields"):
            obj = ownership.updated(None, obj, type_of(resource), owner)
        return self._scratch(request, resource, obj).create(resource, obj)

    def _placed(self, request: APIRequest, obj: Object) -> Object:
        """The object in the request's namespace, which must be there and stay."""
        target = request.target
        given = text(obj, "metadata", "namespace")
        if not target.resource.namespaced:
            return obj
        if given and target.namespace and given != target.namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        name = target.namespace or given or "default"
        namespace = self.store.get(NAMESPACE, "", name)
        if namespace is None:
            raise not_found(NAMESPACE, name)
        if part(namespace, "metadata", "deletionTimestamp"):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise forbidden(target.resource, name_of(obj), why)
        return with_part(obj, name, "metadata", "namespace")

    def _fresh(self, resource: Resource, obj: Object) -> Object:
        """A new object, defaulted; its status is not its author's."""
        made = defaulted(obj)
        if resource.has_status and resource is not NODE:
            made = {key: value for key, value in made.items() if key != "status"}
        if resource is POD:
            made["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        return made

    # -- changing ----------------------------------------------------------------------------------

    def replace(self, request: APIRequest) -> APIAnswer:
        """PUT: the object as the body has it."""
        old = self.get(request)
        found = self._decoded(request, json_of(request.body, request.content_type))
        if name_of(found.object) != name_of(old):
            raise bad_request(
                f"the name of the object ({name_of(found.object)}) does not match the name on the "
                f"URL ({name_of(old)})"
            )
        new = found.object
        if request.target.resource.namespaced:
            new = with_part(new, text(old, "metadata", "namespace"), "metadata", "namespace")
        made = self._update(request, old, new)
        return APIAnswer(made, 200, self._warnings(request.target.resource, found))

    def patch(self, request: APIRequest) -> APIAnswer:
        """PATCH: the object with the body in it, in one of the four forms of patches."""
        if request.content_type == APPLY:
            return self.apply(request)
        old = self.get(request)
        found = self._decoded(request, self._patched(request, old))
        made = self._update(request, old, found.object)
        return APIAnswer(made, 200, self._warnings(request.target.resource, found))

    def _patched(self, request: APIRequest, old: Object) -> JSON:
        patch = json_of(request.body, request.content_type)
        kind = type_of(request.target.resource)
        match request.content_type:
            case "application/json-patch+json":
                return json_patch(old, patch)
            case "application/merge-patch+json":
                return merge_patch(old, patch)
            case "application/strategic-merge-patch+json" if isinstance(patch, dict):
                if kind is None:
                    raise unsupported_media_type(request.content_type, _PATCHES[:2])
                return strategic_merge(old, patch, kind)
            case other:
                raise unsupported_media_type(other, _PATCHES)

    def apply(self, request: APIRequest) -> APIAnswer:
        """Server-side apply: the fields of the body are this manager's."""
        if not request.query.get("fieldManager"):
            raise bad_request(
                "PatchOptions.fieldManager: Required value: is required for apply patch"
            )
        target = request.target
        found = self._decoded(request, json_of(request.body, "application/yaml"))
        config = found.object
        if mapping(config, "metadata").get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        old = self.store.get(target.resource, target.namespace, target.name)
        owner = self._owner(request, "Apply")
        kind = type_of(target.resource)
        if target.resource.namespaced:
            config = with_part(config, target.namespace, "metadata", "namespace")
        warnings = self._warnings(target.resource, found)
        if old is None:
            new = self._placed(request, with_part(config, target.name, "metadata", "name"))
            new = ownership.applied(target.resource, new, config, kind, owner, force=True)
            return APIAnswer(self._create(request, new), 201, warnings)
        new = ownership.applied(
            target.resource, old, config, kind, owner, force=request.flag("force")
        )
        return APIAnswer(self._update(request, old, new, owned=True), 200, warnings)

    def _update(
        self, request: APIRequest, old: Object, new: Object, *, owned: bool = False
    ) -> Object:
        resource = request.target.resource
        written = _part(resource, request.target.subresource)
        if resource is SERVICE:
            new = services.with_allocated(old, new)
        new = defaulted(new)
        if written is UpdatePart.STATUS:
            new = {**old, "metadata": new.get("metadata"), "status": new.get("status")}
        else:
            self._check(resource, new, old)
        if not owned:
            owner = self._owner(request, "Update")
            new = ownership.updated(old, new, type_of(resource), owner)
        return self._scratch(request, resource, old).update(resource, new, written)

    def change(self, request: APIRequest, old: Object, new: Object) -> Object:
        """Write what a subresource of its own makes of an object."""
        return self._update(request, old, new)

    # -- deleting ----------------------------------------------------------------------------------

    def delete(self, request: APIRequest) -> Object:
        """DELETE of one object: the object while something holds it, else a Status."""
        target = request.target
        gone, is_held = self._delete(request, self.get(request))
        if is_held:
            return gone
        return success(target.resource, target.name, text(gone, "metadata", "uid"))

    def delete_collection(self, request: APIRequest) -> Object:
        """DELETE of all objects that are selected: the list of them."""
        found = self.list(request)
        for obj in mappings(found, "items"):
            self._delete(request, obj)
        return found

    def _delete(self, request: APIRequest, obj: Object) -> tuple[Object, bool]:
        """Delete one object as the options say; what it is now, and whether it is still there."""
        resource = request.target.resource
        options = self._options(request)
        validation.forbid_deletion(resource, name_of(obj))
        return deletion.delete(self._scratch(request, resource, obj), resource, obj, options)

    def _options(self, request: APIRequest) -> Object:
        body = json_of(request.body, request.content_type) if request.body else None
        given: Object = {}
        if "orphanDependents" in request.query:
            given["orphanDependents"] = request.flag("orphanDependents")
        if "propagationPolicy" in request.query:
            given["propagationPolicy"] = request.query["propagationPolicy"]
        if (grace := request.number("gracePeriodSeconds")) is not None:
            given["gracePeriodSeconds"] = grace
        return deletion.options_of({**given, **deletion.options_of(body)})

    # -- what all writes share ---------------------------------------------------------------------

    def _scratch(self, request: APIRequest, resource: Resource, obj: Object) -> Store:
        """Where to write: for a dry run a store that nobody keeps."""
        options = self._options(request) if request.method == "DELETE" else {}
        if not (request.is_dry_run or items(options, "dryRun")):
            return self.store
        scratch = Store(clock=self._clock)
        old = self.store.get(resource, *key_of(obj))
        scratch.restore((old,) if old is not None else (), self.store.version)
        return scratch

    def _decoded(self, request: APIRequest, value: JSON) -> Decoded:
        resource = request.target.resource
        return decoded(value, resource, type_of(resource), request.field_validation)

    def _check(self, resource: Resource, obj: Object, old: Object | None) -> None:
        """StatusError 422 with everything that is wrong."""
        asked = with_part(obj, None, "metadata", "managedFields")
        nodes = [name_of(node) for node in self.store.list(NODE)]
        labs = self.store.list(LAB)
        found = [*validation.causes(resource, asked, labs[0] if labs else {}, nodes)]
        if resource is SERVICE:
            found += services.taken(obj, self.store.list(SERVICE))
        if old is not None:
            found += validation.changed_for_good(resource, old, obj)
        if found:
            raise invalid(resource, name_of(obj), dict.fromkeys(found))

    def _owner(self, request: APIRequest, operation: str) -> ownership.FieldOwner:
        return ownership.FieldOwner(
            request.manager,
            operation,
            request.target.resource.api_version,
            request.target.subresource,
            timestamp(self._clock()),
            frozenset(),
        )

    def _warnings(self, resource: Resource, found: Decoded) -> tuple[str, ...]:
        if resource.effective:
            return found.warnings
        return (*found.warnings, f"objects of kind {resource.kind} have no effect here")


def _part(resource: Resource, subresource: str) -> UpdatePart:
    if subresource == "status":
        return UpdatePart.STATUS
    return UpdatePart.SPEC if resource.has_status else UpdatePart.ALL
