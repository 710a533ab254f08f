"""User-mode Linux: Debian's kernel with IPVS, netem and dummy links as a program of this machine.

It translates system calls instead of instructions, so Python computes at the machine's own speed,
where QEMU without KVM takes twenty times as long. It has one CPU, and Debian's configuration of it
carries no nftables rules of IPv4 and IPv6: iptables is the legacy variant in there, and the tests
marked `nftables` need another kernel.

Source: package user-mode-linux (its config.gz: CONFIG_NF_TABLES_IPV4 is not set);
https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html for the command line.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.vm.machine import PROJECT, RigError, boots
from tests.vm.packages import cache_folder, cached, unpacked

PACKAGE = "user-mode-linux"
#: pytest's marker of what it can't run
BEYOND = "nftables"
#: the first program in there
_INIT = Path(__file__).with_name("uml_init.sh")


def usable() -> Path | None:
    """The package of user-mode Linux, if it can be had and boots: it needs ptrace."""
    # Debian has the package for x86 alone
    if platform.machine() != "x86_64":
        return None
    try:
        found = package()
    except RigError as error:
        print(f"rig: no user-mode Linux: {error}", file=sys.stderr)
        return None
    return found if boots(lambda folder: command(found, folder)) else None


def package() -> Path:
    """User-mode Linux from the cache, fetched and unpacked the first time."""
    return cached(f"{PACKAGE}_*") or unpacked(PACKAGE, cache_folder(), lambda _: None)


def command(kernel: Path, results: Path) -> list[str]:
    """The program that boots on this machine's files, read-only, and runs `results`/command.

    `kernel` is the unpacked package. What the kernel doesn't know of its command line becomes the
    environment of its first program.
    """
    environment = {
        "KNS_RESULTS": results,
        "KNS_PROJECT": PROJECT,
        "KNS_MODULES": kernel / "usr/lib/uml/modules",
    }
    return [
        str(kernel / "usr/bin/linux.uml"),
        *("mem=2G", "quiet", "rootfstype=hostfs", "rootflags=/", "ro", f"init={_INIT}"),
        *("con=null", "con0=null,fd:1", f"uml_dir={results}"),
        *_quoted(environment),
    ]


def _quoted(environment: Mapping[str, Path]) -> list[str]:
    """The kernel cuts its command line at blanks outside of double quotes."""
    return [f'{name}="{path}"' for name, path in environment.items()]
