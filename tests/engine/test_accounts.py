"""The files of service accounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.cluster.api_server import account_of
from kns.cluster.resolve import resolve
from kns.compile import paths as places
from kns.compile.paths import LabPaths
from kns.compile.programs.programs import programs
from kns.engine import accounts
from tests.kinds.labs import lab

PODS = (
    "pods:\n- {name: a}\n- {name: b, namespace: ops, serviceAccountName: robot}\n"
    "- {name: c, automountServiceAccountToken: false}\n"
    "- {name: d, containers: [{name: main, command: [sleep, infinity]}]}\n"
)


def test_a_pod_has_those_of_its_account_where_there_is_an_api_server() -> None:
    found = resolve(lab(f"apiServer: {{}}\n{PODS}").spec).cluster
    given = {pod.name: account_of(found, pod) for pod in found.pods if len(pod.name) == 1}
    assert given == {"a": "default/default", "b": "ops/robot", "c": "", "d": "default/default"}
    (own,) = programs(found)
    assert own.account == "default/default"


def test_without_one_no_pod_has_any_and_programs_stay_as_they_were() -> None:
    found = resolve(lab(PODS).spec).cluster
    assert {account_of(found, pod) for pod in found.pods} == {""}
    (own,), (other,) = (
        programs(found),
        programs(resolve(lab(f"apiServer: {{}}\n{PODS}").spec).cluster),
    )
    assert own.digest != other.digest


def test_the_token_is_one_that_the_api_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "RUN_DIR", tmp_path)
    paths = LabPaths("lab")
    found = accounts.files(paths, "ops/robot")
    assert found is not None
    folder = found.folder
    assert sorted(file.name for file in folder.iterdir()) == ["ca.crt", "namespace", "token"]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())
    token = (folder / "token").read_text()
    assert token.startswith("ops.robot.")
    assert accounts.account_token(paths, "ops", "robot") == token
    assert (folder / "ca.crt").read_text() == (paths.tls / "ca.pem").read_text()
    assert accounts.files(paths, "") is None


def test_an_account_that_comes_again_has_another_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "RUN_DIR", tmp_path)
    paths = LabPaths("lab")
    before = accounts.account_token(paths, "ops", "robot")
    other = accounts.account_token(paths, "ops", "other")
    accounts.renew(paths, "ops", "robot")
    after = accounts.account_token(paths, "ops", "robot")
    assert after != before
    assert after.startswith("ops.robot.")
    assert accounts.account_token(paths, "ops", "other") == other
    # nobody has had one: none is made
    accounts.renew(paths, "ops", "nobody")
    assert len(list((paths.api / "accounts").iterdir())) == 2


def test_no_name_of_an_account_leads_out_of_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "RUN_DIR", tmp_path)
    paths = LabPaths("lab")
    found = accounts.files(paths, "ops/../../../other")
    assert found is not None
    assert found.folder.parent == paths.api / "accounts"
