"""LabelSelector: which objects are meant, by their labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from kns.kinds.common import Labels, Object
from kns.kinds.fields import LABEL_VALUE, LABELS, QUALIFIED_NAME
from kns.labfile.reader import JSON, Choice, ListOf
from kns.labfile.shape import Field, Shape


class SelectorOperator(StrEnum):
    """How a requirement's key and values relate."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class LabelSelectorRequirement:
    """An entry of `matchExpressions`. NotIn and DoesNotExist fit objects without the key, too."""

    key: str
    operator: SelectorOperator
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """True if the labels fulfil it."""
        match self.operator:
            case SelectorOperator.IN:
                return labels.get(self.key) in self.values
            case SelectorOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case SelectorOperator.EXISTS:
                return self.key in labels
            case SelectorOperator.DOES_NOT_EXIST:
                return self.key not in labels
            case unknown:
                assert_never(unknown)

    def __str__(self) -> str:
        """As kubectl prints it: `app in (a,b)`, `!app`."""
        match self.operator:
            case SelectorOperator.IN:
                return f"{self.key} in ({','.join(sorted(self.values))})"
            case SelectorOperator.NOT_IN:
                return f"{self.key} notin ({','.join(sorted(self.values))})"
            case SelectorOperator.EXISTS:
                return self.key
            case SelectorOperator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case unknown:
                assert_never(unknown)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Objects with all these labels that fulfil all expressions; an empty one selects all."""

    match_labels: Labels = field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """True if an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            item.matches(labels) for item in self.match_expressions
        )

    def __str__(self) -> str:
        """As kubectl prints it, nothing for an empty one."""
        parts = [(key, f"{key}={value}") for key, value in self.match_labels.items()]
        parts += [(item.key, str(item)) for item in self.match_expressions]
        return ",".join(text for _, text in sorted(parts))


_REQUIREMENT = Shape(
    LabelSelectorRequirement,
    Field("key", QUALIFIED_NAME, required=True),
    Field("operator", Choice(SelectorOperator), required=True),
    Field("values", ListOf(LABEL_VALUE)),
    closed=True,
)
SHAPE = Shape(
    LabelSelector,
    Field("matchLabels", LABELS),
    Field("matchExpressions", ListOf(_REQUIREMENT)),
    closed=True,
)


def write(selector: LabelSelector) -> Object:
    """The selector as the API prints it, which reads as the same one again."""
    result: Object = {}
    if selector.match_labels:
        result["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        result["matchExpressions"] = [_written(item) for item in selector.match_expressions]
    return result


def _written(item: LabelSelectorRequirement) -> JSON:
    values: Object = {"values": list(item.values)} if item.values else {}
    return {"key": item.key, "operator": str(item.operator), **values}
