"""Kubernetes objects in documents: Lists taken apart, JSON one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from kns.errors import Problem
from kns.labfile.document import Document, Path, Stream
from kns.labfile.parse import MAX_BYTES, parse_stream


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """An object of any kind: where it stands, its plain data, and what it says it is."""

    document: Document
    path: Path
    #: empty where none is written
    api_version: str
    kind: str
    data: dict[str, object]


def objects_in(document: Document) -> tuple[tuple[ObjectPlace, ...], tuple[Problem, ...]]:
    """The objects of a document, Lists taken apart, and what is no object."""
    places: list[ObjectPlace] = []
    problems: list[Problem] = []
    for place, problem in _objects_at(document, (), document.data, "", ""):
        if problem is not None:
            problems.append(problem)
        elif place is not None:
            places.append(place)
    return tuple(places), tuple(problems)


def _objects_at(
    document: Document, path: Path, data: object, list_version: str, item_kind: str
) -> Iterator[tuple[ObjectPlace | None, Problem | None]]:
    """What a list's items leave out, the list says: it is a ServiceList of v1."""
    if not isinstance(data, dict):
        hint = "a file of Kubernetes objects is what `kubectl get … -o yaml` prints"
        yield None, document.problem(path, "must be a Kubernetes object, a mapping", hint)
        return
    kind, version = data.get("kind") or item_kind, data.get("apiVersion") or list_version
    if not isinstance(kind, str) or not kind:
        hint = "every object says what it is, for example `kind: Service`"
        yield None, document.problem((*path, "kind"), "Required value", hint)
    elif not isinstance(version, str):
        hint = "write it as v1 or apps/v1"
        yield None, document.problem((*path, "apiVersion"), "must be a string", hint)
    elif not kind.endswith("List") or ("items" not in data and "." in version):
        yield ObjectPlace(document, path, version, kind, data), None
    else:
        items = data.get("items")
        if not isinstance(items, list | None):
            yield None, document.problem((*path, "items"), "must be a list")
            return
        item_kind = kind[: -len("List")]
        inherited = version if item_kind else ""
        for index, item in enumerate(items or ()):
            yield from _objects_at(document, (*path, "items", index), item, inherited, item_kind)


def parse_object_stream(content: str | bytes, file: str) -> Stream:
    """The documents of `content`: a YAML stream, or JSON objects one after another.

    `kubectl get -o json` twice in a pipe gives the latter, which as YAML would be one bad document.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
    except UnicodeDecodeError:
        return parse_stream(content, file)
    text = text.removeprefix("\ufeff")
    if not _is_json(text) or len(content) > MAX_BYTES:
        return parse_stream(content, file)
    documents: list[Document] = []
    problems: list[Problem] = []
    for part in _json_parts(text):
        stream = parse_stream(part, file)
        documents += stream.documents
        problems += stream.problems
    return Stream(tuple(documents), tuple(problems))


def as_yaml(text: str) -> str:
    """The text as one YAML stream: JSON objects one after another are documents of it."""
    if not _is_json(text):
        return text
    return "\n---\n".join(part.lstrip("\n") for part in _json_parts(text))


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _json_parts(text: str) -> Iterator[str]:
    """Each JSON value of `text` on its own line number; what is none comes as it is, at the end."""
    decoder = json.JSONDecoder()
    start, line = 0, 0
    while rest := text[start:].lstrip():
        begin = len(text) - len(rest)
        line += text.count("\n", start, begin)
        try:
            _, end = decoder.raw_decode(text, begin)
            # between values alone: a string of JSON has no tab, and YAML takes none there
            part = text[begin:end].replace("\t", " ")
        except (ValueError, RecursionError):
            end = len(text)
            part = text[begin:end]
        yield "\n" * line + part
        line += text.count("\n", begin, end)
        start = end
