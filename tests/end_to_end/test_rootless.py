"""Without root: a lab in a user namespace of its own, by the command that `kns up` tells."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from kns.kernel import rootless
from tests.cli.process import AS_NOBODY, KNS, lab_text

pytestmark = pytest.mark.kernel

#: both of the modes that any kernel has
SCRIPT = """\
set -e
KNS up FILE
KNS verify
KNS up FILE --proxy-mode nftables
KNS verify
KNS down
test -z "$(ls -A /run/netns)"
"""


@pytest.mark.skipif(not rootless.is_allowed(), reason="this machine allows no user namespaces")
def test_a_lab_is_built_and_proved_in_a_user_namespace(tmp_path: Path) -> None:
    file = tmp_path / "rootless.yaml"
    file.write_text(lab_text("rootless"), encoding="utf-8")
    script = SCRIPT.replace("KNS", shlex.join(KNS)).replace("FILE", str(file))
    done = subprocess.run(
        ["sh", "-c", rootless.COMMAND],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout.count(" 0 failed")) == (0, 2), done.stdout + done.stderr


def test_up_without_root_tells_how_it_works_without() -> None:
    argv = [*AS_NOBODY, *KNS, "up", "four-paths"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert (rootless.COMMAND in done.stderr) == rootless.is_allowed()
