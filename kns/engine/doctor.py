"""What this machine can and can't do: every fact tried out, each with the command that mends it.

Kernel features are tried in a throw-away netns (`unshare --net PROGRAM …`), because what a kernel
says of itself differs from what it does: a feature may be built in, a module loaded, a module that
is loaded on demand, or one whose package is missing.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kns.compile.requirements import FEATURES, TOOLS
from kns.engine import real_proxy
from kns.engine.facts import Fact
from kns.errors import PlatformError
from kns.invocation import as_root
from kns.kernel import processes, rootless
from kns.kernel.features import tried
from kns.kernel.modules import modprobe
from kns.state.requirements import Feature, Need, Tool

#: linux/capability.h
CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
#: the first kernel with everything that kns asks of rtnetlink: Debian 11's, Ubuntu 22.04's is newer
OLDEST_KERNEL = (5, 10)
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Every fact, in the order in which they are told."""

    facts: tuple[Fact, ...]

    @property
    def ok(self) -> bool:
        """True if everything is there that a lab in the default mode wants."""
        return all(fact.ok for fact in self.facts if fact.need is Need.REQUIRED)


def examine(tools: Iterable[Tool] = TOOLS, features: Iterable[Feature] = FEATURES) -> Diagnosis:
    """Look at this machine. Without root only the tools and the kernel's version can be told."""
    privileges = _privileges()
    facts = [privileges, _user_namespaces(), _kernel_version()]
    with ThreadPoolExecutor(max_workers=8) as pool:
        pending = [pool.submit(tool_fact, tool) for tool in tools]
        if privileges.ok:
            pending += [pool.submit(_feature, feature) for feature in features]
            pending.append(pool.submit(_bridge_netfilter))
        facts += [future.result() for future in pending]
    facts += real_proxy.examine()
    if privileges.ok:
        facts += real_proxy.examine_privileged()
        facts.append(_neighbor_limit())
    return Diagnosis(tuple(sorted(facts, key=lambda fact: AREAS.index(fact.area))))


AREAS = ("privileges", "kernel", "tools", real_proxy.AREA, "limits")


# -- privileges and version ------------------------------------------------------------------------


def capabilities() -> int:
    """The effective capabilities of this process, as the bits of linux/capability.h."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def is_privileged() -> bool:
    """True if this process may make netns and links."""
    have = capabilities()
    return all(have >> number & 1 for number in (CAP_NET_ADMIN, CAP_SYS_ADMIN))


def _privileges() -> Fact:
    ok = is_privileged()
    return Fact(
        area="privileges",
        name="root",
        need=Need.REQUIRED,
        ok=ok,
        use="make netns, links and rules",
        found=f"uid {os.geteuid()}" + ("" if ok else ", without CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        mend="" if ok else as_root(),
    )


def _user_namespaces() -> Fact:
    """Debian's and Ubuntu's switches are told where they are what forbids it."""
    ok = rootless.is_allowed()
    switches = (
        ("kernel/unprivileged_userns_clone", 1),
        ("kernel/apparmor_restrict_unprivileged_userns", 0),
    )
    mend = [
        f"sysctl -w {name.replace('/', '.')}={value}"
        for name, value in switches
        if (file := Path("/proc/sys", name)).exists() and file.read_text().strip() != str(value)
    ]
    return Fact(
        area="privileges",
        name="user namespaces",
        need=Need.OPTIONAL,
        ok=ok,
        use="labs without root: kns up tells how",
        found="allowed" if ok else "not allowed",
        mend="" if ok else ("; ".join(mend) or "ask who runs this machine, or use root"),
    )


def _kernel_version() -> Fact:
    release = platform.release()
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    ok = numbers >= OLDEST_KERNEL
    oldest = ".".join(map(str, OLDEST_KERNEL))
    return Fact(
        area="kernel",
        name="version",
        need=Need.REQUIRED,
        ok=ok,
        use=f"Linux {oldest} or newer",
        found=f"Linux {release} {platform.machine()}",
        mend="" if ok else "apt-get install linux-image-amd64, then reboot",
    )


# -- tools -----------------------------------------------------------------------------------------


def tool_fact(tool: Tool) -> Fact:
    """Whether the program is installed, and its version."""
    try:
        path = processes.which(tool.program)
        found = f"{_version(tool)} ({path})"
        mend = ""
    except PlatformError as error:
        found, mend = "not installed", error.hint
    return Fact(
        area="tools",
        name=tool.program,
        need=tool.need,
        ok=not mend,
        use=tool.use,
        found=found,
        mend=mend,
    )


def _version(tool: Tool) -> str:
    done = processes.run([tool.program, *tool.version], timeout=_SECONDS)
    if done.returncode != 0:  # ipvsadm tells nothing on a kernel without IPVS
        return "installed"
    # the version is the first word that looks like one: `ipset v7.17, …`, `iproute2-6.1.0`
    said = f"{done.stdout}\n{done.stderr}"
    found = re.search(r"\d+\.\d+[\w.]*", said) or re.search(r"\d{8}", said)
    variant = re.search(r"\((nf_tables|legacy)\)", said)
    return " ".join(part[0] for part in (found, variant) if part) or "version unknown"


# -- kernel features -------------------------------------------------------------------------------


def _feature(feature: Feature) -> Fact:
    if feature.shown_by:
        return _shown(feature)
    found, ok = "yes", True
    try:
        done = tried(feature)
    except PlatformError as error:
        return _fact(feature, ok=False, found=f"not tried: {error.message}", mend=error.hint)
    if done.returncode != 0:
        ok = False
        found = _last_line(done.stderr) or f"exit code {done.returncode}"
    return _fact(feature, ok=ok, found=found, mend="" if ok else modprobe(feature.module))


def _shown(feature: Feature) -> Fact:
    """A feature that shows itself by a file once it is built in or loaded."""
    there = (Path("/proc") / feature.shown_by).exists()
    loadable = not there and _is_loadable(feature.module.split()[0])
    found = "yes" if there else "a module, loaded on demand" if loadable else "not in this kernel"
    ok = there or loadable
    return _fact(feature, ok=ok, found=found, mend="" if ok else modprobe(feature.module))


def _fact(feature: Feature, *, ok: bool, found: str, mend: str) -> Fact:
    return Fact(
        area="kernel",
        name=feature.name,
        need=feature.need,
        ok=ok,
        use=feature.use,
        found=found,
        mend=mend,
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _bridge_netfilter() -> Fact:
    """Without br_netfilter the frames that a bridge forwards skip iptables.

    The reply of a backend on the client's own bridge would go straight back, not translated, and
    the client would drop it.
    """
    ok = Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
    return Fact(
        area="kernel",
        name="br_netfilter",
        need=Need.REQUIRED,
        ok=ok,
        use="pod to service to pod on one bridge",
        found="yes" if ok else "not loaded",
        mend="" if ok else modprobe("br_netfilter"),
    )


def _is_loadable(module: str) -> bool:
    try:
        return processes.run(["modprobe", "-n", module], timeout=_SECONDS).returncode == 0
    except PlatformError:
        return False


def _neighbor_limit() -> Fact:
    """The neighbor table is one for the whole kernel, its size settable in the init netns only."""
    file = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
    found = file.read_text(encoding="ascii").strip() if file.exists() else "set outside this netns"
    return Fact(
        area="limits",
        name="neighbors",
        need=Need.OPTIONAL,
        ok=True,
        use="one table for all labs; kns adds permanent entries beyond it",
        found=found,
    )
