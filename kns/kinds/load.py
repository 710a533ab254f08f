"""From a lab file to a checked `Lab`, or to every error of the file at once.

bytes ─document─▶ Documents ─kinds─▶ Lab document + manifests ─checks─▶ LoadedLab
                      └── problems ─────┴── problems ────────────┴──▶ SpecError
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kns.errors import MOST_PROBLEMS, Problem, SpecError
from kns.kinds.checks.lab import validate, warnings_of
from kns.kinds.cluster_dns import pass_over_dns
from kns.kinds.config import with_values
from kns.kinds.controllermanager import ControllerManagerOptions
from kns.kinds.faults import Faults
from kns.kinds.implied import (
    IMPLIED,
    has_manifests,
    implied_lab,
    implied_note,
    is_lab,
    is_manifests,
    joined,
)
from kns.kinds.ingress import CLASS_ANNOTATION, Ingress, implied_class
from kns.kinds.lab import API_VERSION, Lab, WrittenLab, read_lab_document
from kns.kinds.manifests import read_manifests
from kns.kinds.namespace import Namespace
from kns.kinds.networking import Networking
from kns.kinds.networkpolicy import located
from kns.kinds.networks import balancer_in
from kns.kinds.sources import Manifests, Sources
from kns.kinds.workload import Workload
from kns.labfile.document import Document
from kns.labfile.objects import as_yaml, objects_in, parse_object_stream
from kns.labfile.parse import MAX_BYTES, decoded, parse_documents
from kns.labfile.place import Located

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedLab:
    """A lab without errors. `warnings` tell what is legal and probably not meant."""

    spec: Lab
    warnings: tuple[Problem, ...] = ()
    #: its files as one that loads as the same lab
    text: str = ""
    #: what was added, because no file says it
    notes: tuple[str, ...] = ()


def load_lab(path: Path, *more: Path) -> LoadedLab:
    """The lab in the files. Raises SpecError with every problem; that one can't be read is one."""
    return load_files([(str(file), read_lab(file)) for file in (path, *more)])


def read_lab(path: Path) -> bytes:
    """The file's content. Raises SpecError if it can't be read."""
    try:
        with path.open("rb") as file:
            # /dev/zero and its like never end: what is too large is refused by what was read of it
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise SpecError((Problem(str(path), 0, 0, "", f"can't be read: {reason}"),)) from error


def load_lab_text(text: str | bytes, file: str = "lab.yaml") -> LoadedLab:
    """The lab in a text; `file` is what messages call it."""
    return load_files([(file, text)])


def load_files(files: Sequence[tuple[str, str | bytes]]) -> LoadedLab:
    """The lab in several files, one of which has the Lab document; each with its name.

    Where all are plain manifests, a Lab document of two nodes is added, and noted.
    """
    streams = [parse_object_stream(content, file) for file, content in files]
    problems = [problem for stream in streams for problem in stream.problems]
    documents = tuple(document for stream in streams for document in stream.documents)
    texts = [as_yaml(decoded(content, file)[0]) for file, content in files]
    notes: tuple[str, ...] = ()
    if not problems and is_manifests(documents):
        implied = implied_lab(files[0][0], documents)
        documents = (*parse_documents(implied, IMPLIED), *documents)
        texts.insert(0, implied)
        notes = (implied_note(files[0][0], documents[0]),)
    document, others, found = _lab_document(documents, files[0][0], sound=not problems)
    problems += found
    if document is None:
        raise SpecError(_sorted(problems))
    written = read_lab_document(document)
    manifests = read_manifests(others)
    pass_over_dns(manifests, written.options.get("networking", Networking()).dns)
    sources = sources_of(written, manifests)
    problems += (*written.problems, *manifests.problems)
    if len(problems) >= MOST_PROBLEMS:
        message = "very many problems: what comes after these was not read"
        problems.append(Problem(files[0][0], 0, 0, "", message))
        raise SpecError(_sorted(problems))
    # what other objects make of one can't be told where some of them are not known
    complete = not problems
    problems += validate(sources)
    found_warnings = [*manifests.warnings, *(warnings_of(sources) if complete else ())]
    if problems:
        raise SpecError(_sorted(problems), _sorted(found_warnings))
    return LoadedLab(sources.lab, _sorted(found_warnings), joined(texts), notes)


def _sorted(problems: list[Problem]) -> tuple[Problem, ...]:
    """In file order, each said once."""
    return tuple(sorted(set(problems)))


def is_lab_text(text: str | bytes, file: str) -> bool:
    """True if one of the text's documents is a Lab, or was meant as one."""
    return any(map(is_lab, parse_object_stream(text, file).documents))


# -- which document is the lab ---------------------------------------------------------------------

_EXAMPLE = f"begin with `apiVersion: {API_VERSION}`, `kind: Lab`, `metadata: {{name: my-lab}}`"


def _lab_document(
    documents: tuple[Document, ...], file: str, *, sound: bool
) -> tuple[Document | None, tuple[Document, ...], list[Problem]]:
    """The Lab document, the manifests beside it, and what is wrong with the stream."""
    problems = [
        document.problem((), "must be a mapping, as every Kubernetes object is", _EXAMPLE)
        for document in documents
        if not isinstance(document.data, dict)
    ]
    mappings = [document for document in documents if isinstance(document.data, dict)]
    labs = [document for document in mappings if is_lab(document)]
    if not mappings:
        if sound and not problems:
            problems.append(Problem(file, 0, 0, "", "the file holds no document", _EXAMPLE))
        return None, (), problems
    if not labs and has_manifests(mappings):
        # a Lab would be added to manifests; what keeps these from being some is told
        wrong = (problem for document in mappings for problem in objects_in(document)[1])
        return None, (), [*problems, *wrong]
    if not labs:
        message = "the file has no document of kind Lab"
        hint = _EXAMPLE
        data = mappings[0].data
        if isinstance(data, dict) and data.get("kind") == "Kustomization":
            hint = "give kns what `kubectl kustomize` prints: kubectl kustomize . | kns up -"
        return None, (), [*problems, mappings[0].problem(("kind",), message, hint)]
    for second in labs[1:]:
        message = "a file holds one Lab, and this is the second"
        hint = "put it into a file of its own"
        if second.file != labs[0].file:
            message = "several files are one lab, and this is its second Lab document"
            hint = f"the first is {labs[0].file}:{labs[0].mark()[0]}"
        problems.append(second.problem(("kind",), message, hint))
    others = tuple(document for document in mappings if document not in labs)
    return labs[0], others, problems


# -- the whole -------------------------------------------------------------------------------------


def sources_of(written: WrittenLab, manifests: Manifests) -> Sources:
    """The objects of the Lab document and of the manifests, with and without their places."""
    lists = written.lists
    nodes = tuple(lists.get("nodes", ()))
    workloads = tuple(_with_values((*lists.get("pods", ()), *manifests.workloads), manifests))
    services = (*lists.get("services", ()), *manifests.services)
    slices = (*lists.get("endpointSlices", ()), *manifests.slices)
    classes = (*lists.get("ingressClasses", ()), *manifests.ingress_classes)
    own = implied_class(written.options.get("ingressController"), _values(classes))
    short = (_with_class(part, own) for part in lists.get("ingresses", ()))
    ingresses = (*short, *manifests.ingresses)
    secrets = (*lists.get("secrets", ()), *manifests.secrets)
    internet = tuple(lists["internet"]) if "internet" in lists else None
    policies = (*lists.get("networkPolicies", ()), *manifests.network_policies)
    namespaces = tuple(lists.get("namespaces", ()))
    options = written.options
    networking = options.get("networking", Networking())
    lab = Lab(
        name=options.get("metadata", "lab"),
        nodes=_values(nodes),
        networking=networking,
        load_balancer=balancer_in(options.get("loadBalancer"), networking),
        api_server=options.get("apiServer"),
        namespaces=_merged(_values((*namespaces, *manifests.namespaces))),
        workloads=_values(workloads),
        services=_values(services),
        endpoint_slices=_values(slices),
        endpoints=_values(manifests.endpoints),
        internet=None if internet is None else _values(internet),
        ingress_controller=options.get("ingressController"),
        ingresses=_values(ingresses),
        ingress_classes=_values(classes),
        secrets=_values(secrets),
        network_policies=tuple(located(part.value, part.place) for part in policies),
        service_accounts=_values(manifests.service_accounts),
        faults=options.get("faults", Faults()),
        controller_manager=options.get("controllerManager", ControllerManagerOptions()),
    )
    return Sources(
        lab=lab,
        place=written.place,
        nodes=nodes,
        workloads=workloads,
        services=services,
        slices=slices,
        endpoints=tuple(manifests.endpoints),
        internet=internet or (),
        namespaces=namespaces,
        ingresses=ingresses,
        ingress_classes=classes,
        secrets=secrets,
        network_policies=policies,
        node_names=written.node_names,
        networks_known=written.networks_known,
    )


def _merged(namespaces: Iterable[Namespace]) -> tuple[Namespace, ...]:
    """Each once: a manifest may give labels to a namespace that the Lab document names."""
    found: dict[str, Namespace] = {}
    for item in namespaces:
        before = found.get(item.name, item)
        found[item.name] = Namespace(item.name, {**before.labels, **item.labels})
    return tuple(found.values())


def _with_values(
    workloads: Iterable[Located[Workload]], manifests: Manifests
) -> Iterator[Located[Workload]]:
    """The workloads with the variables that the file's ConfigMaps and Secrets have."""
    configs = _values(manifests.configs)
    for part in workloads:
        made, warnings = with_values(part, configs)
        manifests.warnings += warnings
        yield made


def _with_class(part: Located[Ingress], own: str) -> Located[Ingress]:
    """An Ingress of the Lab document that names no class is meant for the lab's controller."""
    if part.value.ingress_class or CLASS_ANNOTATION in part.value.annotations:
        return part
    return replace(part, value=replace(part.value, ingress_class=own))


def _values(parts: Iterable[Located[T]]) -> tuple[T, ...]:
    return tuple(part.value for part in parts)
