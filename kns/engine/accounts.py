"""What a pod's service account is given: the files by which client libraries find the API.

    api/accounts/NAMESPACE.ACCOUNT/    token, ca.crt, namespace; made when a pod first needs them

All pods of an account share them: a token is good as long as its account.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from kns.compile.paths import LabPaths
from kns.engine import certificates
from kns.engine.private import ensure_folder, write_private
from kns.kernel.mounts import RunFiles

#: where client libraries look for them, below /var/run: client-go's rest/config.go
PLACE = "secrets/kubernetes.io/serviceaccount"


def account_token(paths: LabPaths, namespace: str, account: str) -> str:
    """The token of a service account: made when it is asked for first, and anew after `renew`."""
    file = _folder(paths, namespace, account) / "token"
    if not file.exists():
        ensure_folder(file.parent)
        write_private(file, f"{namespace}.{account}.{os.urandom(32).hex()}")
    return file.read_text(encoding="utf-8")


def renew(paths: LabPaths, namespace: str, account: str) -> None:
    """Forget the token of an account that is gone: its pods find one for the account's successor.

    A token is an account's, not a name's: the real ones bear its uid.
    """
    file = _folder(paths, namespace, account) / "token"
    if file.exists():
        file.unlink()
        account_token(paths, namespace, account)


def _folder(paths: LabPaths, namespace: str, account: str) -> Path:
    # a name may be any text by now
    return paths.api / "accounts" / f"{namespace}.{quote(account, safe='')}"


def files(paths: LabPaths, account: str) -> RunFiles | None:
    """The files of `NAMESPACE/ACCOUNT`; None for a pod that is given none, whose `account` is "".

    PlatformError without openssl.
    """
    if not account:
        return None
    namespace, _, name = account.partition("/")
    path = _folder(paths, namespace, name)
    account_token(paths, namespace, name)
    authority = certificates.ensure_ca(paths, paths.lab).read_text(encoding="ascii")
    wanted = {"ca.crt": authority, "namespace": namespace}
    for file, text in wanted.items():
        if not (path / file).exists() or (path / file).read_text(encoding="utf-8") != text:
            write_private(path / file, text)
    return RunFiles(path, PLACE)
