"""QEMU, by virtme-ng: Debian's kernel with this machine's files, under KVM where that works."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.vm.machine import PROJECT, RigError, boots, environment
from tests.vm.packages import cache_folder, cached, output, unpacked

GUEST_SCRIPT = Path(__file__).with_name("guest.sh")
#: the guest has a /tmp and /run of its own, which would hide a checkout below this machine's
GUEST_COMMAND = (
    "mkdir -p /run/project"
    " && mount -t 9p -o trans=virtio,msize=512000,cache=loose,ro project /run/project"
    f" && exec /run/project/tests/vm/guest.sh {shlex.quote(str(PROJECT))}"
)
#: program → Debian package
PROGRAMS = {
    **{
        "x86_64": {"qemu-system-x86_64": "qemu-system-x86"},
        "aarch64": {"qemu-system-aarch64": "qemu-system-arm"},
    }.get(platform.machine(), {}),
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    modules: Path


def command(kernel: Kernel, folder: Path, *, kvm: bool) -> list[str]:
    """Virtme-ng's command line for a machine that runs `folder`/command."""
    return [*vng_command(kernel, folder, kvm=kvm), "--", GUEST_COMMAND]


def vng_command(kernel: Kernel, folder: Path, *, kvm: bool) -> list[str]:
    """Virtme-ng's command line, without what to run."""
    shares = {
        "host": ("/", ",readonly=on"),
        "project": (str(PROJECT), ",readonly=on"),
        "results": (str(folder), ""),
    }
    opts = " ".join(
        f"-fsdev local,id={tag},path={path},security_model=none,multidevs=remap{mode}"
        f" -device virtio-9p-pci,fsdev={tag},mount_tag={tag}"
        for tag, (path, mode) in shares.items()
    )
    return [
        *("vng", "--run", str(kernel.image), "--force-9p", "--user", "root"),
        *("--cpus", "2", "--memory", "2G", f"--qemu-opts={opts}"),
        *(() if kvm else ("--disable-kvm",)),
    ]


@functools.cache
def kvm_works() -> bool:
    """True if a guest really boots under KVM: a readable /dev/kvm promises less than that."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    kernel = ensure_kernel()
    return boots(lambda folder: command(kernel, folder, kvm=True))


def ensure_kernel() -> Kernel:
    """Debian's kernel from the cache, fetched and unpacked the first time."""
    check_programs()
    folder = cached("linux-image-*") or fetch_kernel(cache_folder())
    image = next((folder / "boot").glob("vmlinuz-*"))
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(image, folder / "lib/modules" / version)


def check_programs() -> None:
    """RigError with the line that installs what is missing."""
    path = environment()["PATH"]
    packages = sorted({p for name, p in PROGRAMS.items() if shutil.which(name, path=path) is None})
    hints = [f"apt-get install {' '.join(packages)}"] if packages else []
    if shutil.which("vng", path=path) is None:
        hints.append(f"{sys.executable} -m pip install virtme-ng")
    if hints:
        raise RigError("no VM without QEMU and virtme-ng\nhint: " + " && ".join(hints))


def fetch_kernel(cache: Path) -> Path:
    """Download the package that linux-image-ARCH depends on and unpack it; atomic."""
    if shutil.which("apt-get") is None:
        raise RigError(
            "the VM's kernel comes from Debian's packages, and there is no apt-get here\n"
            "hint: a kernel with IPVS, netem, dummy links and SCTP needs no VM: modprobe ip_vs"
        )
    arch = output("dpkg", "--print-architecture").strip()
    depends = output("apt-cache", "depends", f"linux-image-{arch}")
    package = next(
        (line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line), ""
    )
    if not package:
        raise RigError(f"apt knows no linux-image-{arch}\nhint: apt-get update")
    return unpacked(package, cache, _index_modules)


def _index_modules(package: Path) -> None:
    version = next((package / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")
    output("depmod", "-b", str(package), version)
