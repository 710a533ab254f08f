"""How kns was called, for the hints that tell how to call it again."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

#: where sudo looks for programs, whatever the caller's PATH is (Debian's secure_path)
_SUDO_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def as_root(arguments: Sequence[str] | None = None) -> str:
    """The command line that does the same as root, or that runs kns with these arguments."""
    words = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["sudo", *_program(Path(sys.argv[0])), *words])


def _program(called: Path) -> tuple[str, ...]:
    """The words by which sudo finds this very program: `kns` alone only where its PATH has it."""
    if called.suffix == ".py":
        return (sys.executable, "-m", "kns.cli.main")
    found = shutil.which(called.name, path=_SUDO_PATH)
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return (called.name,)
    try:
        return (str(called.absolute().relative_to(Path.cwd())),)
    except ValueError:
        return (str(called.absolute()),)
