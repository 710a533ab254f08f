"""Probes and hooks: what they may say, what they are if they say nothing, and how they are told."""

from __future__ import annotations

import json

import pytest

from kns.errors import SpecError
from kns.kinds.lifecycle import (
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    Lifecycle,
    Probe,
    SleepAction,
    TCPSocketAction,
    URIScheme,
    write_lifecycle,
    write_probe,
)
from kns.kinds.load import LoadedLab, load_lab_text
from kns.kinds.pod import Container, Pod, RestartPolicy

LAB = "apiVersion: kns/v1\nkind: Lab\nmetadata: {name: t}\nnodes: [{name: n}]\n"


def short(container: str, pod: str = "") -> LoadedLab:
    return load_lab_text(
        f"{LAB}pods: [{{name: web, {pod} containers: [{{name: c, {container}}}]}}]"
    )


def manifest(container: str, pod: str = "") -> LoadedLab:
    return load_lab_text(
        f"{LAB}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\n"
        f"spec: {{{pod} containers: [{{name: c, image: x, {container}}}]}}\n"
    )


def pod_of(loaded: LoadedLab) -> Pod:
    return loaded.spec.workloads[0].template


def container_of(loaded: LoadedLab) -> Container:
    return pod_of(loaded).containers[0]


@pytest.mark.parametrize("read", [short, manifest])
def test_a_probe_has_the_defaults_of_the_api_server(read: object) -> None:
    assert callable(read)
    found = container_of(read("readinessProbe: {httpGet: {port: 8080}}")).readiness_probe
    assert found == Probe(HTTPGetAction(8080, "/"), 0, 10, 1, 1, 3)


def test_a_probe_is_read_whole() -> None:
    found = container_of(
        short(
            "ports: [{name: http, port: 80}], startupProbe: {httpGet: {port: http, path: /up, "
            "host: 10.0.0.1, scheme: HTTPS, httpHeaders: [{name: Host, value: a.example}]}, "
            "initialDelaySeconds: 1, periodSeconds: 2, timeoutSeconds: 3, failureThreshold: 5, "
            "terminationGracePeriodSeconds: 6}"
        )
    ).startup_probe
    action = HTTPGetAction(
        "http", "/up", "10.0.0.1", URIScheme.HTTPS, (HTTPHeader("Host", "a.example"),)
    )
    assert found == Probe(action, 1, 2, 3, 1, 5, 6)


def test_zero_in_a_manifest_is_left_out() -> None:
    found = container_of(
        manifest("livenessProbe: {tcpSocket: {port: 1}, periodSeconds: 0, failureThreshold: 0}")
    ).liveness_probe
    assert found == Probe(TCPSocketAction(1))


def test_hooks_are_read() -> None:
    hooks = "lifecycle: {postStart: {exec: {command: [a, b]}}, preStop: {sleep: {seconds: 5}}}"
    found = container_of(short(hooks)).lifecycle
    assert found == Lifecycle(ExecAction(("a", "b")), SleepAction(5))


def test_a_pod_says_how_it_ends_and_when_it_is_ready() -> None:
    text = "restartPolicy: OnFailure, terminationGracePeriodSeconds: 7, "
    found = pod_of(manifest("", f"{text}readinessGates: [{{conditionType: example.com/x}}],"))
    assert found.restart_policy is RestartPolicy.ON_FAILURE
    assert found.termination_grace_period_seconds == 7
    assert found.readiness_gates == ("example.com/x",)
    assert pod_of(short("")).termination_grace_period_seconds == 30


@pytest.mark.parametrize(
    ("container", "path", "message"),
    [
        ("readinessProbe: {}", "readinessProbe", "Required value: must specify a handler type"),
        (
            "readinessProbe: {httpGet: {port: 1}, tcpSocket: {port: 1}}",
            "readinessProbe.tcpSocket",
            "Forbidden: may not specify more than 1 handler type",
        ),
        ("readinessProbe: {httpGet: {}}", "readinessProbe.httpGet.port", "Required value"),
        (
            "readinessProbe: {httpGet: {port: 70000}}",
            "readinessProbe.httpGet.port",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "readinessProbe: {httpGet: {port: 1, scheme: ftp}}",
            "readinessProbe.httpGet.scheme",
            'Unsupported value: "ftp": supported values: "HTTP", "HTTPS"',
        ),
        ("readinessProbe: {exec: {}}", "readinessProbe.exec", "Required value: command"),
        (
            "livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
            "livenessProbe.successThreshold",
            "Invalid value: 2: must be 1",
        ),
        (
            "readinessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 2}",
            "readinessProbe.terminationGracePeriodSeconds",
            "Invalid value: 2: must not be set for readinessProbes",
        ),
        (
            "lifecycle: {preStop: {}}",
            "lifecycle.preStop",
            "Required value: must specify a handler type",
        ),
        (
            "lifecycle: {preStop: {sleep: {seconds: 31}}}",
            "lifecycle.preStop.sleep",
            "Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds "
            "(30)",
        ),
    ],
)
def test_what_the_api_server_refuses(container: str, path: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        short(container)
    (problem,) = caught.value.problems
    assert problem.path == f"pods[0].containers[0].{path}"
    assert problem.message == message


def test_a_header_has_a_name_of_http() -> None:
    with pytest.raises(SpecError, match="1 problem") as caught:
        short("readinessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'a b', value: x}]}}")
    assert "a valid HTTP header must consist of" in caught.value.problems[0].message


def test_what_ends_before_the_containers_start_has_no_probe() -> None:
    init = "initContainers: [{name: i, image: x, readinessProbe: {tcpSocket: {port: 1}}}],"
    with pytest.raises(SpecError) as caught:
        manifest("", init)
    (problem,) = caught.value.problems
    assert problem.path == "spec.initContainers[0].readinessProbe"
    assert "may not be set for init containers" in problem.message


def test_a_grpc_probe_is_taken_with_a_warning() -> None:
    loaded = short("livenessProbe: {grpc: {port: 9000, service: s}}")
    found = container_of(loaded).liveness_probe
    assert found is not None
    assert found.action == GRPCAction(9000, "s")
    (warning,) = loaded.warnings
    assert warning.path == "pods[0].containers[0].livenessProbe.grpc"


PROBES = [
    Probe(HTTPGetAction("http", "/up", "a", URIScheme.HTTPS, (HTTPHeader("A", "b"),)), 1, 2, 3),
    Probe(TCPSocketAction(80, "b"), failure_threshold=9),
    Probe(ExecAction(("a",))),
    Probe(GRPCAction(80, "x")),
]


@pytest.mark.parametrize("probe", PROBES)
def test_a_written_probe_reads_as_the_same(probe: Probe) -> None:
    text = json.dumps(write_probe(probe))
    assert container_of(manifest(f"readinessProbe: {text}")).readiness_probe == probe


def test_written_hooks_read_as_the_same() -> None:
    hooks = Lifecycle(TCPSocketAction(1), HTTPGetAction(2))
    text = json.dumps(write_lifecycle(hooks))
    assert container_of(manifest(f"lifecycle: {text}")).lifecycle == hooks


def test_min_ready_seconds_are_of_replicas() -> None:
    text = "pods: [{name: web, replicas: 2, minReadySeconds: 5}]"
    assert load_lab_text(LAB + text).spec.workloads[0].min_ready_seconds == 5
    with pytest.raises(SpecError) as caught:
        short("", "minReadySeconds: 5,")
    (problem,) = caught.value.problems
    assert problem.path == "pods[0]"
    assert problem.message == "Forbidden: minReadySeconds may not be set without replicas"
