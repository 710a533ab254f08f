"""`kns get`."""

from __future__ import annotations

import time
from functools import partial

import click
from click.shell_completion import CompletionItem

from kns.cli.lab_options import lab_option, namespace_option, starting_with
from kns.cli.output import output_option, print_json, print_text, terminal_width
from kns.engine.labs import RunningLab, lab_documents, lab_objects, running
from kns.engine.presence import presence_of
from kns.errors import UsageError
from kns.kinds.objects import list_of
from kns.kinds.resources import LAB, RESOURCES, Resource, by_word
from kns.labfile.dump import dump_yaml
from kns.report.get import ALIASES, Columns, ListedKind, Selection, get_table
from kns.report.objects import get_objects
from kns.report.resources import resource_objects, resource_table
from kns.report.table import render_table

#: what stands for all objects together, as a lab file
_WHOLE = frozenset({"lab", "all"})


def asked_for(
    kind: str, names: tuple[str, ...]
) -> tuple[ListedKind | Resource | None, tuple[str, ...]]:
    """The kind and the names of `pods pod1 pod2` or `pod/pod1 pod/pod2`."""
    if "/" not in kind:
        return _kind_named(kind), names
    words = [word.partition("/") for word in (kind, *names)]
    if not all(name for _, _, name in words):
        raise UsageError("an object without a kind or a name", hint="write all as KIND/NAME")
    found = {_kind_named(word) for word, _, _ in words}
    if len(found) > 1:
        raise UsageError("objects of several kinds", hint="kns get one kind after the other")
    return found.pop(), tuple(name for _, _, name in words)


def _kind_named(value: str) -> ListedKind | Resource | None:
    """`pods`, or one of kubectl's other names for it; None for the whole lab."""
    if value.lower() in _WHOLE:
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


@click.command()
@click.argument("kind", shell_complete=_complete_kind, metavar="KIND")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of every namespace.")
@click.option("--show-labels", is_flag=True, help="A column with the objects' labels.")
@output_option("wide", "json", "yaml")
@lab_option
def command(  # noqa: PLR0913 - one parameter an option
    *,
    kind: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    show_labels: bool,
    output: str | None,
    lab: str | None,
) -> None:
    """List the lab's objects in kubectl's columns, or as Kubernetes objects.

    KIND is kubectl's word for one: pods, services (or svc), endpoints, deployments, events and
    so on; KIND/NAME will do, too; or lab, for all of it.

    \b
      kns get pods -o wide
      kns get services -A
      kns get pods pod1 -o json
      kns get lab -o yaml             all of it as a lab file, as it is now
    """
    wanted, names = asked_for(kind, names)
    running_lab = running(lab)
    if wanted is None:
        _print_whole(running_lab, output)
        return
    plural = wanted if isinstance(wanted, ListedKind) else wanted.plural
    is_namespaced = wanted.is_namespaced if isinstance(wanted, ListedKind) else wanted.namespaced
    in_namespaces = is_namespaced and not all_namespaces
    selection = Selection(namespace if in_namespaces else "", names)
    columns = Columns(output == "wide", show_labels)
    if isinstance(wanted, ListedKind):
        cluster = running_lab.cluster
        presence = presence_of(running_lab, containers=wanted is ListedKind.PODS)
        table = get_table(wanted, cluster, selection, presence, columns)
        objects = partial(get_objects, wanted, cluster, selection, presence)
    else:
        items = lab_objects(running_lab.paths)
        table = resource_table(wanted, items, selection, columns, time.time())
        objects = partial(resource_objects, wanted, items, selection)
    if names and len(table.rows) < len(set(names)):
        found = {cell for row in table.rows for cell in row[:2]}
        missing = [name for name in names if name not in found]
        raise UsageError(f"{plural} not found: {', '.join(missing)}", hint=f"kns get {plural} -A")
    if output in {"json", "yaml"}:
        print_json(objects()) if output == "json" else print_text(dump_yaml(objects()))
    elif not table.rows:
        where = f" in namespace {namespace}" if in_namespaces else ""
        click.echo(f"no {plural}{where}", err=True)
    else:
        print_text(render_table(table, terminal_width()))


def _print_whole(lab: RunningLab, output: str | None) -> None:
    """The lab file that stands for the lab as it is now."""
    if output not in {"json", "yaml"}:
        raise UsageError("a lab has no columns", hint="kns get lab -o yaml")
    found = list(lab_documents(lab.paths))
    if output == "json":
        print_json(list_of(found))
    else:
        print_text("---\n".join(map(dump_yaml, found)))
