"""Every verb of the command line: its one-line help, and where its code is.

`kns --help` prints this table and imports none of the modules in it, so that it takes no longer
than Python and click need to start; a verb's module is imported when the verb is called.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: `kns NAME` runs the click command `attribute` (default: NAME) of `module`."""

    name: str
    module: str
    help: str
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class VerbGroup:
    """Verbs that belong together, as `kns --help` lists them."""

    title: str
    verbs: tuple[Verb, ...]


VERB_GROUPS: tuple[VerbGroup, ...] = (
    VerbGroup(
        "Build and remove",
        (
            Verb("up", "kns.cli.lab", "create a lab, or converge it to its file"),
            Verb("down", "kns.cli.lab", "remove a lab, also after a crash"),
            Verb("ls", "kns.cli.lab", "the labs of this machine", "list_"),
            Verb("status", "kns.cli.lab", "a lab's health; what differs from its file"),
        ),
    ),
    VerbGroup(
        "Look",
        (
            Verb("get", "kns.cli.get", "nodes, pods, services … in kubectl's columns"),
            Verb("rules", "kns.cli.rules", "the rules of a service, as a packet meets them"),
            Verb("dns", "kns.cli.dns", "every query a resolver sends for a name"),
            Verb("graph", "kns.cli.graph", "the lab as a picture: svg, html, mermaid, dot"),
            Verb("capture", "kns.cli.enter", "tcpdump in the netns of a pod or node"),
        ),
    ),
    VerbGroup(
        "Try and prove",
        (
            Verb("probe", "kns.cli.probe", "ping or curl from one place to another; who answers"),
            Verb("trace", "kns.cli.trace", "one packet's way, hop by hop, with each rule it met"),
            Verb("verify", "kns.cli.verify", "prove all four paths and all the file promises"),
            Verb("exec", "kns.cli.enter", "run a command in a pod, node or internet host", "exec_"),
            Verb("shell", "kns.cli.enter", "a shell in a pod, node or internet host"),
        ),
    ),
    VerbGroup(
        "Compare proxies",
        (
            Verb("render", "kns.cli.render", "the rules kube-proxy would write for these objects"),
            Verb(
                "compare", "kns.cli.compare", "one lab in each of kube-proxy's modes, side by side"
            ),
            Verb("bench", "kns.cli.bench", "measure the modes against the number of services"),
        ),
    ),
    VerbGroup(
        "Files and this machine",
        (
            Verb("labs", "kns.cli.labs", "the labs that come with kns, to start from"),
            Verb("validate", "kns.cli.files", "every error of a lab file at once"),
            Verb("schema", "kns.cli.files", "the JSON schema of the lab file, for editors"),
            Verb("script", "kns.cli.files", "a lab as a plain shell script"),
            Verb("doctor", "kns.cli.doctor", "what this machine can and can't do, and the remedy"),
            Verb("completion", "kns.cli.completion", "shell completion for bash, zsh or fish"),
        ),
    ),
)

VERBS: dict[str, Verb] = {verb.name: verb for group in VERB_GROUPS for verb in group.verbs}

EXAMPLES = """\
Examples:
  kns up four-paths                   build it: a file, or a lab that comes with kns
  kns verify                          prove it
  kns probe pod1 svc-a --count 20     who answers, and how often
  kns exec node1 -- iptables-save     what kube-proxy would have written
  kns down                            leave nothing behind
"""

FOOTER = """\
Names: pod1, namespace/pod1, svc-a, node1, internet; pod/x, svc/x, node/x where they clash.
With one lab running no lab is named; else use -l LAB or KNS_LAB.
Exit codes: 0 ok, 1 a check failed, 2 usage or file wrong, 3 this machine can't,
4 the kernel refused, 70 a bug in kns, 130 interrupted.
"""
