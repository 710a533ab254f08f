"""ConfigMap and Secret, as far as containers have variables of their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kns.errors import Problem
from kns.kinds import names
from kns.kinds.env import EnvVar, KeySource, SourceKind, literal
from kns.kinds.fields import METADATA_PATHS, NAMED
from kns.kinds.pod import Container
from kns.kinds.secret import decoded
from kns.kinds.workload import Workload, written_containers
from kns.labfile.document import Path
from kns.labfile.place import Located
from kns.labfile.reader import MapOf
from kns.labfile.shape import Field, Form, Shape
from kns.labfile.wording import shown


@dataclass(frozen=True, slots=True)
class Config:
    """A ConfigMap or Secret with its keys."""

    kind: SourceKind
    namespace: str
    name: str
    entries: Mapping[str, str]


def _config_map(
    name: str, namespace: str = "default", data: Mapping[str, str] | None = None, **_rest: object
) -> Config:
    return Config(SourceKind.CONFIG_MAP, namespace, name, data or {})


def _secret(
    name: str,
    namespace: str = "default",
    data: Mapping[str, str] | None = None,
    string_data: Mapping[str, str] | None = None,
    **_rest: object,
) -> Config:
    """`stringData` wins, as in Kubernetes."""
    encoded = {key: decoded(value) for key, value in (data or {}).items()}
    plain = {key: value for key, value in encoded.items() if value is not None}
    return Config(SourceKind.SECRET, namespace, name, {**plain, **(string_data or {})})


_DATA = Field("data", MapOf())
CONFIG_MAP_FORM = Form(Shape(_config_map, *NAMED, _DATA, of=Config), METADATA_PATHS)
SECRET_FORM = Form(
    Shape(_secret, *NAMED, _DATA, Field("stringData", MapOf()), of=Config), METADATA_PATHS
)


# -- variables -------------------------------------------------------------------------------------


def with_values(
    part: Located[Workload], configs: Sequence[Config]
) -> tuple[Located[Workload], tuple[Problem, ...]]:
    """The workload with the values of those keys, and a warning for each that is not there.

    Kubernetes starts no container that misses one (CreateContainerConfigError) unless it is
    optional; here the variable is left out.
    """
    template = part.value.template
    if not any(container.env_from or _refers(container) for container in template.containers):
        return part, ()
    known = {
        (config.kind, config.name): config.entries
        for config in configs
        if config.namespace == template.namespace
    }
    warnings: list[Problem] = []
    containers: list[Container] = []
    for container, path in written_containers(part):
        env: list[EnvVar] = []
        for step, made, message in _variables(container, known):
            env += made
            if message:
                warnings.append(_missing(part, (*path, *step), message))
        containers.append(replace(container, env=tuple(env), env_from=()))
    template = replace(template, containers=tuple(containers))
    return replace(part, value=replace(part.value, template=template)), tuple(warnings)


def _refers(container: Container) -> bool:
    return any(variable.source is not None for variable in container.env)


def _missing(part: Located[Workload], path: Path, message: str) -> Problem:
    hint = "add the object to the file, or write `optional: true`"
    if "has no resources" in message:
        hint = ""
    return part.place.problem(path, f"left out: {message}", hint, warning=True)


_Known = Mapping[tuple[SourceKind, str], Mapping[str, str]]


def _variables(container: Container, known: _Known) -> Iterator[tuple[Path, list[EnvVar], str]]:
    """What each entry of `envFrom` and `env` makes, with the entry's path, and what is missing."""
    for index, source in enumerate(container.env_from):
        made, message = _from_all(source, known)
        yield ("envFrom", index), made, message
    for index, variable in enumerate(container.env):
        value, message = _value(variable, known)
        yield ("env", index, "valueFrom"), [] if value is None else [value], message


def _from_all(source: KeySource, known: _Known) -> tuple[list[EnvVar], str]:
    """The variables of all keys; those that no variable can have are passed over."""
    entries = known.get((source.kind, source.name))
    if entries is None:
        return [], "" if source.optional else _no_such(source)
    named = {f"{source.prefix}{key}": value for key, value in entries.items()}
    return [
        EnvVar(name, literal(value))
        for name, value in named.items()
        if not names.env_name_objection(name) and not names.text_objection(value)
    ], ""


def _value(variable: EnvVar, known: _Known) -> tuple[EnvVar | None, str]:
    """The variable with its value; None where there is none, and why if that is to be told."""
    source = variable.source
    if source is None:
        return variable, ""
    if source.kind is SourceKind.RESOURCE:
        return None, "kns has no resources"
    entries = known.get((source.kind, source.name))
    value = None if entries is None else entries.get(source.key)
    if value is not None and not names.text_objection(value):
        return replace(variable, value=literal(value), source=None), ""
    if source.optional:
        return None, ""
    if entries is None:
        return None, _no_such(source)
    return None, f"the {source.kind} {shown(source.name)} has no key {shown(source.key)}"


def _no_such(source: KeySource) -> str:
    return f"there is no {source.kind} {shown(source.name)}"
