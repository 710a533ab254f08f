"""HAProxy's configuration: listeners, servers, health checks; HAProxy itself reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kns.compile.programs import haproxy
from kns.kinds.common import Protocol
from kns.kinds.service import ServicePort, SessionAffinity
from tests.balanced import balanced

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin") or ""


def listener(config: str, name: str) -> list[str]:
    """The lines of one `listen` section."""
    for part in config.split("listen ")[1:]:
        head, *lines = part.splitlines()
        if head.startswith(name):
            return [line.strip() for line in lines]
    raise AssertionError(name)


def test_policy_cluster_is_checked_at_kube_proxys_own_port() -> None:
    lines = listener(haproxy.config(balanced("proxy")), "default_svc-cluster_80_198.51.100.1")
    assert lines == [
        "bind 198.51.100.1:80",
        "balance random",
        "option httpchk GET /healthz",
        "http-check expect status 200",
        *(
            f"server node{number} 172.18.0.{number + 1}:30081 check port 10256 inter 2s"
            " fastinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions"
            for number in (1, 2, 3)
        ),
    ]


def test_policy_local_is_checked_at_the_health_check_node_port() -> None:
    lines = listener(haproxy.config(balanced("proxy")), "default_svc-local")
    assert "option httpchk GET /" in lines
    assert [line.split()[5] for line in lines if line.startswith("server")] == ["32001"] * 3


def test_source_ranges_are_the_proxys_to_enforce() -> None:
    lines = listener(haproxy.config(balanced("proxy")), "default_svc-ranges")
    assert lines[1:3] == [
        "acl allowed src 203.0.113.10/32",
        "tcp-request connection reject if !allowed",
    ]


def test_source_ranges_of_the_other_family_count_for_nothing() -> None:
    config = haproxy.config(balanced("proxy", load_balancer_source_ranges=("2001:db8::/32",)))
    assert "acl" not in config


def test_affinity_balances_by_the_source() -> None:
    config = haproxy.config(balanced("proxy", session_affinity=SessionAffinity.CLIENT_IP))
    assert config.count("balance source") == 3


def test_ports_that_a_tcp_proxy_cannot_forward_are_left_out() -> None:
    ports = (ServicePort(53, "dns", Protocol.UDP, node_port=30053), ServicePort(80, "http"))
    assert "listen" not in haproxy.config(balanced("proxy", ports=ports))


@pytest.mark.skipif(not HAPROXY, reason="no HAProxy")
@pytest.mark.parametrize("affinity", list(SessionAffinity))
def test_haproxy_reads_it(tmp_path: Path, affinity: SessionAffinity) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(haproxy.config(balanced("proxy", session_affinity=affinity)), encoding="utf-8")
    command = [HAPROXY, "-c", "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
