"""`kns policy`: what network policies decide of pods, predicted, explained, compared and proven."""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import click

from kns.cli.exits import EXIT_FAILED
from kns.cli.lab_files import complete_files
from kns.cli.lab_options import lab_option, one_lab
from kns.cli.object_files import contents_or_labs
from kns.cli.output import output_option, print_json, print_text
from kns.cluster.policy_objects import PolicyObjects, load_policy_objects, of_cluster
from kns.cluster.resolve import resolve
from kns.engine.labs import list_labs, running
from kns.errors import UsageError
from kns.hints import closest
from kns.kinds.common import Protocol
from kns.kinds.load import is_lab_text, load_files, load_lab_text
from kns.probe.ask.places import places_of
from kns.probe.policy_proof import PolicyProof, prove
from kns.promise.location import label
from kns.promise.networkpolicy import DestinationPort, RemoteEnd
from kns.promise.policy_matrix import (
    Contact,
    PolicyMatrix,
    changes,
    paired,
    pod_ends,
    ports_of,
)
from kns.report.policy import (
    NOT_PROVEN,
    diff_json,
    diff_text,
    explain_json,
    explain_text,
    matrix_csv,
    matrix_json,
    matrix_text,
)

Function = TypeVar("Function", bound=Callable[..., object])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """What network policies decide: who may connect to whom, and which rule says so.

    \b
      kns policy matrix lab.yaml --port 80
      kns policy explain web db:5432
      kns policy diff before.yaml after.yaml
    """


def _port_options(function: Function) -> Function:
    function = click.option(
        "--proto",
        "protocol",
        type=click.Choice(["tcp", "udp", "sctp"]),
        default="tcp",
        show_default=True,
        help="The protocol of --port.",
    )(function)
    return click.option(
        "--port",
        callback=lambda _context, _parameter, value: _port(value),
        metavar="PORT",
        help="A number or a port's name; without it every port that a pod declares.",
    )(function)


def _port(text: str | None) -> int | str | None:
    if text is None or not text.isdecimal():
        return text
    if not 1 <= int(text) <= 65535:
        raise UsageError(f"{text} is no port", hint="ports are 1 to 65535")
    return int(text)


@command.command()
@click.argument("files", metavar="[LAB | FILE…]", nargs=-1, shell_complete=complete_files)
@_port_options
@click.option("--prove", "proves", is_flag=True, help="Try each connection in the running lab.")
@output_option("json", "csv")
@lab_option
def matrix(
    *,
    files: tuple[str, ...],
    port: int | str | None,
    protocol: str,
    proves: bool,
    output: str | None,
    lab: str | None,
) -> int:
    """The truth table of pods: rows connect to columns. No root, but for --prove.

    Without FILE of the running lab. FILE is a lab file, manifests, or what
    `kubectl get pods,namespaces,networkpolicies -A -o yaml` prints; `-` is stdin.
    """
    objects = _objects(files, lab)
    contacts = tuple(PolicyMatrix(objects).contacts(port, Protocol(protocol.upper())))
    proof = _proof(files, lab, contacts) if proves else NOT_PROVEN
    if output == "json":
        print_json(matrix_json(contacts, proof))
    elif output == "csv":
        print_text(matrix_csv(contacts, proof))
    else:
        print_text(matrix_text(contacts, proof))
    return 0 if all(item.keeps for item in proof.proven) else EXIT_FAILED


@command.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST[:PORT]")
@click.option(
    "-f", "--file", "files", multiple=True, metavar="FILE", help="Objects of files, not of a lab."
)
@_port_options
@output_option("json")
@lab_option
def explain(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    target: str,
    files: tuple[str, ...],
    port: int | str | None,
    protocol: str,
    output: str | None,
    lab: str | None,
) -> int:
    """Which policies select either side, and which rule allows it or what is missing.

    SRC and DST are pods (pod1, namespace/pod1), nodes, hosts outside, or addresses. Pods of
    manifests have the addresses that `kns up` of the file gives them.
    """
    found = PolicyMatrix(_objects(files, lab))
    name, wanted = _split(target, port)
    starts, goals = _ends(found.objects, source), _ends(found.objects, name)
    if starts[0].pod is None and goals[0].pod is None:
        raise UsageError("neither is a pod", hint="policies are about pods")
    ports = _wanted_ports(goals[0], wanted, Protocol(protocol.upper()))
    pairs = paired(starts, goals)
    contacts = [found.contact(*pair, item) for item in ports for pair in pairs]
    if output == "json":
        print_json([explain_json(found, contact) for contact in contacts])
    else:
        print_text(explain_text(found, contacts))
    return 0


@command.command()
@click.argument("before", metavar="A", shell_complete=complete_files)
@click.argument("after", metavar="B", shell_complete=complete_files)
@_port_options
@output_option("json")
def diff(
    *, before: str, after: str, port: int | str | None, protocol: str, output: str | None
) -> int:
    """Which pairs of pods two sets of objects decide differently: `+` allowed now, `-` no longer.

    A and B are lab files, or what kubectl prints.
    """
    found = changes(
        PolicyMatrix(_objects((before,), None)),
        PolicyMatrix(_objects((after,), None)),
        port,
        Protocol(protocol.upper()),
    )
    if output == "json":
        print_json(diff_json(found))
    else:
        print_text(diff_text(found))
    return 0


# -- where the objects are from --------------------------------------------------------------------


def _objects(files: tuple[str, ...], lab: str | None) -> PolicyObjects:
    if not files:
        return of_cluster(running(lab).cluster)
    if _is_running_lab(files):
        return of_cluster(running(one_lab(files[0], lab)).cluster)
    contents = contents_or_labs(files)
    labs = [item for item in contents if is_lab_text(item[1], item[0])]
    if not labs:
        found = load_policy_objects(contents)
        # no server has given any pod an address: manifests, and they get those of `kns up`
        are_placed = any(pod.addresses for pod in found.pods)
        return found if are_placed else of_cluster(resolve(load_files(contents).spec).cluster)
    if len(contents) > 1:
        hint = "put the manifests behind the Lab document, in one file"
        raise UsageError("a lab file stands alone", hint=hint)
    return of_cluster(resolve(load_lab_text(labs[0][1], labs[0][0]).spec).cluster)


def _is_running_lab(files: tuple[str, ...]) -> bool:
    """One name of no file is that of a running lab."""
    return len(files) == 1 and not Path(files[0]).exists() and files[0] in list_labs()


def _proof(files: tuple[str, ...], lab: str | None, contacts: tuple[Contact, ...]) -> PolicyProof:
    if files and not _is_running_lab(files):
        raise UsageError("--prove tries a running lab", hint="name the lab, or nothing")
    running_lab = running(one_lab(files[0], lab) if files else lab)

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty() and done % 20 == 0:
            click.echo(f"\r  {done} of {total} tried", nl=False, err=True)

    places = places_of(running_lab.name, running_lab.paths)
    return prove(running_lab.cluster, places, contacts, progress)


# -- the two ends ----------------------------------------------------------------------------------


def _split(target: str, port: int | str | None) -> tuple[str, int | str | None]:
    """`db:5432` in its parts; an IPv6 address with a port stands in brackets."""
    if target.startswith("["):
        name, _, text = target[1:].partition("]")
        return name, _port(text.removeprefix(":") or None) or port
    name, colon, text = target.partition(":")
    if not colon or ":" in text:
        return target, port
    return name, _port(text)


def _ends(objects: PolicyObjects, text: str) -> tuple[RemoteEnd, ...]:
    """What the word means: an address as it is, a pod, node or host by each of its addresses."""
    pods = objects.pods
    try:
        address = ip_address(text)
    except ValueError:
        pass
    else:
        owner = next((pod for pod in pods if address in pod.addresses), None)
        return (RemoteEnd(address, owner),)
    name = text.removeprefix("pod/")
    full = name if "/" in name else f"default/{name}"
    pod = next((pod for pod in pods if pod.full_name == full), None)
    if pod is None:
        return _no_pods_addresses(objects, text)
    if not pod.addresses:
        raise UsageError(f"pod {text!r} has no address", hint="is it running?")
    return pod_ends(pod)


def _no_pods_addresses(objects: PolicyObjects, text: str) -> tuple[RemoteEnd, ...]:
    """A node or a host outside, by its first address of each family."""
    hosts = {**objects.internet, **objects.nodes}
    found = hosts.get(text.removeprefix("node/"))
    if found:
        first: dict[int, RemoteEnd] = {}
        for address in found:
            first.setdefault(address.version, RemoteEnd(address))
        return tuple(first.values())
    if text.startswith(("svc/", "service/")):
        hint = "policies decide once the Service is translated: name one of its pods"
        raise UsageError(f"{text!r} is a Service", hint=hint)
    near = closest(text, [*map(label, objects.pods), *hosts])
    hint = f"did you mean {near}?" if near else "name a pod, namespace/pod or an address"
    raise UsageError(f"there is no pod {text!r}", hint=hint)


def _wanted_ports(
    goal: RemoteEnd, port: int | str | None, protocol: Protocol
) -> tuple[DestinationPort, ...]:
    if goal.pod is not None:
        found = ports_of(goal.pod, port, protocol)
        if not found:
            raise UsageError(f"{label(goal.pod)} has no {protocol} port {port!r}")
        return found
    if isinstance(port, int):
        return (DestinationPort(port, protocol),)
    raise UsageError(f"which port of {goal.address}?", hint="write DST:PORT, or --port")
