"""Names on the command line: written another way, in another order, or wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from kns.cli import down, get, rules
from kns.cli.commands import kns
from kns.cli.lab_files import existing_file
from kns.cli.registry import VERBS, help_text
from kns.errors import UsageError
from kns.report.get import ListedKind
from tests.probe.scenes import four_paths


@pytest.mark.parametrize("words", [("pods", "a", "b"), ("pod/a", "pods/b"), ("po/a", "pod/b")])
def test_get_takes_a_kind_and_names_or_both_in_one(words: tuple[str, ...]) -> None:
    assert get.asked_for(words[0], words[1:]) == ((ListedKind.PODS,), ("a", "b"))


def test_get_takes_several_kinds() -> None:
    assert get.asked_for("po,svc,pods", ()) == ((ListedKind.PODS, ListedKind.SERVICES), ())
    with pytest.raises(UsageError, match="no kind 'pood'"):
        get.asked_for("svc,pood", ())
    with pytest.raises(UsageError, match="all of it already"):
        get.asked_for("pods,lab", ())


def test_get_all_is_kubectl_s() -> None:
    """Category `all` of Kubernetes' API, `kubectl api-resources --categories=all`."""
    kinds, names = get.asked_for("all", ())
    words = ["pods", "services", "daemonsets", "deployments", "replicasets", "statefulsets"]
    assert {str(getattr(kind, "plural", kind)) for kind in kinds} >= set(words)
    assert "endpoints" not in kinds
    assert names == ()
    with pytest.raises(UsageError, match="names of several kinds"):
        get.asked_for("all", ("web",))


def test_get_names_the_events_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an event its table has no name, so that of two the one that is there was named, too."""
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "default"}}
    monkeypatch.setattr(get, "running", lambda _lab: SimpleNamespace(paths=None))
    monkeypatch.setattr(get, "lab_objects", lambda _paths: ())
    client = SimpleNamespace(list=lambda _resource: (event,))
    monkeypatch.setattr("kns.engine.api_client.connect", lambda _lab: client)
    found = CliRunner().invoke(kns, ["get", "deployments,events"])
    assert (found.exit_code, found.stdout.split()[:2]) == (0, ["LAST", "SEEN"])
    refused = CliRunner().invoke(kns, ["get", "events", "a", "b"])
    assert isinstance(refused.exception, UsageError)
    assert refused.exception.message == "events not found: b"


@pytest.mark.parametrize(
    ("lab", "selector", "expected"),
    [
        (None, "", (None, "")),
        ("four-paths", "", ("four-paths", "")),
        ("four-paths", "app=a", ("four-paths", "app=a")),
        ("app=a", "", (None, "app=a")),
        ("!app", "", (None, "!app")),
        ("app in (a, b)", "", (None, "app in (a, b)")),
    ],
)
def test_what_is_no_lab_s_name_is_a_selector(
    monkeypatch: pytest.MonkeyPatch, lab: str | None, selector: str, expected: tuple[object, str]
) -> None:
    monkeypatch.delenv("KNS_LAB", raising=False)
    assert get.lab_or_selector(lab, selector) == expected


@pytest.mark.parametrize("words", [("pod/",), ("pod/a", "b"), ("pod/a", "svc/b"), ("pood/a",)])
def test_get_refuses_other_words(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        get.asked_for(words[0], words[1:])


def helped(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """The command, and those below it."""
    yield words
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from helped(below, *words, name)


@pytest.mark.parametrize("verb", VERBS)
def test_no_help_is_wider_than_a_terminal(verb: str) -> None:
    command = kns.get_command(click.Context(kns), verb)
    assert command is not None
    for words in helped(command, verb):
        shown = CliRunner().invoke(kns, [*words, "--help"], terminal_width=80)
        assert shown.exit_code == 0
        assert [line for line in shown.output.splitlines() if len(line) > 80] == []


def test_the_help_of_all_is_no_wider_either() -> None:
    assert [line for line in help_text().splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("svc-a", "node2"), "kns rules node2 svc-a"),
        (("svc-a", None), "kns rules node1 svc-a"),
        (("svc-a", "svc-web"), "kns rules node1 svc-a"),
    ],
)
def test_rules_of_a_service_first(words: tuple[str, str | None], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        rules.refuse_service_first(four_paths(), *words)
    assert caught.value.hint == hint
    rules.refuse_service_first(four_paths(), "node1", "svc-a")


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("labs/four-path.yaml", "did you mean labs/four-paths.yaml?"),
        ("four_paths.yml", "did you mean labs/four-paths.yaml?"),
        ("x.yaml", "labs here: labs/four-paths.yaml labs/ipvs.yaml"),
    ],
)
def test_a_misspelt_file(
    file: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labs").mkdir()
    for name in ("four-paths", "ipvs"):
        (tmp_path / "labs" / f"{name}.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        existing_file(file)
    assert caught.value.hint == hint


def test_down_of_no_lab_tells_those_that_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kns.engine.down.removable_labs", lambda: ("shop",))
    monkeypatch.setattr("kns.cli.down.agent_pid", lambda _lab: None)
    with down.command.make_context("down", ["shopp"]) as context:
        down.command.invoke(context)
    assert capsys.readouterr() == ("no lab shopp is running\n", "hint: running: shop\n")
