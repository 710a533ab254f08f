"""`kns get` of kinds that are not in the cluster's model: objects as the agent holds them."""

from __future__ import annotations

from collections.abc import Sequence

from kns.kinds.column_words import labels_text
from kns.kinds.columns import columns_of, row
from kns.kinds.common import Object
from kns.kinds.objects import key_of, labels_of, list_of
from kns.kinds.resources import EVENT, Resource, resource_of
from kns.report.events import oldest_first
from kns.report.get import Columns, Selection
from kns.report.table import Table


def resource_table(
    resource: Resource,
    objects: Sequence[Object],
    selection: Selection,
    columns: Columns,
    now: float,
) -> Table:
    """The selected objects of a resource in kubectl's columns."""
    known = columns_of(resource)
    every = resource.namespaced and not selection.namespace
    shown = [columns.wide or not column.wide for column in known.columns]
    heads = [column.head.upper() for column in known.columns]
    rows = []
    for item in _selected(resource, objects, selection):
        cells = [str(cell) for cell in row(item, known, now)]
        rows.append(
            (
                *((key_of(item).namespace,) if every else ()),
                *(cell for cell, is_shown in zip(cells, shown, strict=True) if is_shown),
                *((labels_text(labels_of(item)),) if columns.labels else ()),
            )
        )
    return Table(
        (
            *(("NAMESPACE",) if every else ()),
            *(head for head, is_shown in zip(heads, shown, strict=True) if is_shown),
            *(("LABELS",) if columns.labels else ()),
        ),
        tuple(rows),
    )


def resource_objects(resource: Resource, objects: Sequence[Object], selection: Selection) -> Object:
    """A Kubernetes List of the selected objects; of one name, the object itself."""
    items = list(_selected(resource, objects, selection))
    return items[0] if len(selection.names) == len(items) == 1 else list_of(items)


def _selected(resource: Resource, objects: Sequence[Object], selection: Selection) -> list[Object]:
    found = [item for item in objects if resource_of(item) == resource]
    admitted = [item for item in found if selection.admits(*key_of(item))]
    return oldest_first(admitted) if resource == EVENT else sorted(admitted, key=key_of)
