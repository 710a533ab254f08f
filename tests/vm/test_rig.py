"""The rig's own decisions; that a VM boots is shown by the tests that run in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import features, rig
from tests.vm.rig import Kernel, RigError

KERNEL = Kernel(Path("/cache/boot/vmlinuz-6.1"), Path("/cache/lib/modules/6.1"))


def test_guest_sees_this_machine_read_only_and_one_folder_writable() -> None:
    command = rig.vng_command(KERNEL, Path("/results"), kvm=False)
    (opts,) = (word for word in command if word.startswith("--qemu-opts="))
    assert "id=host,path=/,security_model=none,multidevs=remap,readonly=on " in opts
    assert "id=results,path=/results,security_model=none,multidevs=remap " in opts


@pytest.mark.parametrize("kvm", [True, False])
def test_kvm_is_used_where_it_works(kvm: bool) -> None:  # noqa: FBT001
    assert ("--disable-kvm" in rig.vng_command(KERNEL, Path("/results"), kvm=kvm)) is not kvm


def test_kvm_without_a_device_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not rig.kvm_works(KERNEL)


def test_missing_programs_are_told_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: None if "qemu" in name else f"/{name}")
    with pytest.raises(RigError, match="hint: apt-get install qemu-system-"):
        rig.check_programs()


def test_machine_without_apt_is_told_what_else_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RigError, match="modprobe ip_vs"):
        rig.fetch_kernel(tmp_path)


def test_impossible_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Kernel:
        raise RigError("no VM here\nhint: try elsewhere")

    monkeypatch.setattr(rig, "ensure_kernel", refuse)
    assert rig.main(["run", "true"]) == rig.EXIT_IMPOSSIBLE
    assert capsys.readouterr().err == "rig: no VM here\nhint: try elsewhere\n"


def test_cached_kernel_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "kns/vm/linux-image-6.1.0-9-amd64_6.1.1_amd64"
    (folder / "boot").mkdir(parents=True)
    (folder / "boot/vmlinuz-6.1.0-9-amd64").touch()
    (folder / "ready").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rig, "check_programs", lambda: None)
    assert rig.ensure_kernel() == Kernel(
        folder / "boot/vmlinuz-6.1.0-9-amd64", folder / "lib/modules/6.1.0-9-amd64"
    )


def test_half_unpacked_kernel_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kns/vm/linux-image-6.1.0-9-amd64_6.1.1_amd64/boot").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rig, "check_programs", lambda: None)
    asked: list[Path] = []

    def fetch(cache: Path) -> Path:
        asked.append(cache)
        raise RigError("asked")

    monkeypatch.setattr(rig, "fetch_kernel", fetch)
    with pytest.raises(RigError, match="asked"):
        rig.ensure_kernel()
    assert asked == [tmp_path / "kns/vm"]


def test_options_are_told_from_paths() -> None:
    arguments = ["-q", "tests/vm/test_rig.py::test_options_are_told_from_paths", "-x", "tests"]
    assert rig.options_of(arguments) == ["-q", "-x"]


def test_reason_to_skip_names_the_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "missing", lambda name: "no ipvs" if name == "ipvs" else "")
    assert features.reason_to_skip(["kernel", "netem", "ipvs"]) == "no ipvs"
    assert features.reason_to_skip(["kernel", "netem"]) == ""
