"""Debian's packages, unpacked in a cache and not installed."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.vm.machine import RigError, environment


def cache_folder() -> Path:
    """Where kernels are unpacked."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kns" / "vm"


def cached(pattern: str) -> Path | None:
    """The unpacked package of such a name, the newest one; None if there is none."""
    ready = sorted(cache_folder().glob(f"{pattern}/ready"))
    return ready[-1].parent if ready else None


def unpacked(package: str, cache: Path, finish: Callable[[Path], None]) -> Path:
    """Download the package and unpack it into a folder of the cache; atomic."""
    cache.mkdir(parents=True, exist_ok=True)
    print(f"rig: fetching {package} into {cache}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        scratch = Path(name)
        output("apt-get", "download", package, folder=scratch)
        archive = next(scratch.glob("*.deb"))
        target = scratch / archive.stem
        output("dpkg-deb", "-x", str(archive), str(target))
        finish(target)
        (target / "ready").touch()
        final = cache / archive.stem
        if not final.exists():
            target.rename(final)
    return final


def output(*command: str, folder: Path | None = None) -> str:
    """What a program prints; RigError with its own words if it fails."""
    env = {**environment(), "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RigError(f"{shlex.join(command)}: {done.stderr.strip()}\nhint: apt-get update")
    return done.stdout
