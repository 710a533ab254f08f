"""What all objects have in common, as controllers ask for it: metadata, owners, conditions."""

from __future__ import annotations

import time

from kns.kinds import objects
from kns.kinds.common import Labels, Object
from kns.kinds.objects import items, mapping, mappings, part, strings, text, with_part
from kns.kinds.selector import LabelSelector, LabelSelectorRequirement, SelectorOperator
from kns.labfile.reader import JSON

_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_NOTHING: Object = {}


# -- metadata --------------------------------------------------------------------------------------


def kind(item: Object) -> str:
    """`kind`."""
    return text(item, "kind")


def namespace(item: Object) -> str:
    """`metadata.namespace`, empty for what is in none."""
    return text(item, "metadata", "namespace")


def uid(item: Object) -> str:
    """`metadata.uid`."""
    return text(item, "metadata", "uid")


def annotation(item: Object, key: str) -> str:
    """An annotation, empty if it has none of that name."""
    return text(item, "metadata", "annotations", key)


def annotated_number(item: Object, key: str) -> int:
    """The number that an annotation holds; 0 if it holds none."""
    written = annotation(item, key)
    return int(written) if written.isascii() and written.isdecimal() else 0


def created(item: Object) -> float:
    """When it was made, in seconds since the epoch."""
    return objects.seconds(text(item, "metadata", "creationTimestamp"))


def is_deleted(item: Object) -> bool:
    """Whether somebody has deleted it, and it is on its way out."""
    return bool(part(item, "metadata", "deletionTimestamp"))


def finalizers(item: Object) -> tuple[str, ...]:
    """Who has work to do before it may vanish."""
    return tuple(str(each) for each in items(item, "metadata", "finalizers"))


# -- owners ----------------------------------------------------------------------------------------


def controller_of(item: Object) -> Object | None:
    """The one owner reference that manages the object."""
    for reference in mappings(item, "metadata", "ownerReferences"):
        if reference.get("controller") is True:
            return reference
    return None


def controller_uid(item: Object) -> str:
    """The uid of the object that manages this one, empty if none does."""
    return text(controller_of(item) or _NOTHING, "uid")


def owner_reference(owner: Object) -> Object:
    """What an object's `ownerReferences` hold of the controller that made it."""
    return objects.owner_reference(owner, uid(owner))


# -- selectors -------------------------------------------------------------------------------------


def selector(item: Object) -> LabelSelector | None:
    """`spec.selector`, in the form that its kind has; None selects nothing."""
    written = mapping(item, "spec", "selector")
    if not written:
        return None
    if kind(item) == "ReplicationController":
        return LabelSelector(strings(item, "spec", "selector"))
    return LabelSelector(
        strings(written, "matchLabels"),
        tuple(map(_requirement, mappings(written, "matchExpressions"))),
    )


def _requirement(written: Object) -> LabelSelectorRequirement:
    return LabelSelectorRequirement(
        text(written, "key"),
        SelectorOperator(text(written, "operator")),
        tuple(str(each) for each in items(written, "values")),
    )


def template_labels(owner: Object) -> Labels:
    """The labels that a workload gives its pods."""
    return strings(owner, "spec", "template", "metadata", "labels")


# -- conditions ------------------------------------------------------------------------------------


def condition(item: Object, type_: str) -> Object | None:
    """The condition of that type in `status.conditions`."""
    for each in mappings(item, "status", "conditions"):
        if each.get("type") == type_:
            return each
    return None


def is_true(item: Object, type_: str) -> bool:
    """Whether it has that condition, and it is True."""
    found = condition(item, type_)
    return found is not None and found.get("status") == "True"


def with_condition(item: Object, new: Object, now: float) -> Object:
    """The object with a condition; the time of its last change counts changes of `status` alone."""
    old = condition(item, text(new, "type"))
    if old is not None and all(old.get(key) == each for key, each in new.items()):
        return item
    same = old is not None and old.get("status") == new.get("status")
    since = text(old, "lastTransitionTime") if same and old is not None else ""
    made: Object = {**new, "lastTransitionTime": since or stamp(now)}
    others: list[JSON] = list(mappings(item, "status", "conditions"))
    place = others.index(old) if old is not None else len(others)
    return with_part(item, [*others[:place], made, *others[place + 1 :]], "status", "conditions")


def without_condition(item: Object, type_: str) -> Object:
    """The object without a condition of that type."""
    if condition(item, type_) is None:
        return item
    found = mappings(item, "status", "conditions")
    return with_part(
        item, [each for each in found if each.get("type") != type_], "status", "conditions"
    )


# -- times -----------------------------------------------------------------------------------------


def stamp(now: float) -> str:
    """A time as an API server writes it."""
    return time.strftime(_STAMP, time.gmtime(now))
