"""The labs that come with kns: found by name, told in a sentence, taken in place of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kns.cli.lab_files import existing_file
from kns.errors import UsageError
from kns.kinds.load import load_lab
from kns.labfile.shipped import shipped_lab, shipped_labs
from tests.cli.process import kns
from tests.readme_console import PROJECT


def test_every_lab_has_a_first_sentence_and_is_called_like_its_file() -> None:
    labs = shipped_labs()
    assert {lab.path for lab in labs} == set((PROJECT / "labs").glob("*.yaml"))
    assert [lab.name for lab in labs if not 10 < len(lab.about) < 120] == []
    assert [load_lab(lab.path).spec.name for lab in labs] == [lab.name for lab in labs]


def test_sentence_ends_at_a_full_stop_or_before_a_list() -> None:
    about = {lab.name: lab.about for lab in shipped_labs()}
    assert about["egress"] == "How pods leave the cluster"
    assert about["four-paths"] == (
        "Two nodes on which each of the four communication paths can be seen"
    )


def test_name_without_a_file_is_the_shipped_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "egress").mkdir()
    for name in ("four-paths", "egress"):
        path = existing_file(name)
        assert path == PROJECT / f"labs/{name}.yaml"
        assert capsys.readouterr().err == f"{name} is a lab that comes with kns: {path}\n"


def test_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "four-paths").touch()
    assert existing_file("four-paths") == Path("four-paths")


def test_hint_away_from_a_checkout_names_shipped_labs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as near:
        existing_file("labs/four-paths.yaml")
    assert near.value.hint == "did you mean four-paths, which comes with kns?"
    with pytest.raises(UsageError) as far:
        existing_file("no-such")
    assert far.value.hint is not None
    assert far.value.hint.endswith(" ".join(lab.name for lab in shipped_labs()))


def test_labs_verb_lists_and_prints() -> None:
    lines = kns("labs").stdout.splitlines()
    assert lines[0].split() == ["NAME", "ABOUT"]
    assert [line.split()[0] for line in lines[1:]] == [lab.name for lab in shipped_labs()]
    lab = shipped_lab("ingress")
    assert lab is not None
    assert kns("labs", "ingress").stdout == lab.path.read_text(encoding="utf-8")


def test_labs_verb_refuses_an_unknown_name() -> None:
    done = kns("labs", "ingres")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "error: no lab ingres comes with kns",
    )


@pytest.mark.parametrize("verb", [("validate",), ("script",), ("graph", "-f")])
def test_verbs_that_need_no_root_take_the_name(verb: tuple[str, ...]) -> None:
    done = kns(*verb, "four-paths")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        0,
        f"four-paths is a lab that comes with kns: {PROJECT / 'labs/four-paths.yaml'}",
    )
