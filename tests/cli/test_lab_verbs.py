"""The verbs that work on a running lab, as whole processes on the running kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.process import KNS, kns, lab_text

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("lab")]

LAB = "cli-verbs"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("lab") / "lab.yaml"
    file.write_text(lab_text(LAB), encoding="utf-8")
    try:
        done = kns("up", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{LAB} is up: 2 nodes, 2 pods" in done.stdout.splitlines()[-1]
        yield file
    finally:
        kns("down", LAB)


def route_of_node1() -> str:
    done = kns("exec", "-l", LAB, "node1", "--", "ip", "-o", "route", "show", "10.244.1.0/24")
    return done.stdout.strip()


def test_second_up_has_nothing_to_change(lab: Path) -> None:
    done = kns("up", str(lab))
    assert done.returncode == 0
    assert "has nothing to change" in done.stdout


def test_dry_run_of_a_finished_lab_is_an_empty_script(lab: Path) -> None:
    done = kns("up", "--dry-run", str(lab))
    assert (done.returncode, done.stdout) == (0, "#!/bin/sh\nset -eu\n")


def test_ls_and_its_json() -> None:
    rows = [line.split() for line in kns("ls").stdout.splitlines()]
    assert [row for row in rows if row[0] == LAB] == [
        [LAB, "2", "2", rows_services(), "iptables", rows_netns(), "running"]
    ]
    listed = json.loads(kns("ls", "-o", "json").stdout)
    assert [(item["nodes"], item["pods"]) for item in listed if item["name"] == LAB] == [(2, 2)]


def rows_services() -> str:
    return str(len(json.loads(kns("get", "svc", "-A", "-o", "json", "-l", LAB).stdout)["items"]))


def rows_netns() -> str:
    netns = Path("/run/netns").iterdir()
    return str(sum(path.name.startswith(f"kns.{LAB}.") for path in netns))


def test_status_of_a_sound_lab() -> None:
    done = kns("status", LAB)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{LAB}: healthy\n")
    found = json.loads(kns("status", LAB, "-o", "json").stdout)
    assert (found["healthy"], found["drift"], found["agent"]["running"]) == (True, [], True)


def test_a_server_that_should_listen_and_does_not_is_drift(lab: Path) -> None:
    """Somebody has written the lab's file after its agent had read it."""
    applied = Path(f"/run/kns/{LAB}/lab.yaml")
    before = applied.read_text(encoding="utf-8")
    wanted = before.replace("port: 9090", "port: 9091")
    applied.write_text(wanted, encoding="utf-8")
    try:
        done = kns("status", LAB)
        assert done.returncode == 1
        assert [line for line in done.stdout.splitlines() if line.startswith("  pod1: ")] == [
            "  pod1: close tcp 0.0.0.0:9090",
            "  pod1: open tcp 0.0.0.0:9091 for default/pod1/sidecar",
        ]
        assert "nothing to change" in kns("up", str(lab)).stdout
    finally:
        applied.write_text(before, encoding="utf-8")
    assert kns("status", LAB).returncode == 0


def test_a_change_of_servers_alone_is_told(lab: Path, tmp_path: Path) -> None:
    text = lab.read_text(encoding="utf-8")
    other = tmp_path / "lab.yaml"
    other.write_text(text.replace("port: 9090", "port: 9091"), encoding="utf-8")
    planned = kns("up", "--dry-run", str(other)).stdout
    assert f"# close kns.{LAB}.pod1 tcp 0.0.0.0:9090" in planned
    done = kns("up", str(other))
    assert "  pod1: open tcp 0.0.0.0:9091 for default/pod1/sidecar" in done.stdout
    assert "is as its file says, after 2 changes" in done.stdout
    assert kns("up", str(lab)).returncode == 0


def test_drift_is_named_and_up_repairs_exactly_that(lab: Path) -> None:
    before = route_of_node1()
    deleted = kns("exec", "-l", LAB, "node1", "--", "ip", "route", "del", "10.244.1.0/24")
    assert (deleted.returncode, route_of_node1()) == (0, "")
    found = kns("status", LAB)
    drift = [line for line in found.stdout.splitlines() if "10.244.1.0/24" in line]
    assert (found.returncode, len(drift)) == (1, 1)
    assert drift[0].startswith("  node1: route ")
    repaired = kns("up", str(lab))
    assert drift[0] in repaired.stdout.splitlines()
    assert "is as its file says, after 1 change:" in repaired.stdout
    assert route_of_node1() == before


def test_get_pods_has_kubectls_columns() -> None:
    lines = kns("get", "pods", "-o", "wide", "-l", LAB).stdout.splitlines()
    assert lines[0].split() == [
        *("NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"),
        *("NOMINATED", "NODE", "READINESS", "GATES"),
    ]
    assert lines[1].split()[:3] == ["pod1", "2/2", "Running"]


def test_get_yaml_and_json_say_the_same() -> None:
    as_json = kns("get", "services", "-A", "-o", "json", "-l", LAB).stdout
    as_yaml = kns("get", "services", "-A", "-o", "yaml", "-l", LAB).stdout
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_get_of_a_name_that_is_not_there() -> None:
    done = kns("get", "pods", "pod1", "pod9", "-l", LAB)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: pods not found: pod9\nhint: kns get pods -A\n"


def test_lab_from_the_environment() -> None:
    assert kns("get", "nodes", KNS_LAB=LAB).returncode == 0
    done = kns("get", "nodes", KNS_LAB="no-such-lab")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "error: no lab named no-such-lab is running",
    )


def test_exec_passes_the_exit_code_on() -> None:
    assert kns("exec", "-l", LAB, "pod1", "--", "sh", "-c", "exit 7").returncode == 7


def test_exec_passes_a_signal_on() -> None:
    assert kns("exec", "-l", LAB, "pod1", "--", "sh", "-c", "kill -9 $$").returncode == -9


@pytest.mark.parametrize(
    ("options", "colour"), [((), "blue"), (("-c", "web"), "blue"), (("-c", "sidecar"), "red")]
)
def test_exec_has_the_environment_of_the_container(options: tuple[str, ...], colour: str) -> None:
    done = kns("exec", "-l", LAB, "pod1", *options, "--", "env")
    env = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (env["COLOUR"], env["HOSTNAME"]) == (colour, "pod1")
    assert "SVC_A_SERVICE_HOST" in env


def test_exec_is_in_the_netns_with_the_hostname_of_the_target() -> None:
    for target in ("pod1", "node1"):
        look = "hostname; stat -Lc %i /proc/self/ns/net"
        done = kns("exec", "-l", LAB, target, "--", "sh", "-c", look)
        inode = Path(f"/run/netns/kns.{LAB}.{target}").stat().st_ino
        assert done.stdout.split() == [target, str(inode)]


def test_exec_leaves_the_hosts_files_alone() -> None:
    before = Path("/etc/hosts").read_bytes()
    inside = kns("exec", "-l", LAB, "pod1", "--", "cat", "/etc/hosts").stdout
    assert "pod1" in inside
    assert Path("/etc/hosts").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nopod", "--", "true"), "error: there is no"),
        (("pod1", "-c", "none", "--", "true"), "error: pod default/pod1 has no container 'none'"),
        (("node1", "-c", "web", "--", "true"), "error: node1 is no pod and has no containers"),
    ],
)
def test_exec_of_what_is_not_there(arguments: tuple[str, ...], said: str) -> None:
    done = kns("exec", "-l", LAB, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(said)


def test_exec_of_an_unknown_program_is_this_machines_lack() -> None:
    done = kns("exec", "-l", LAB, "pod1", "--", "no-such-program")
    assert (done.returncode, "no-such-program" in done.stderr) == (3, True)


def test_shell_runs_what_stdin_says() -> None:
    done = kns("shell", "-l", LAB, "pod1", stdin="hostname; exit 3\n", SHELL="/bin/sh")
    assert (done.returncode, done.stdout) == (3, "pod1\n")


def test_capture_writes_packets() -> None:
    """A ping in the background; tcpdump ends after two packets."""
    with subprocess.Popen(
        [
            *KNS,
            "exec",
            "-l",
            LAB,
            "pod1",
            "--",
            "ping",
            "-q",
            "-i",
            "0.2",
            "-c",
            "40",
            "10.244.1.2",
        ],
        stdout=subprocess.DEVNULL,
    ) as ping:
        done = kns("capture", "-l", LAB, "-n", "2", "node1", "cni0", "icmp")
        ping.terminate()
    assert done.returncode == 0
    assert done.stdout.count("ICMP echo") == 2


def test_completes_pods_of_the_lab() -> None:
    done = kns(_KNS_COMPLETE="bash_complete", COMP_WORDS=f"kns exec -l {LAB} po", COMP_CWORD="4")
    assert done.stdout == "plain,pod1\nplain,pod2\n"


def test_reader_that_went_away() -> None:
    script = f'{sys.executable} -m kns.cli.main get pods -l {LAB} | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}


def test_dead_agent_is_named_and_started_again(lab: Path) -> None:
    pid = json.loads(kns("status", LAB, "-o", "json").stdout)["agent"]["pid"]
    os.kill(pid, 9)
    found = kns("status", LAB)
    assert found.returncode == 1
    assert "not running" in found.stdout
    assert kns("get", "pods", "pod1", "-l", LAB).stdout.splitlines()[1].split()[1] == "0/2"
    again = kns("up", str(lab))
    assert "has nothing to change but its agent, which runs now" in again.stdout
    assert kns("status", LAB).returncode == 0


def test_verify_strict_fails_on_the_files_warnings(tmp_path: Path) -> None:
    """A lab of manifests alone and of two files; what it is warned of fails, as checks do."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c}]}\n"
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: w}\nspec: {ports: [{port: 80}]}\n"
    app, more = tmp_path / "cli-strict.yaml", tmp_path / "more.yaml"
    app.write_text(pod, encoding="utf-8")
    more.write_text(service, encoding="utf-8")
    try:
        made = kns("up", str(app), str(more))
        assert made.returncode == 0
        assert "has no Lab document: made for it is the lab cli-strict, node1, node2" in made.stdout
        only = ("verify", "cli-strict", "--only", "addressing")
        assert kns(*only).returncode == 0
        done = kns(*only, "--strict", "-o", "json")
        assert done.returncode == 1
        (failed,) = (check for check in json.loads(done.stdout)["checks"] if not check["ok"])
        assert failed["id"] == "lab-file/metadata.name"
        assert failed["actual"].endswith("nothing is behind it")
        assert kns("up", str(app)).returncode == 0
        assert kns(*only, "--strict").returncode == 0
    finally:
        kns("down", "cli-strict")
