"""A container's environment out of its pod's env file."""

from __future__ import annotations

import json
from pathlib import Path

from kns.engine.environment import of_container, read_service_variables


def test_env_file_is_read_in_order(tmp_path: Path) -> None:
    pairs = [["KUBERNETES_SERVICE_HOST", "10.96.0.1"], ["A", "1"]]
    (tmp_path / "env").write_text(json.dumps(pairs))
    assert read_service_variables(tmp_path) == (
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("A", "1"),
    )


def test_pod_without_an_env_file_has_no_service_variables(tmp_path: Path) -> None:
    assert read_service_variables(tmp_path) == ()
    assert read_service_variables(tmp_path / "absent") == ()


def test_own_variables_win_and_refer_to_earlier_ones_and_services() -> None:
    services = (("DB_HOST", "10.96.0.7"), ("MODE", "service"))
    own = (
        ("MODE", "own"),
        ("URL", "http://$(DB_HOST)/$(MODE)"),
        ("LATER", "$(NEXT)"),
        ("NEXT", "1"),
    )
    assert of_container(services, own, hostname="web-0") == (
        ("HOSTNAME", "web-0"),
        ("MODE", "own"),
        ("URL", "http://10.96.0.7/own"),
        ("LATER", "$(NEXT)"),
        ("NEXT", "1"),
        ("DB_HOST", "10.96.0.7"),
    )
