"""`up`, `down` and `script` from nothing to nothing, and on machines that lack something."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from kns.kernel import netns, processes
from tests.cli.process import AS_NOBODY, KNS, kns, lab_text
from tests.readme_console import PROJECT

pytestmark = pytest.mark.kernel


def test_down_leaves_nothing_and_again_does_nothing(tmp_path: Path) -> None:
    name = "cli-down"
    file = tmp_path / "lab.yaml"
    file.write_text(lab_text(name), encoding="utf-8")
    assert kns("up", str(file)).returncode == 0
    done = kns("down", name)
    assert (done.returncode, done.stdout.startswith(f"{name} is gone: ")) == (0, True)
    left = [path.name for path in Path("/run/netns").glob(f"kns.{name}.*")]
    assert (left, Path(f"/run/kns/{name}").exists()) == ([], False)
    again = kns("down", name)
    assert (again.returncode, again.stdout) == (0, f"no lab {name} is running\n")


def test_script_builds_what_up_builds(tmp_path: Path) -> None:
    """Run by hand, and then `up` finds nothing to change but servers to start."""
    name = "cli-script"
    file = tmp_path / "lab.yaml"
    file.write_text(lab_text(name), encoding="utf-8")
    try:
        script = kns("script", str(file))
        assert (script.returncode, script.stderr) == (0, "")
        ran = subprocess.run(
            ["sh"], input=script.stdout, capture_output=True, text=True, check=False, timeout=60
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        lines = kns("up", "--dry-run", str(file)).stdout.splitlines()
        assert lines[:2] == ["#!/bin/sh", "set -eu"]
        assert [line for line in lines[2:] if line and not line.startswith("#")] == []
        assert f"# open kns.{name}.pod1 tcp 0.0.0.0:9090 for default/pod1/sidecar" in lines
        assert "has nothing to change but its agent, which runs now" in kns("up", str(file)).stdout
        verified = kns("verify", name)
        assert verified.returncode == 0, verified.stdout
    finally:
        kns("down", name)


PROGRAMS = {
    "ingress": ("nginx", ""),
    "load-balancer": ("bird", "mode: bgp"),
    "load-balancer ": ("haproxy", "mode: proxy"),
}
JOB = """\
- name: job
  node: node1
  containers:
  - name: main
    command: [sh, -c, "hostname; echo $WORD; cat /etc/resolv.conf; exec sleep 1001"]
    env: [{name: WORD, value: "it's $(SVC_A_SERVICE_PORT)"}]
"""


def pids(name: str, program: str) -> set[int]:
    """The processes of the program in the lab's netns."""
    spaces = {found[1] for found in map(netns.identity, netns.list_netns(f"kns.{name}.")) if found}
    return {
        pid
        for pid in processes.in_netns(spaces)
        if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == program
    }


def started(name: str, program: str) -> set[int]:
    """The same, as soon as there is one."""
    deadline = time.monotonic() + 20
    while not (found := pids(name, program)):
        assert time.monotonic() < deadline, f"no {program} runs"
        time.sleep(0.02)
    return found


def run_script(file: Path) -> None:
    script = kns("script", str(file))
    assert (script.returncode, script.stderr) == (0, "")
    ran = subprocess.run(
        ["sh"], input=script.stdout, capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(("lab", "program", "mode"), [(k, *v) for k, v in PROGRAMS.items()])
def test_script_starts_the_programs_and_up_takes_them_over(
    lab: str, program: str, mode: str, tmp_path: Path
) -> None:
    name = f"cli-script-{program}"
    file = tmp_path / "lab.yaml"
    text = (PROJECT / "labs" / f"{lab.strip()}.yaml").read_text(encoding="utf-8")
    text = text.replace(f"{{name: {lab.strip()}}}", f"{{name: {name}}}")
    file.write_text(text.replace("{mode: l2", f"{{{mode}") if mode else text, encoding="utf-8")
    try:
        run_script(file)
        before = started(name, program)
        done = kns("up", str(file))
        assert "has nothing to change but its agent, which runs now" in done.stdout
        assert (done.returncode, done.stderr) == (0, "")
        assert pids(name, program) >= before
        assert kns("status", name).returncode == 0
        verified = kns("verify", name, "--only", "^internet-to-service/")
        assert verified.returncode == 0, verified.stdout
        assert kns("up", "--dry-run", str(file)).stdout == "#!/bin/sh\nset -eu\n"
    finally:
        kns("down", name)
    assert pids(name, program) == set()


def test_script_starts_a_container_as_the_agent_does(tmp_path: Path) -> None:
    name = "cli-script-job"
    file = tmp_path / "lab.yaml"
    text = lab_text(name).replace("dns: {enabled: false}", "dns: {enabled: true}")
    file.write_text(text.replace("services:\n", f"{JOB}services:\n"), encoding="utf-8")
    log = Path(f"/run/kns/{name}/logs/kns.{name}.job.main.log")
    try:
        run_script(file)
        (before,) = started(name, "sleep")
        by_hand = log.read_text(encoding="utf-8")
        assert by_hand.splitlines()[:2] == ["job", "it's 80"]
        assert "search default.svc.cluster.local" in by_hand
        assert kns("up", str(file)).returncode == 0
        assert pids(name, "sleep") == {before}
        os.kill(before, signal.SIGKILL)
        while log.read_text(encoding="utf-8") == by_hand or not pids(name, "sleep"):
            time.sleep(0.05)
        assert log.read_text(encoding="utf-8") == by_hand * 2
    finally:
        kns("down", name)


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_NOBODY, *KNS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_up_without_root_is_refused() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(lab_text("cli-nobody"))
        file.flush()
        Path(file.name).chmod(0o644)
        done = as_nobody("up", file.name)
    assert (
        done.returncode,
        "root" in done.stderr,
        f"sudo {shlex.join(KNS)} up" in done.stderr,
    ) == (3, True, True)


def test_validate_and_script_need_no_root() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(lab_text("cli-nobody"))
        file.flush()
        Path(file.name).chmod(0o644)
        assert as_nobody("validate", file.name).returncode == 0
        assert "ip netns add" in as_nobody("script", file.name).stdout


def test_validate_takes_the_files_of_several_labs(tmp_path: Path) -> None:
    """Those without a Lab document belong to the lab before them, or to the first."""
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: w}\nspec: {ports: [{port: 80}]}\n"
    for name, text in (
        ("app", service),
        ("one", lab_text("cli-one")),
        ("two", lab_text("cli-two")),
        ("more", service.replace("w}", "x}")),
    ):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    files = [str(tmp_path / f"{name}.yaml") for name in ("app", "one", "two", "more")]
    assert as_nobody("validate", *files).returncode == 0
    both = kns("validate", *files[1:], files[3])
    assert both.returncode == 2
    assert 'Duplicate value: "x"' in both.stderr
    strict = kns("validate", "--strict", *files)
    assert strict.returncode == 1
    assert strict.stderr.count("nothing is behind it") == 1
    assert f"also at {files[3]}:3:18" in strict.stderr
    alone = kns("validate", files[0])
    assert (
        f"{files[0]} has no Lab document: made for it is the lab app, node1, node2" in alone.stderr
    )


def test_file_that_is_not_there_suggests_the_lab_of_that_name() -> None:
    done = kns("up", "four-paths.yaml")
    assert done.returncode == 2
    assert done.stderr == (
        "error: four-paths.yaml: no such file\nhint: did you mean labs/four-paths.yaml?\n"
    )


def test_bad_file_tells_every_error_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    text = (
        lab_text("cli-bad").replace("node: node1", "node: node9").replace("selector:", "selektor:")
    )
    file.write_text(text, encoding="utf-8")
    done = kns("up", str(file))
    places = [line for line in done.stderr.splitlines() if line.startswith(str(file))]
    assert (done.returncode, len(places)) == (2, 2)
    assert all(":" in line.removeprefix(f"{file}:") for line in places)
    assert kns("validate", str(file)).returncode == 2


def test_up_without_iptables_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    """In a mount namespace of its own where the program is not executable."""
    name = "cli-lacking"
    file = tmp_path / "lab.yaml"
    file.write_text(lab_text(name), encoding="utf-8")
    hide = 'mount --bind /dev/null "$(readlink -f /usr/sbin/iptables-restore)"; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *KNS, "up", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert "hint: apt-get install iptables" in done.stderr
    assert list(Path("/run").glob(f"netns/kns.{name}.*")) == []


def test_two_labs_with_the_same_addresses_and_down_of_all(tmp_path: Path) -> None:
    """In namespaces of its own, for `--all` means all."""
    for name in ("cli-one", "cli-two"):
        (tmp_path / f"{name}.yaml").write_text(lab_text(name), encoding="utf-8")
    kns_line = " ".join(KNS)
    script = f"""
        set -e
        {kns_line} up {tmp_path}/cli-one.yaml >/dev/null
        {kns_line} up {tmp_path}/cli-two.yaml >/dev/null
        {kns_line} probe -l cli-one pod1 pod2 >/dev/null
        {kns_line} probe -l cli-two pod1 pod2 >/dev/null
        {kns_line} get pods || echo "exit $?"
        {kns_line} down || echo "exit $?"
        {kns_line} down --all
        ls /run/netns /run/kns 2>/dev/null || echo nothing left
    """
    done = subprocess.run(
        [str(PROJECT / "scripts/in-throwaway"), "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[:2]) == (0, ["exit 2", "exit 2"])
    assert [line.split(":")[0] for line in lines[2:4]] == ["cli-one is gone", "cli-two is gone"]
    assert lines[4:] == ["nothing left"]
    assert done.stderr.splitlines() == [
        "error: 2 labs are running: cli-one, cli-two",
        "hint: name one: -l LAB or KNS_LAB",
        "error: 2 labs are running: cli-one, cli-two",
        "hint: kns down LAB, or --all",
    ]
