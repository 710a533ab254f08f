"""Every verb of the command line with its line of help. The verb's code is `kns.cli.VERB`.

`kns --help` prints this and imports none of those modules, so that it takes no longer than Python
itself needs to start.
"""

from __future__ import annotations

GROUPS: dict[str, dict[str, str]] = {
    "Build and remove": {
        "up": "create a lab, or converge it to its file",
        "down": "remove a lab, also after a crash",
        "ls": "the labs of this machine",
        "status": "a lab's health; what differs from its file",
        "kubeconfig": "what kubectl needs to speak with a lab",
    },
    "Change what runs": {
        "apply": "have the lab hold the objects of files, as kubectl does",
        "delete": "delete objects of the lab",
        "scale": "have a workload of so many pods",
        "rollout": "roll a workload over to new pods, and wait for it",
        "cordon": "have no new pods on a node",
        "uncordon": "have new pods on a node again",
        "drain": "cordon a node and evict its pods",
        "events": "what has happened to the lab's objects",
    },
    "Look": {
        "get": "nodes, pods, services … in kubectl's columns",
        "policy": "who may connect to whom by network policies, and why",
        "rules": "the rules of a service, as a packet meets them",
        "dns": "every query a resolver sends for a name",
        "graph": "the lab as a picture: svg, html, mermaid, dot",
        "capture": "tcpdump in the netns of a pod or node",
    },
    "Try and prove": {
        "probe": "ping or curl from one place to another; who answers",
        "churn": "what a change costs the traffic: lost, when and why",
        "trace": "one packet's way, hop by hop, with each rule it met",
        "verify": "prove all four paths and all the file promises",
        "exec": "run a command in a pod, node or internet host",
        "shell": "a shell in a pod, node or internet host",
    },
    "Break and mend": {
        "fail": "pull the cable of a node or pod",
        "kill": "crash a pod's containers, or send them a signal",
        "unready": "make a pod not ready: Services leave it out",
        "partition": "let no packet pass between two sides, or again",
        "netem": "delay, loss, rate … of packets from one place to another",
        "restore": "put cables back, make pods ready; --all: every fault",
    },
    "Compare proxies": {
        "render": "the rules kube-proxy would write for these objects",
        "migrate": "what another mode or release changes for your Services",
        "compare": "one lab in each of kube-proxy's modes, side by side",
        "bench": "measure the modes against the number of services",
    },
    "Files and this machine": {
        "labs": "the labs that come with kns, to start from",
        "validate": "every error of a lab file at once",
        "schema": "the JSON schema of the lab file, for editors",
        "script": "a lab as a plain shell script",
        "doctor": "what this machine can and can't do, and the remedy",
        "completion": "shell completion for bash, zsh or fish",
    },
}

VERBS: dict[str, str] = {name: line for group in GROUPS.values() for name, line in group.items()}

_KUBECTL = "after export KUBECONFIG=$(kns kubeconfig --write)"
#: what people type who know kubectl and ip, and what does it here
ELSEWHERE = {
    "create": "kns apply FILE; or write it into the lab file, and run kns up LAB.yaml",
    "edit": "kns get KIND NAME -o yaml, change it, kns apply FILE; or edit the lab file",
    "describe": f"kns get KIND NAME -o yaml, kns rules NODE SERVICE; kubectl describe {_KUBECTL}",
    "logs": f"kubectl logs, {_KUBECTL}",
    "cp": f"kubectl cp, {_KUBECTL}",
    "port-forward": f"kubectl port-forward, {_KUBECTL}",
    "kubectl": f"kubectl itself, {_KUBECTL}",
    "ping": "kns probe SRC DST --proto icmp",
    "curl": "kns probe SRC DST, or kns exec POD -- curl URL",
    "start": "kns up LAB.yaml",
    "stop": "kns down",
    "list": "kns ls lists the labs, kns get KIND the objects of one",
}

_HEAD = """\
Usage: kns [OPTIONS] COMMAND [ARGS]...

  Kubernetes networking made of the Linux kernel's own parts, on one machine.
"""

_TAIL = """
Options:
  --debug     Show Python's traceback with every error.
  --version   Print the version.
  -h, --help  Show this message and exit.

Examples:
  kns up four-paths                   build it: a file, or a lab of kns labs
  kns verify                          prove it
  kns probe pod1 svc-a --count 20     who answers, and how often
  kns exec node1 -- iptables-save     what kube-proxy would have written
  kns down                            leave nothing behind

Names: pod1, namespace/pod1, svc-a, node1, internet; where they clash pod/x,
svc/x, node/x.
With one lab running no lab is named; else use -l LAB or KNS_LAB.
Exit codes: 0 ok, 1 a check failed, 2 usage or file wrong, 3 this machine can't,
4 the kernel refused, 70 a bug in kns, 130 interrupted.
"""


def help_text() -> str:
    """What `kns --help` prints."""
    width = max(map(len, VERBS))
    lines = [_HEAD]
    for title, verbs in GROUPS.items():
        lines.append(f"\n{title}:\n")
        lines += [f"  {name:<{width}}  {line}\n" for name, line in verbs.items()]
    return "".join([*lines, _TAIL])
