"""`kns get`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import click
from click.shell_completion import CompletionItem

from kns.cli.lab_options import lab_option, namespace_option, starting_with
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.engine.labs import RunningLab, lab_documents, lab_objects, running
from kns.engine.presence import presence_of
from kns.errors import KnsError, UsageError
from kns.kinds.common import Object
from kns.kinds.objects import key_of, list_of, mappings, name_of
from kns.kinds.resources import EVENT, LAB, RESOURCES, Resource, by_word, resource_of
from kns.labfile.dump import dump_yaml
from kns.report.get import ALIASES, Columns, ListedKind, Selection, get_table
from kns.report.objects import get_objects
from kns.report.resources import resource_objects, resource_table
from kns.report.table import Table, prefixed, render_table

#: what stands for all objects together, as a lab file
_WHOLE = "lab"
#: what kubectl calls the kinds that most people mean
_ALL = "all"
#: what a label selector has, and no name of a lab
_SELECTOR = re.compile(r"[=!(,/]")


def asked_for(
    kind: str, names: tuple[str, ...]
) -> tuple[tuple[ListedKind | Resource | None, ...], tuple[str, ...]]:
    """The kinds and the names of `pods,svc`, `pods pod1 pod2` or `pod/pod1 pod/pod2`."""
    if "/" not in kind:
        wanted = (found for word in kind.split(",") if word for found in _kinds_named(word))
        kinds = tuple(dict.fromkeys(wanted))
        if names and len(kinds) > 1:
            raise UsageError("names of several kinds", hint="write all as KIND/NAME, of one kind")
        if None in kinds and len(kinds) > 1:
            raise UsageError("lab is all of it already", hint="kns get lab -o yaml")
        return kinds or (_kind_named(kind),), names
    words = [word.partition("/") for word in (kind, *names)]
    if not all(name for _, _, name in words):
        raise UsageError("an object without a kind or a name", hint="write all as KIND/NAME")
    found = {_kind_named(word) for word, _, _ in words}
    if len(found) > 1:
        raise UsageError("objects of several kinds", hint="kns get one kind after the other")
    return (found.pop(),), tuple(name for _, _, name in words)


def _kinds_named(value: str) -> tuple[ListedKind | Resource | None, ...]:
    """The kind, or those of `all`."""
    if value.lower() != _ALL:
        return (_kind_named(value),)
    found = (item for item in RESOURCES if _ALL in item.categories)
    return tuple(ALIASES.get(item.plural) or item for item in found)


def _kind_named(value: str) -> ListedKind | Resource | None:
    """`pods`, or one of kubectl's other names for it; None for the whole lab."""
    if value.lower() == _WHOLE:
        return None
    found = ALIASES.get(value.lower()) or by_word(value)
    if found is None or found is LAB:
        kinds = ", ".join((*ListedKind, "deployments", "lab", "or another kind of kubectl's"))
        raise UsageError(f"there is no kind {value!r}", hint=f"kinds: {kinds}")
    return found


def _complete_kind(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    plurals = dict.fromkeys((*map(str, ListedKind), *(item.plural for item in RESOURCES)))
    return starting_with(incomplete, plurals)


@dataclass(frozen=True)
class _Asked:
    """What of each kind is to be shown, and how."""

    lab: RunningLab
    names: tuple[str, ...]
    #: empty: all
    namespace: str
    selector: str
    columns: Columns

    @cached_property
    def objects(self) -> tuple[Object, ...]:
        """What the lab's agent holds, of all kinds but events."""
        return lab_objects(self.lab.paths)

    @cached_property
    def events(self) -> tuple[Object, ...]:
        """What has happened to them: on no file, so that only a living lab's agent tells."""
        # who asks for something else doesn't wait for the API
        from kns.engine.api_client import connect  # noqa: PLC0415

        return connect(self.lab).list(EVENT)


@click.command()
@click.argument("kind", shell_complete=_complete_kind, metavar="KIND[,KIND...]")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of every namespace.")
@click.option("--selector", default="", metavar="LABELS", help="Those with labels: app=web,!old.")
@click.option("--show-labels", is_flag=True, help="A column with the objects' labels.")
@output_option("wide", "json", "yaml")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    kind: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    show_labels: bool,
    output: str | None,
    lab: str | None,
) -> None:
    """List the lab's objects in kubectl's columns, or as Kubernetes objects.

    KIND is kubectl's word for one: pods, services (or svc), endpoints, deployments, events and
    so on; all for pods, services and workloads; several are separated by commas; KIND/NAME will do,
    too; or lab, for the whole lab file.
    -l is the lab; what can be no lab's name (app=web) is taken for --selector.

    \b
      kns get pods -o wide
      kns get services -A
      kns get pods,svc -l app=web
      kns get pods pod1 -o json
      kns get lab -o yaml             all of it as a lab file, as it is now
    """
    lab, selector = lab_or_selector(lab, selector)
    kinds, names = asked_for(kind, names)
    running_lab = running(lab)
    if kinds == (None,):
        _print_whole(running_lab, output)
        return
    columns = Columns(output == "wide", show_labels)
    asked = _Asked(running_lab, names, "" if all_namespaces else namespace, selector, columns)
    found = [(wanted, *_found(asked, wanted)) for wanted in kinds if wanted is not None]
    if output in {"json", "yaml"}:
        shown = _one_list([objects() for _, _, objects in found])
        print_json(shown) if output == "json" else print_text(dump_yaml(shown))
        return
    _print_tables([(wanted, table) for wanted, table, _ in found], asked.namespace)


def _print_tables(found: Sequence[tuple[ListedKind | Resource, Table]], namespace: str) -> None:
    """A table for each kind that has objects; of several kinds the names say which."""
    shown = [(wanted, table) for wanted, table in found if table.rows]
    # of `all` hardly any lab has all kinds
    for wanted in [wanted for wanted, table in found if not table.rows] if not shown else ():
        is_in = namespace and _is_namespaced(wanted)
        where = f" in namespace {namespace}" if is_in else ""
        click.echo(f"no {_plural(wanted)}{where}", err=True)
    for number, (wanted, table) in enumerate(shown):
        named = prefixed(table, _prefix(wanted)) if len(found) > 1 else table
        print_text(("\n" if number else "") + render_table(named, terminal_width()))


def _prefix(wanted: ListedKind | Resource) -> str:
    """`pod/`, `deployment.apps/`: what kubectl calls an object among those of several kinds."""
    resource = by_word(_plural(wanted))
    assert resource is not None  # noqa: S101 - every kind that is listed is a resource
    return f"{resource.singular}.{resource.group}/" if resource.group else f"{resource.singular}/"


def lab_or_selector(lab: str | None, selector: str) -> tuple[str | None, str]:
    """The lab, and the label selector: `-l app=web` is kubectl's way to write the second."""
    if lab is None or not _SELECTOR.search(lab):
        return lab, selector
    if selector and selector != lab:
        raise UsageError(f"two selectors: {lab} and {selector}", hint="name the lab by -l, if any")
    return os.environ.get("KNS_LAB") or None, lab


def _found(asked: _Asked, wanted: ListedKind | Resource) -> tuple[Table, Callable[[], Object]]:
    """The table of one kind, and what gives its objects. UsageError if a name is not there."""
    plural = _plural(wanted)
    keys = _selected(asked, wanted) if asked.selector else None
    selection = Selection(asked.namespace if _is_namespaced(wanted) else "", asked.names, keys)
    if isinstance(wanted, ListedKind):
        cluster = asked.lab.cluster
        presence = presence_of(asked.lab, containers=wanted is ListedKind.PODS)
        table = get_table(wanted, cluster, selection, presence, asked.columns)
        objects = partial(get_objects, wanted, cluster, selection, presence)
        # Endpoints are named as their Service, and their objects are EndpointSlices
        there = {row[table.heads.index("NAME")] for row in table.rows}
    else:
        held = asked.events if wanted == EVENT else asked.objects
        table = resource_table(wanted, held, selection, asked.columns, time.time())
        objects = partial(resource_objects, wanted, held, selection)
        there = set(map(name_of, _items(objects())))
    if missing := [name for name in asked.names if name not in there]:
        raise UsageError(f"{plural} not found: {', '.join(missing)}", hint=f"kns get {plural} -A")
    return table, objects


def _plural(wanted: ListedKind | Resource) -> str:
    return str(wanted) if isinstance(wanted, ListedKind) else wanted.plural


def _is_namespaced(wanted: ListedKind | Resource) -> bool:
    return wanted.is_namespaced if isinstance(wanted, ListedKind) else wanted.namespaced


def _selected(asked: _Asked, wanted: ListedKind | Resource) -> frozenset[tuple[str, str]]:
    """Namespace and name of the objects with such labels."""
    # only who selects by labels waits for the API's modules
    from kns.agent.api.selectors import selector  # noqa: PLC0415

    # those of a Service are the labels of its endpoints, too
    word = "services" if wanted is ListedKind.ENDPOINTS else _plural(wanted)
    resource = by_word(word)
    assert resource is not None  # noqa: S101 - every kind that is listed is a resource
    try:
        chosen = selector(resource, asked.selector, "")
    except KnsError as error:
        hint = "app=web, app!=web, app, !app, 'app in (a,b)'"
        raise UsageError(error.message, hint=hint) from error
    held = asked.events if resource == EVENT else asked.objects
    items = (item for item in held if resource_of(item) == resource)
    return frozenset(
        (key.namespace, key.name) for item in items if chosen.admits(item) for key in [key_of(item)]
    )


def _one_list(found: list[Object]) -> Object:
    """The objects of one kind as they are; those of several in one list."""
    if len(found) == 1:
        return found[0]
    return list_of([item for each in found for item in _items(each)])


def _items(found: Object) -> Sequence[Object]:
    """The objects of a list, or the one itself."""
    return mappings(found, "items") if "items" in found else [found]


def _print_whole(lab: RunningLab, output: str | None) -> None:
    """The lab file that stands for the lab as it is now."""
    if output not in {"json", "yaml"}:
        raise UsageError("a lab has no columns", hint="kns get lab -o yaml")
    found = list(lab_documents(lab.paths))
    if output == "json":
        print_json(list_of(found))
    else:
        print_text("---\n".join(map(dump_yaml, found)))
