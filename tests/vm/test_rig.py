"""The rig's own decisions; that a VM boots is shown by the tests that run in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import features, qemu, rig, uml
from tests.vm.machine import RigError, booted
from tests.vm.qemu import Kernel

KERNEL = Kernel(Path("/cache/boot/vmlinuz-6.1"), Path("/cache/lib/modules/6.1"))


def test_guest_sees_this_machine_read_only_and_one_folder_writable() -> None:
    command = qemu.vng_command(KERNEL, Path("/results"), kvm=False)
    (opts,) = (word for word in command if word.startswith("--qemu-opts="))
    assert "id=host,path=/,security_model=none,multidevs=remap,readonly=on " in opts
    assert "id=results,path=/results,security_model=none,multidevs=remap " in opts


@pytest.mark.parametrize("kvm", [True, False])
def test_kvm_is_used_where_it_works(kvm: bool) -> None:  # noqa: FBT001
    assert ("--disable-kvm" in qemu.vng_command(KERNEL, Path("/results"), kvm=kvm)) is not kvm


def test_kvm_without_a_device_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not qemu.kvm_works()


def test_missing_programs_are_told_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None if "qemu" in name else f"/{name}")
    with pytest.raises(RigError, match="hint: apt-get install qemu-system-"):
        qemu.check_programs()


def test_machine_without_apt_is_told_what_else_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RigError, match="modprobe ip_vs"):
        qemu.fetch_kernel(tmp_path)


def test_impossible_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Kernel:
        raise RigError("no VM here\nhint: try elsewhere")

    monkeypatch.setattr(qemu, "ensure_kernel", refuse)
    assert rig.main(["run", "true"]) == rig.EXIT_IMPOSSIBLE
    assert capsys.readouterr().err == "rig: no VM here\nhint: try elsewhere\n"


def test_cached_kernel_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "kns/vm/linux-image-6.1.0-9-amd64_6.1.1_amd64"
    (folder / "boot").mkdir(parents=True)
    (folder / "boot/vmlinuz-6.1.0-9-amd64").touch()
    (folder / "ready").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(qemu, "check_programs", lambda: None)
    assert qemu.ensure_kernel() == Kernel(
        folder / "boot/vmlinuz-6.1.0-9-amd64", folder / "lib/modules/6.1.0-9-amd64"
    )


def test_half_unpacked_kernel_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kns/vm/linux-image-6.1.0-9-amd64_6.1.1_amd64/boot").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(qemu, "check_programs", lambda: None)
    asked: list[Path] = []

    def fetch(cache: Path) -> Path:
        asked.append(cache)
        raise RigError("asked")

    monkeypatch.setattr(qemu, "fetch_kernel", fetch)
    with pytest.raises(RigError, match="asked"):
        qemu.ensure_kernel()
    assert asked == [tmp_path / "kns/vm"]


def test_options_are_told_from_paths() -> None:
    arguments = ["-q", "tests/vm/test_rig.py::test_options_are_told_from_paths", "-x", "tests"]
    assert rig.options_of(arguments) == ["-q", "-x"]


def test_reason_to_skip_names_the_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "missing", lambda name: "no ipvs" if name == "ipvs" else "")
    assert features.reason_to_skip(["kernel", "netem", "ipvs"]) == "no ipvs"
    assert features.reason_to_skip(["kernel", "netem"]) == ""


def test_user_mode_linux_boots_on_this_machines_files_read_only() -> None:
    argv = uml.command(Path("/cache/um l"), Path("/results"))
    assert argv[0] == "/cache/um l/usr/bin/linux.uml"
    assert {"rootfstype=hostfs", "rootflags=/", "ro"} <= set(argv)
    assert 'KNS_MODULES="/cache/um l/usr/lib/uml/modules"' in argv


def test_user_mode_linux_takes_what_it_can_and_the_emulated_machine_the_rest() -> None:
    files = ("tests/end_to_end/test_networkpolicy.py", "tests/kernel/test_ipvs.py")
    choice = rig.Choice(f"({features.EXPRESSION})", ("-q", *files))
    both = [(part.markers, in_uml) for part, in_uml in rig.shares(choice, apart=True)]
    assert [in_uml for _, in_uml in both] == [True, False]
    (beyond,) = (part for part, in_uml in rig.shares(choice, apart=True) if not in_uml)
    assert beyond.arguments == ("-q", files[0])
    assert list(rig.shares(choice, apart=False)) == [(choice, False)]


def test_where_no_package_can_be_had_there_is_no_user_mode_linux(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Path:
        raise RigError("apt knows none")

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(uml, "package", refuse)
    assert uml.usable() is None
    assert "apt knows none" in capsys.readouterr().err
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(uml, "package", lambda: pytest.fail("Debian has none for it"))
    assert uml.usable() is None


@pytest.mark.parametrize(
    ("script", "expected"),
    [('sh "$1/command" >"$1/log"; echo $? >"$1/rc"', 7), ("sleep 60", 124)],
)
def test_a_machine_ends_with_its_command_or_after_its_time(
    tmp_path: Path, script: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["sh", "-c", f"({script})", "sh", str(tmp_path)]
    command = ["sh", "-c", "echo said; exit 7"]
    with booted(argv, command, tmp_path, timeout=1 if expected == 124 else 30) as machine:
        assert machine.wait() == expected
    assert machine.process.poll() is not None
    assert ("said" in capsys.readouterr().out) is (expected == 7)
