"""From a lab file to a checked `LabSpec`, or to every error of the file at once.

bytes ─document─▶ Documents ─models─▶ LabSpec + manifests ─validate─▶ LoadedLab
                      └── problems ──────┴── problems ────────┴──▶ SpecError
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from kns.errors import Problem, SpecError
from kns.labfile.document import MAX_BYTES, Document, parse_stream
from kns.labfile.model import API_VERSION, LabSpec
from kns.labfile.places import Located, Manifests, Place, Sources
from kns.labfile.problems import problems_of
from kns.labfile.salvage import Salvaged, all_kept, salvage
from kns.labfile.validate import validate, warnings_of


@dataclass(frozen=True, slots=True)
class LoadedLab:
    """A lab file without errors. `warnings` tell what is legal and probably not meant."""

    spec: LabSpec
    warnings: tuple[Problem, ...] = ()


def load_lab(path: Path) -> LoadedLab:
    """The lab in the file. Raises SpecError with every problem; that it can't be read is one."""
    return load_lab_text(read_lab(path), file=str(path))


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
    stream = parse_stream(text, file)
    problems = list(stream.problems)
    lab, others, found = _lab_document(stream.documents, file, sound=not problems)
    problems += found
    if lab is None:
        raise SpecError(_sorted(problems))
    salvaged, refused = _read_lab(lab)
    problems += refused
    manifests = _manifests(others, salvaged)
    problems += manifests.problems
    sources = _sources(lab, salvaged, manifests) if salvaged else None
    if sources is not None:
        problems += validate(sources)
    if problems or sources is None:
        raise SpecError(_sorted(problems))
    warnings = (*manifests.warnings, *warnings_of(sources))
    return LoadedLab(sources.lab, _sorted(list(warnings)))


def _sorted(problems: list[Problem]) -> tuple[Problem, ...]:
    """In file order, each said once."""
    return tuple(sorted(set(problems)))


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
    labs = [document for document in mappings if _is_lab(document)]
    if not mappings:
        if sound and not problems:
            problems.append(Problem(file, 0, 0, "", "the file holds no document", _EXAMPLE))
        return None, (), problems
    if not labs:
        message = "the file has no document of kind Lab"
        return None, (), [*problems, mappings[0].problem(("kind",), message, _EXAMPLE)]
    for second in labs[1:]:
        message = "a file holds one Lab, and this is the second"
        problems.append(second.problem(("kind",), message, "put it into a file of its own"))
    others = tuple(document for document in mappings if document not in labs)
    return labs[0], others, problems


def _is_lab(document: Document) -> bool:
    """A Lab, or what was meant as one: the fields of a lab under no or another kind."""
    data = document.data
    if not isinstance(data, dict):
        return False
    kind = data.get("kind")
    return kind == "Lab" or "nodes" in data or str(data.get("apiVersion")).startswith("kns/")


# -- reading it ------------------------------------------------------------------------------------


def _read_lab(document: Document) -> tuple[Salvaged | None, tuple[Problem, ...]]:
    try:
        lab = LabSpec.model_validate(document.data)
    except ValidationError as error:
        return salvage(document, error), problems_of(document, error, LabSpec)
    return all_kept(document, lab), ()


def _manifests(documents: tuple[Document, ...], salvaged: Salvaged | None) -> Manifests:
    """The Kubernetes manifests of the file; most have none, and save the import of their models."""
    if not documents:
        return Manifests()
    from kns.labfile.lab_manifests import read_manifests

    nodes = tuple(node.name for node in salvaged.lab.nodes) if salvaged else ()
    return read_manifests(documents, nodes)


def _sources(document: Document, salvaged: Salvaged, manifests: Manifests) -> Sources:
    """The parts of the lab and of the manifests, with their places."""
    lab, kept = salvaged.lab, salvaged.kept

    def place(name: str, index: int) -> Place:
        written = kept.get(name, [])
        return Place(document, (name, written[index] if index < len(written) else index))

    pods = [Located(pod, place("pods", index)) for index, pod in enumerate(lab.pods)]
    services = [Located(item, place("services", i)) for i, item in enumerate(lab.services)]
    slices = [
        Located(item, place("endpointSlices", i)) for i, item in enumerate(lab.endpoint_slices)
    ]
    nodes = [Located(node, place("nodes", index)) for index, node in enumerate(lab.nodes)]
    internet = [
        Located(host, place("internet", index)) for index, host in enumerate(lab.internet or ())
    ]
    ingresses = [Located(item, place("ingresses", i)) for i, item in enumerate(lab.ingresses)]
    classes = [
        Located(item, place("ingressClasses", i)) for i, item in enumerate(lab.ingress_classes)
    ]
    secrets = [Located(item, place("secrets", i)) for i, item in enumerate(lab.secrets)]
    pods += manifests.pods
    services += manifests.services
    slices += manifests.slices
    ingresses += manifests.ingresses
    classes += manifests.ingress_classes
    secrets += manifests.secrets
    added = [name for name in manifests.namespaces if name not in lab.namespaces]
    whole = lab.model_copy(
        update={
            "pods": tuple(part.value for part in pods),
            "services": tuple(part.value for part in services),
            "endpoint_slices": tuple(part.value for part in slices),
            "ingresses": tuple(part.value for part in ingresses),
            "ingress_classes": tuple(part.value for part in classes),
            "secrets": tuple(part.value for part in secrets),
            "namespaces": (*lab.namespaces, *dict.fromkeys(added)),
        }
    )
    sources = Sources(
        whole,
        Place(document),
        tuple(nodes),
        tuple(pods),
        tuple(services),
        tuple(slices),
        tuple(internet),
        salvaged.node_names,
        salvaged.networks_known,
        tuple(ingresses),
        tuple(classes),
        tuple(secrets),
    )
    return sources if salvaged.has_nodes else replace(sources, nodes=())
