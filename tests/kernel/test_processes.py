"""Programs that are run in a netns: what keeps them from it is told."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from kns.errors import PlatformError
from kns.kernel import netns, processes, syscalls


def test_in_a_chroot_that_is_no_mount_point_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(syscalls, "mount", refuse)
    monkeypatch.setattr(syscalls, "unshare", lambda _flags: None)
    monkeypatch.setattr(netns, "enter", lambda _name: None)
    with pytest.raises(PlatformError, match="no mount point") as caught:
        processes.enter(processes.Context("kns.lab.pod1", hostname="pod1"))
    assert "mount --bind" in caught.value.hint


def test_a_package_that_starts_a_daemon_is_named_with_a_way_to_keep_it_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    with pytest.raises(PlatformError) as caught:
        processes.which("nginx")
    assert caught.value.hint.startswith("systemctl mask nginx; apt-get install nginx-light")


def test_a_program_that_is_slow_to_read_gets_all_of_its_input() -> None:
    """More than a pipe holds, read later than the first look at whether to stop."""
    text = "x" * 300_000
    done = processes.run(
        ["sh", "-c", "sleep 0.3; wc -c"], timeout=20.0, input=text, stop=threading.Event()
    )
    assert done.failure == ""
    assert done.stdout.strip() == str(len(text))
