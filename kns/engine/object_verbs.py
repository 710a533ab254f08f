"""`apply` and `delete` on a running lab, over its API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from kns.engine.api_client import APIClient, NoSuchObjectError, RequestRefusedError
from kns.errors import Problem, SpecError, UsageError
from kns.hints import closest
from kns.kinds.checks.objects import object_problems
from kns.kinds.common import Object
from kns.kinds.objects import SERVER_METADATA, Ref, key_of, mapping, name_of, text
from kns.kinds.resources import LAB, NODE, RESOURCES, Resource, by_kind, by_word
from kns.labfile.document import Document, Path
from kns.labfile.objects import ObjectPlace, objects_in, parse_object_stream

#: a file's name and its content
File = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """What has become of an object."""

    resource: Resource
    namespace: str
    name: str
    #: in a word: `created`
    result: str
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """What names the object among those of all kinds."""
        return (self.resource.kind, self.namespace, self.name)

    @property
    def text(self) -> str:
        """As kubectl says it: `deployment.apps/web created`."""
        return f"{named(self.resource, self.name)} {self.result}"


Results = Iterator[ObjectResult]


def named(resource: Resource, name: str) -> str:
    """As kubectl names an object: `deployment.apps/web`, `pod/web-1`."""
    group = f".{resource.group}" if resource.group else ""
    return f"{resource.singular}{group}/{name}"


def resource_named(word: str) -> Resource:
    """The resource of a kind's name as kubectl takes it. UsageError if there is none."""
    found = by_word(word)
    if found is None:
        known = [name for each in RESOURCES for name in (each.plural, each.singular)]
        near = closest(word.lower(), known)
        hint = f"did you mean {near}?" if near else "pods, deploy, svc, nodes, netpol …"
        raise UsageError(f"there is no kind {word!r}", hint=hint)
    return found


def get_named(client: APIClient, resource: Resource, namespace: str, name: str) -> Object:
    """The object that a user names. UsageError, with what may be meant, if there is none."""
    where = namespace if resource.namespaced else ""
    found = client.find(resource, where, name)
    if found is None:
        there = [name_of(item) for item in client.list(resource, where)]
        place = f" in namespace {where}" if where else ""
        raise UsageError(
            f"there is no {resource.singular} {name!r}{place}",
            hint=instead(name, there, resource.plural),
        )
    return found


def instead(name: str, there: Sequence[str], what: str) -> str:
    """A hint for who names an object that is not there."""
    if not there:
        return f"it has no {what} at all; -n NAMESPACE names another one"
    near = closest(name, there)
    if near:
        return f"did you mean {near}?"
    more = f" and {len(there) - 8} more" if len(there) > 8 else ""
    return f"{what} there: {', '.join(there[:8])}{more}"


# -- apply -----------------------------------------------------------------------------------------


def apply(client: APIClient, files: Sequence[File], namespace: str) -> Results:
    """Have the lab hold the objects of the files; one after the other is made or changed.

    SpecError before the first one, with everything that is wrong, if one of them is refused.
    """
    wanted = [
        _FileObject(place, resource, _written(place), namespace)
        for place, resource in objects_of_files(client, files)
    ]
    if refused := [problem for item in wanted for problem in _refusals(client, item)]:
        raise SpecError(tuple(refused))
    for item in wanted:
        before = client.find(*item.names)
        try:
            made = client.apply(*item.names, item.content)
        except RequestRefusedError as error:
            raise SpecError(tuple(_problems(item, error))) from error
        yield ObjectResult(*item.names, _result(before, made.object), made.warnings)


@dataclass(frozen=True, slots=True)
class _FileObject:
    """An object of a file; where it says no namespace, it goes to the `default` one."""

    place: ObjectPlace
    resource: Resource
    content: Object
    default: str

    @property
    def names(self) -> tuple[Resource, str, str]:
        own = key_of(self.content)
        return self.resource, (own.namespace or self.default) * self.resource.namespaced, own.name


def _refusals(client: APIClient, item: _FileObject) -> Iterator[Problem]:
    """What the lab would refuse of an object; a namespace that is missing may be in the file."""
    try:
        client.apply(*item.names, item.content, dry_run=True)
    except NoSuchObjectError:
        return
    except RequestRefusedError as error:
        yield from _problems(item, error)


def _result(before: Object | None, after: Object) -> str:
    if before is None:
        return "created"
    versions = {text(item, "metadata", "resourceVersion") for item in (before, after)}
    return "unchanged" if len(versions) == 1 else "configured"


def _written(place: ObjectPlace) -> Object:
    """The object as its author means it: without what a server has written into it."""
    item = cast("Object", {**place.data, "apiVersion": place.api_version, "kind": place.kind})
    item.pop("status", None)
    meta = mapping(item, "metadata")
    kept: Object = {key: value for key, value in meta.items() if key not in SERVER_METADATA}
    return {**item, "metadata": kept}


def objects_of_files(
    client: APIClient, files: Sequence[File]
) -> list[tuple[ObjectPlace, Resource]]:
    """All objects of the files. SpecError with everything that is wrong with them."""
    streams = [parse_object_stream(content, file) for file, content in files]
    problems = [problem for stream in streams for problem in stream.problems]
    documents = [document for stream in streams for document in stream.documents]
    found: list[tuple[ObjectPlace, Resource]] = []
    for document in documents:
        places, wrong = objects_in(document)
        problems += [*wrong, *_without_resource(document, places)]
        known = ((place, by_kind(place.api_version, place.kind)) for place in places)
        found += [(place, resource) for place, resource in known if resource is not None]
    if not problems:
        labs = client.list(LAB)
        nodes = [name_of(item) for item in client.list(NODE)]
        problems += object_problems(documents, labs[0] if labs else {}, nodes)
    if not documents and not problems:
        problems.append(Problem(files[0][0], 0, 0, "", "the file holds no object"))
    if problems:
        raise SpecError(tuple(sorted(set(problems))))
    return found


def _without_resource(document: Document, places: Sequence[ObjectPlace]) -> Iterator[Problem]:
    """What is no object that comes into a lab."""
    for place in places:
        path = (*place.path, "kind")
        if place.kind == "Lab":
            message = "a Lab document is not applied: it is what a lab is made of"
            yield document.problem(path, message, f"kns up {document.file}")
        elif "." in place.api_version and by_kind(place.api_version, place.kind) is None:
            # all others have an error of their own
            message = f'no matches for kind "{place.kind}" in version "{place.api_version}"'
            yield document.problem(path, message, "labs have no CustomResourceDefinitions")


def _problems(item: _FileObject, error: RequestRefusedError) -> Iterator[Problem]:
    """The refusal, at the place of the object, or of its fields."""
    document, path = item.place.document, item.place.path
    if unknown := re.findall(r'unknown field "([^"]+)"', error.message):
        for field in unknown:
            message = f'unknown field "{field.rpartition(".")[2]}"'
            yield document.problem((*path, *_steps(field)), message, key=True)
        return
    for field, message in error.causes or (("", error.message),):
        yield document.problem((*path, *_steps(field)), message)


def _steps(field: str) -> Path:
    """`spec.ports[0].port` as a path."""
    found = re.findall(r"\[(\d+)\]|\[([^\]]*)\]|([^.\[\]]+)", field)
    return tuple(int(index) if index else key or name for index, key, name in found)


# -- delete ----------------------------------------------------------------------------------------


def delete(
    client: APIClient, targets: Sequence[tuple[Resource, str]], namespace: str, grace: int | None
) -> Results:
    """Delete the objects. UsageError before the first one if one of them is not there."""
    spaces = [namespace if resource.namespaced else "" for resource, _ in targets]
    for (resource, name), where in zip(targets, spaces, strict=True):
        get_named(client, resource, where, name)
    for (resource, name), where in zip(targets, spaces, strict=True):
        client.delete(resource, where, name, grace)
        yield ObjectResult(resource, where, name, "deleted")


def delete_files(
    client: APIClient, files: Sequence[File], namespace: str, grace: int | None
) -> Results:
    """Delete the objects of the files, those alone that are there."""
    for place, resource in objects_of_files(client, files):
        found = _FileObject(place, resource, _written(place), namespace).names
        if client.find(*found) is not None:
            client.delete(*found, grace)
            yield ObjectResult(*found, "deleted")
