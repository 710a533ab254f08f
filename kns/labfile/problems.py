"""pydantic's findings as `Problem`s: file, line, column, path, Kubernetes' words and a hint.

    Document ─model.model_validate─▶ model          or every error of the document at once

Messages follow k8s.io/apimachinery's field errors (`Required value`, `Invalid value: "x": …`,
`Unsupported value: "x": supported values: …`, `Duplicate value: "x"`), as kubectl users know them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from kns.errors import Problem
from kns.labfile.document import Document, Path

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse_model(
    document: Document, model: type[ModelT], path: Path = ()
) -> tuple[ModelT | None, tuple[Problem, ...]]:
    """The part of `document` at `path` as `model`, or None and every error in it."""
    part = document.data
    for step in path:
        part = part[step]  # type: ignore[index]
    try:
        return model.model_validate(part), ()
    except ValidationError as error:
        return None, problems_of(document, error, model, path)


def problems_of(
    document: Document, error: ValidationError, model: type[BaseModel], path: Path = ()
) -> tuple[Problem, ...]:
    """Every error of a validation of the part of `document` at `path`, in file order."""
    found = {
        _problem(document, detail, model, path)
        for detail in error.errors(include_url=False)
        # pydantic counts the sound items only, and the others have errors of their own
        if not (detail["type"] == "too_short" and detail["input"])
    }
    return tuple(sorted(found))


def invalid(value: object, message: str, hint: str = "") -> PydanticCustomError:
    """The error that a validator raises: Kubernetes' `Invalid value: "x": message`."""
    text = f"Invalid value: {shown(value)}: {message}"
    return PydanticCustomError("kns", "{text}", {"text": text, "hint": hint})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to `word`, or nothing."""
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""


def shown(value: object) -> str:
    """A value as Kubernetes shows it in an error, cut at 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def quoted_list(words: Iterable[str]) -> str:
    """`"a", "b", "c"`."""
    return ", ".join(f'"{word}"' for word in words)


#: `[key]` is pydantic's; the others tell the forms of a field apart (kns.labfile.model_ingress)
_TAGS = frozenset({"[key]", "[long]", "[short]"})

# -- one error -------------------------------------------------------------------------------------

_WANTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "float_type": "a number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _problem(
    document: Document, detail: ErrorDetails, model: type[BaseModel], base: Path
) -> Problem:
    path = base + _written(document, base, location_of(detail))
    unknown = detail["type"] == "extra_forbidden"
    return document.problem(path, *message_of(detail, model), key=unknown)


def location_of(detail: ErrorDetails) -> Path:
    """Where an error of a validation is, without pydantic's own steps and the tags of unions."""
    end = len(detail["loc"]) - (detail["type"] == "extra_forbidden")
    return tuple(
        step for index, step in enumerate(detail["loc"]) if index >= end or step not in _TAGS
    )


def message_of(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """What one error of a validation of `model` says, and the hint."""
    location = location_of(detail)
    if detail["type"] == "extra_forbidden":
        known = known_fields(model, location[:-1])
        hint = did_you_mean(str(location[-1]), known) or _fields_hint(known)
        return f'unknown field "{location[-1]}"', hint
    if detail["type"] == "missing":
        return "Required value", f"add `{location[-1]}: …` here"
    return _message(detail["type"], detail["input"], detail.get("ctx", {}), detail["msg"])


def _message(
    kind: str, value: object, context: Mapping[str, object], message: str
) -> tuple[str, str]:
    if kind in _WANTED:
        return _wrong_type(_WANTED[kind], value)
    if kind in {"literal_error", "enum"}:
        return _unsupported(value, str(context["expected"]))
    if kind in {"too_short", "string_too_short"}:
        return ("Required value" if value == "" else "Required value: at least one item"), ""
    if kind == "kns":
        return str(context["text"]), str(context.get("hint", ""))
    return f"Invalid value: {shown(value)}: {_lower(message)}", ""


def _written(document: Document, base: Path, location: Sequence[str | int]) -> Path:
    """The part of pydantic's location that is a path: it names union members, too."""
    part = document.data
    for step in base:
        part = part[step]  # type: ignore[index]
    path: list[str | int] = []
    for index, step in enumerate(location):
        inside = (isinstance(part, dict) and step in part) or (
            isinstance(part, list) and isinstance(step, int) and step < len(part)
        )
        if inside:
            part = part[step]  # type: ignore[index]
            path.append(step)
        elif index == len(location) - 1 and isinstance(part, dict):
            path.append(step)
    return tuple(path)


def _wrong_type(wanted: str, value: object) -> tuple[str, str]:
    hint = ""
    if wanted == "a string" and isinstance(value, bool | int | float):
        hint = f'put it in quotes: "{json.dumps(value)}"'
    elif wanted == "an integer" and isinstance(value, str) and value.isdecimal():
        hint = f"write it without quotes: {value}"
    elif wanted == "true or false" and isinstance(value, str):
        hint = "write true or false, without quotes"
    elif wanted == "a list" and isinstance(value, dict):
        hint = "begin each item with `- `"
    return f"must be {wanted}, not {_kind(value)}", hint


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    names = {bool: "the boolean", int: "the number", float: "the number", str: "the string"}
    return f"{names.get(type(value), 'the value')} {shown(value)}"


def _unsupported(value: object, expected: str) -> tuple[str, str]:
    """pydantic writes the choices as `'a', 'b' or 'c'`."""
    words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    words = [word for word in words if word]
    return f"Unsupported value: {shown(value)}: supported values: {quoted_list(words)}", hint


def _fields_hint(known: Sequence[str]) -> str:
    return f"known fields: {', '.join(known)}" if known else ""


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


# -- the fields of a model at a location -----------------------------------------------------------


def known_fields(model: type[BaseModel], location: Sequence[str | int]) -> tuple[str, ...]:
    """The names that the mapping at `location` of `model` takes, as a user writes them."""
    candidates: list[object] = [model]
    for step in location:
        candidates = [inner for item in candidates for inner in _step(item, step)] or candidates
    names: list[str] = []
    for item in candidates:
        if isinstance(item, type) and issubclass(item, BaseModel):
            names += [field.alias or name for name, field in item.model_fields.items()]
    return tuple(dict.fromkeys(names))


def _step(annotation: object, step: str | int) -> list[object]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if (field.alias or name) == step:
                return _unwrapped(field.annotation)
        return []
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {tuple, list} and isinstance(step, int):
        return _unwrapped(arguments[0])
    if origin is not None and isinstance(step, str) and len(arguments) == 2:
        return _unwrapped(arguments[1])
    return []


def _unwrapped(annotation: Any) -> list[object]:
    """The alternatives of an annotation, without None and Annotated's extras."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return [
            inner
            for argument in get_args(annotation)
            if argument is not NoneType
            for inner in _unwrapped(argument)
        ]
    return [annotation]
