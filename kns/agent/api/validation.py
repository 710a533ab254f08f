"""What is wrong with an object by the rules of its kind, told as the API server does.

The rules are those of the lab file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from kns.agent.api.status import FieldCause, forbidden
from kns.errors import Problem, SpecError
from kns.kinds import node
from kns.kinds.checks.objects import bare_lab, object_problems
from kns.kinds.common import Object
from kns.kinds.lab import OBJECT_LISTS
from kns.kinds.load import load_files
from kns.kinds.names import subdomain_objection
from kns.kinds.objects import mapping, mappings, name_of, text, with_part
from kns.kinds.resources import LAB, NAMESPACE, NODE, SERVICE, Resource
from kns.labfile.parse import parse_stream
from kns.labfile.reader import DocumentKind, Reading
from kns.labfile.wording import RefusedError

_OBJECT = "object"
#: namespaces that stay
_IMMORTAL = frozenset({"default", "kube-public", "kube-system"})
_REASONS = {
    "Required value": "FieldValueRequired",
    "Duplicate value": "FieldValueDuplicate",
    "Unsupported value": "FieldValueNotSupported",
    "Forbidden": "FieldValueForbidden",
    "Too long": "FieldValueTooLong",
}


def causes(
    resource: Resource, obj: Object, lab: Object, nodes: Sequence[str]
) -> Iterator[FieldCause]:
    """Everything that is wrong with an object of a lab with that Lab document and those nodes."""
    if not name_of(obj):
        yield FieldCause(
            "metadata.name",
            "Required value: name or generateName is required",
            _REASONS["Required value"],
        )
        return
    if resource is NODE:
        reading = Reading(DocumentKind.MANIFEST)
        try:
            node.FORM.read(obj, reading)
        except RefusedError as refused:
            reading.note(refused)
        for fault in reading.faults:
            yield _cause(".".join(map(str, fault.path)), fault.message)
    elif resource is LAB:
        yield from _lab_causes(obj, lab)
        try:
            load_files([(_OBJECT, json.dumps(bare_lab(obj, nodes)))])
        except SpecError as error:
            yield from map(_cause_of, error.problems)
    elif resource.effective:
        written = with_part(with_part(obj, None, "status"), None, "metadata", "ownerReferences")
        stream = parse_stream(json.dumps(written), _OBJECT)
        found = (*stream.problems, *object_problems(stream.documents, lab, nodes))
        yield from map(_cause_of, found)
    elif objection := subdomain_objection(name_of(obj)):
        yield _cause("metadata.name", f'Invalid value: "{name_of(obj)}": {objection}')


def _lab_causes(obj: Object, lab: Object) -> Iterator[FieldCause]:
    """A lab is one Lab object; what its file lists of other kinds are objects of their own."""
    if lab and name_of(lab) != name_of(obj):
        why = f"the lab's name is {name_of(lab)}, and there is one in each"
        yield _cause("metadata.name", f'Invalid value: "{name_of(obj)}": {why}')
    for field in sorted(OBJECT_LISTS & obj.keys()):
        yield _cause(field, "Forbidden: they are objects of their own kinds; kns up takes the file")


def forbid_deletion(resource: Resource, name: str) -> None:
    """StatusError 403 for what a cluster can't be without.

    Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle.
    """
    if resource is NAMESPACE and name in _IMMORTAL:
        raise forbidden(resource, name, "this namespace may not be deleted")
    if resource is LAB:
        raise forbidden(resource, name, "kns down removes the lab")


def _cause_of(problem: Problem) -> FieldCause:
    return _cause(problem.path, problem.message)


def _cause(path: str, message: str) -> FieldCause:
    reason = next((code for said, code in _REASONS.items() if message.startswith(said)), None)
    return FieldCause(path, message, reason or "FieldValueInvalid")


#: what stays as it was made, by kind
_IMMUTABLE = {
    "Deployment": ("spec.selector",),
    "ReplicaSet": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
    "EndpointSlice": ("addressType",),
    "Secret": ("type",),
    "IngressClass": ("spec.controller",),
}


def changed_for_good(resource: Resource, old: Object, new: Object) -> Iterator[FieldCause]:
    """Fields that may not change any more, and did."""
    for path in _IMMUTABLE.get(resource.kind, ()):
        steps = path.split(".")
        before, after = mapping({"_": old}, "_"), mapping({"_": new}, "_")
        for step in steps[:-1]:
            before, after = mapping(before, step), mapping(after, step)
        if before.get(steps[-1]) != after.get(steps[-1]):
            shown = json.dumps(after.get(steps[-1]))
            yield FieldCause(path, f"Invalid value: {shown}: field is immutable")
    if resource.kind == "Pod":
        yield from _changed_pod(old, new)
    if resource is SERVICE:
        before_ip, after_ip = text(old, "spec", "clusterIP"), text(new, "spec", "clusterIP")
        stays = (
            text(new, "spec", "type") != "ExternalName"
            and text(old, "spec", "type") != "ExternalName"
        )
        if stays and before_ip and after_ip != before_ip:
            yield FieldCause(
                "spec.clusterIPs[0]", f'Invalid value: ["{after_ip}"]: may not change once set'
            )


#: what of a pod's spec may change
_POD_MUTABLE = frozenset({
    "activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates",
    "ephemeralContainers", "nodeName",
})  # fmt: skip
_CONTAINER_MUTABLE = frozenset({"image", "imagePullPolicy"})


def _changed_pod(old: Object, new: Object) -> Iterator[FieldCause]:
    moved = text(old, "spec", "nodeName") not in {"", text(new, "spec", "nodeName")}
    if moved or _fixed(old) != _fixed(new):
        message = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
            "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
            "be set to 1 if it was previously negative)"
        )
        yield FieldCause("spec", message, "FieldValueForbidden")


def _fixed(obj: Object) -> Object:
    """What of a pod's spec stays as it is."""
    spec = mapping(obj, "spec")
    spec = {key: value for key, value in spec.items() if key not in _POD_MUTABLE}
    for field in ("containers", "initContainers"):
        spec[field] = [
            {key: value for key, value in item.items() if key not in _CONTAINER_MUTABLE}
            for item in mappings(spec, field)
        ]
    return spec
