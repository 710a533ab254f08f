"""The certificates of a lab's Ingresses: a CA of the lab's own, made with openssl, once.

    tls/ca.pem, ca.key          the lab's CA
    tls/NAME.pem, NAME.key      a certificate that it signed, or a Secret's
    tls/trusted.pem             what the lab's clients trust

Folder 0700, files 0600: the files of the lab are its owner's alone. P-256 keys take openssl a few
milliseconds; RSA keys would take the time in which the whole lab is built.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shlex import join, quote

from kns.cluster.ingress import Certificate, certificates
from kns.cluster.model import Cluster
from kns.compile.paths import LabPaths
from kns.engine.private import ensure_folder, write_private
from kns.errors import PlatformError, Problem, SpecError
from kns.kernel import processes
from kns.kinds.secret import TLSSecret
from kns.plan.here_document import write_file

#: a lab does not live so long
_DAYS = "3650"
_CONFIG = """\
[req]
distinguished_name = name
prompt = no
x509_extensions = extensions
[name]
O = kns
CN = {name}
[extensions]
subjectKeyIdentifier = hash
{extensions}
"""
_CA = """\
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign"""
_SERVER = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = @names
[names]
DNS.1 = {host}"""


def check(cluster: Cluster) -> None:
    """SpecError for each TLS Secret whose certificate and key nginx would refuse."""
    secrets = (item.secret for item in certificates(cluster) if item.secret is not None)
    problems = [
        Problem(
            cluster.name, 0, 0, f"Secret {secret.namespace}/{secret.name}", message,
            "openssl x509 -noout -text, and openssl pkey -noout -text, show what they are",
        )
        for secret in secrets
        if (message := _objection(secret))
    ]  # fmt: skip
    if problems:
        raise SpecError(tuple(problems))


def _objection(secret: TLSSecret) -> str:
    """Why the parts of a Secret don't make a server's certificate; empty if they do."""
    shown = processes.run(["openssl", "x509", "-noout", "-pubkey"], input=secret.certificate)
    if shown.returncode:
        return "tls.crt is no certificate that openssl can read"
    # an empty passphrase, for openssl would ask the terminal for the one of an encrypted key
    made = processes.run(["openssl", "pkey", "-pubout", "-passin", "pass:"], input=secret.key)
    if made.returncode:
        return "tls.key is no private key that openssl can read (nor may it be encrypted)"
    if shown.stdout != made.stdout:
        return "tls.key is not the key of tls.crt"
    return ""


def ensure(cluster: Cluster, paths: LabPaths) -> None:
    """Make what is missing; what is there is kept, so that clients may go on trusting it."""
    if cluster.api_server is not None:
        ensure_ca(paths, cluster.name)
    wanted = certificates(cluster)
    if not wanted:
        return
    ensure_folder(paths.tls)
    _make_missing(paths.tls, _configs(cluster, wanted))
    trusted = [(paths.tls / "ca.pem").read_text(encoding="ascii")]
    for item in wanted:
        if item.secret is not None:
            _write_secret(paths.tls, item, item.secret)
            trusted.append(item.secret.certificate)
    write_private(paths.trusted, "\n".join(trusted))
    _remove_other_secrets(paths.tls, {item.name for item in wanted})


def ensure_server(paths: LabPaths, lab: str, name: str, names: Iterable[str]) -> tuple[Path, Path]:
    """A certificate of the lab's CA for the DNS names and addresses, and its key; made once."""
    ensure_folder(paths.tls)
    listed = "\n".join(_alternative(number, item) for number, item in enumerate(names, 1))
    extensions = _SERVER.partition("DNS.1")[0] + listed
    config = _CONFIG.format(name=name, extensions=extensions)
    _make_missing(paths.tls, (_ca_config(lab), (name, config)))
    return paths.tls / f"{name}.pem", paths.tls / f"{name}.key"


def trusted(paths: LabPaths) -> str:
    """The file of what the lab's clients trust; empty if the lab has no certificate yet."""
    files = (paths.trusted, paths.tls / "ca.pem")
    return next((str(file) for file in files if file.exists()), "")


def ensure_ca(paths: LabPaths, lab: str) -> Path:
    """The certificate of the lab's CA; made once. PlatformError without openssl."""
    ensure_folder(paths.tls)
    _make_missing(paths.tls, (_ca_config(lab),))
    return paths.tls / "ca.pem"


def _alternative(number: int, name: str) -> str:
    """A line of openssl's subjectAltName."""
    try:
        return f"IP.{number} = {ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS.{number} = {name}"


def _ca_config(lab: str) -> tuple[str, str]:
    return "ca", _CONFIG.format(name=f"CA of the lab {lab}"[:64], extensions=_CA)


def commands(cluster: Cluster, paths: LabPaths) -> Iterator[str]:
    """The shell commands that make what is missing."""
    wanted = certificates(cluster)
    if not wanted:
        return
    folder = paths.tls
    yield f"mkdir -p {quote(str(folder))}"
    for name, config in _configs(cluster, wanted):
        made = {suffix: folder / f"{name}.{suffix}" for suffix in ("cnf", "key", "pem")}
        yield write_file(str(made["cnf"]), config)
        missing = f"[ -e {quote(str(made['pem']))} ]"
        yield f"{missing} || {join(_openssl(folder, name, made))} 2>/dev/null"
    trusted = ["ca"]
    for item in wanted:
        if item.secret is not None:
            trusted.append(item.name)
            yield write_file(str(folder / f"{item.name}.key"), item.secret.key)
            yield write_file(str(folder / f"{item.name}.pem"), item.secret.certificate)
    files = join(str(folder / f"{name}.pem") for name in trusted)
    yield f"cat {files} >{quote(str(paths.trusted))}"


def _configs(cluster: Cluster, wanted: Iterable[Certificate]) -> Iterator[tuple[str, str]]:
    """The lab's CA, and what it signs: the name of the files, and openssl's configuration."""
    yield _ca_config(cluster.name)
    for item in wanted:
        if item.secret is None:
            extensions = _SERVER.format(host=item.host)
            yield item.name, _CONFIG.format(name="kns Ingress", extensions=extensions)


def _is_there(folder: Path, name: str) -> bool:
    # the key is renamed into place first
    return (folder / f"{name}.pem").exists() and (folder / f"{name}.key").exists()


def _make_missing(folder: Path, configs: Iterable[tuple[str, str]]) -> None:
    wanted = tuple(configs)
    if all(_is_there(folder, name) for name, _ in wanted):
        return
    # the agent and a command may want the first one at the same time: of two CAs one is lost
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, config in wanted:
            if not _is_there(folder, name):
                _make(folder, name, config)
    finally:
        os.close(lock)


def _make(folder: Path, name: str, config: str) -> None:
    """A key and its certificate, signed by the CA; the CA's own is signed by itself."""
    made = {suffix: folder / f".{name}.{suffix}" for suffix in ("cnf", "key", "pem")}
    write_private(made["cnf"], config)
    done = processes.run(_openssl(folder, name, made))
    if done.returncode:
        raise PlatformError(
            f"openssl can't make a certificate: {done.stderr.strip()[-300:]}",
            hint="openssl 3.0 or later is needed: openssl version",
        )
    for suffix in ("key", "pem"):
        made[suffix].chmod(0o600)
        made[suffix].replace(folder / f"{name}.{suffix}")
    made["cnf"].unlink()


def _openssl(folder: Path, name: str, made: Mapping[str, Path]) -> list[str]:
    ca = [] if name == "ca" else ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key")]
    return [
        *("openssl", "req", "-x509", "-new", "-noenc", "-sha256", "-days", _DAYS),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-config", str(made["cnf"]), *ca),
        *("-keyout", str(made["key"]), "-out", str(made["pem"])),
    ]


def _write_secret(folder: Path, item: Certificate, secret: TLSSecret) -> None:
    if not _is_there(folder, item.name):
        write_private(folder / f"{item.name}.key", secret.key)
        write_private(folder / f"{item.name}.pem", secret.certificate)


def _remove_other_secrets(folder: Path, wanted: set[str]) -> None:
    for path in folder.glob("secret.*"):
        if path.name.removesuffix(path.suffix) not in wanted:
            path.unlink()
