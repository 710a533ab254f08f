"""What a pod's service account is given: the files by which client libraries find the API.

    api/accounts/NAMESPACE.ACCOUNT/    token, ca.crt, namespace; made when a pod first needs them

All pods of an account share them: a token is good as long as the lab.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

from kns.compile.paths import LabPaths
from kns.engine import api_access, certificates
from kns.engine.private import ensure_folder, write_private
from kns.kernel.mounts import RunFiles

#: where client libraries look for them, below /var/run: client-go's rest/config.go
PLACE = "secrets/kubernetes.io/serviceaccount"


def account_token(secret: str, namespace: str, account: str) -> str:
    """The token of a service account, made from the owner's: who has that can make it."""
    subject = f"{namespace}.{account}"
    signature = hmac.new(secret.encode(), subject.encode(), hashlib.sha256).hexdigest()
    return f"{subject}.{signature}"


def files(paths: LabPaths, account: str) -> RunFiles | None:
    """The files of `NAMESPACE/ACCOUNT`; None for a pod that is given none, whose `account` is "".

    PlatformError without openssl.
    """
    if not account:
        return None
    namespace, _, name = account.partition("/")
    # a name may be any text by now
    path = paths.api / "accounts" / f"{namespace}.{quote(name, safe='')}"
    ensure_folder(path)
    authority = certificates.ensure_ca(paths, paths.lab).read_text(encoding="ascii")
    wanted = {
        "token": account_token(api_access.token(paths), namespace, name),
        "ca.crt": authority,
        "namespace": namespace,
    }
    for file, text in wanted.items():
        if not (path / file).exists() or (path / file).read_text(encoding="utf-8") != text:
            write_private(path / file, text)
    return RunFiles(path, PLACE)
