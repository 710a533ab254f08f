"""Runs `kns` as a whole process, and a small lab to run it on."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.cli import forked

KNS = [sys.executable, "-m", "kns.cli.main"]
#: before a command: as nobody, who may read everything all the same (root's clone is in /root)
AS_NOBODY = [
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"),
]
_TEXT = """\
apiVersion: kns/v1
kind: Lab
metadata: {name: LAB}
networking: {dns: {enabled: false}}
nodes: [{name: node1}, {name: node2}]
pods:
- name: pod1
  node: node1
  labels: {app: a}
  containers:
  - {name: web, port: 8080, env: [{name: COLOUR, value: blue}]}
  - {name: sidecar, port: 9090, env: [{name: COLOUR, value: red}]}
- {name: pod2, node: node2, labels: {app: a}, containers: [{name: web, port: 8080}]}
services:
- {name: svc-a, selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}
"""

Done = subprocess.CompletedProcess[str]


def lab_text(name: str) -> str:
    """Two nodes, two pods, one service."""
    return _TEXT.replace("LAB", name)


def kns(*arguments: str, stdin: str = "", **env: str) -> Done:
    """Run `kns`: what it wrote, and its exit code."""
    return forked.run(arguments, stdin, {**os.environ, **env}, 60)
