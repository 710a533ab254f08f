"""What of this machine breaks a real kube-proxy that runs on it. Looks, and changes nothing.

Sources: kubernetes pull request 124152 (the oldest nft and kernel of nftables mode), issues 136786
(nft of the image and of the host) and 142068 (nfacct).
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kns.engine.facts import Fact
from kns.errors import PlatformError
from kns.kernel import nfacct, processes
from kns.kernel.modules import modprobe
from kns.kernel.nfacct import NfacctSupport
from kns.state.requirements import Need

AREA = "kube-proxy"
#: older ones read every table, not only those that they were asked for, and crash on newer ones'
OLDEST_NFT = (1, 0, 1)
#: from here on sets may have what makes nft 1.0.6 crash, which was long in kube-proxy's image
CRASHING_NFT = (1, 1, 3)
OLDEST_KERNEL = (5, 13)
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """Rules of iptables in this netns, IPv4 and IPv6, by the variant that wrote them."""

    legacy: int
    nft: int


def examine_privileged() -> Iterator[Fact]:
    """What only root can tell."""
    yield nfacct_fact(nfacct.support())
    yield variants_fact(RuleCounts(_rules("legacy"), _rules("nft")))


def examine() -> Iterator[Fact]:
    """What anybody can tell."""
    yield kernel_fact(platform.release())
    try:
        said = processes.run(["nft", "--version"], timeout=_SECONDS).stdout
    except PlatformError:
        return
    if _numbers(said):
        yield nft_fact(said)


# -- what was seen ---------------------------------------------------------------------------------


def kernel_fact(release: str) -> Fact:
    """Whether kube-proxy takes the kernel for its mode nftables."""
    oldest = ".".join(map(str, OLDEST_KERNEL))
    ok = _numbers(release)[:2] >= OLDEST_KERNEL
    mend = "" if ok else "a newer kernel, or another mode"
    return _fact("kernel", f"nftables mode: Linux {oldest} or newer", f"Linux {release}", mend)


def nft_fact(said: str) -> Fact:
    """Whether the host's nft and that of kube-proxy's image can read each other's tables."""
    numbers = _numbers(said)
    version = ".".join(map(str, numbers))
    found, mend = version, ""
    if numbers < OLDEST_NFT:
        found = f"{version}, which may crash on tables of newer ones"
        mend = f"nftables {'.'.join(map(str, OLDEST_NFT))} or newer"
    elif numbers >= CRASHING_NFT:
        found = f"{version}: nft 1.0.6 of a kube-proxy's image may crash on its sets"
        mend = "an image of kube-proxy with nft 1.0.6.1 or newer"
    return _fact("nft versions", "nftables mode: host and image read each other", found, mend)


def nfacct_fact(found: NfacctSupport) -> Fact:
    """kube-proxy asks for the objects alone, and without the match no rule is loaded."""
    broken = found is NfacctSupport.OBJECTS
    mend = modprobe("xt_nfacct") if broken else ""
    text = f"{found}: no rule is loaded" if broken else str(found)
    return _fact("nfacct", "iptables mode, since 1.31", text, mend)


def variants_fact(counts: RuleCounts) -> Fact:
    """Rules of both variants are applied to each packet, and each program lists its own alone."""
    both = bool(counts.legacy and counts.nft)
    found = f"rules: {counts.legacy} legacy, {counts.nft} nft"
    mend = "move the rules of iptables-legacy-save to iptables-nft, or the other way round"
    return _fact("iptables variants", "iptables mode: one of legacy and nft", found, mend * both)


def _fact(name: str, use: str, found: str, mend: str) -> Fact:
    return Fact(AREA, name, Need.OPTIONAL, ok=not mend, use=use, found=found, mend=mend)


def _numbers(text: str) -> tuple[int, ...]:
    """The first version in the text."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


# -- looking ---------------------------------------------------------------------------------------


def _rules(variant: str) -> int:
    """The rules that a variant's programs list here; 0 where they are missing."""
    count = 0
    for program in (f"iptables-{variant}-save", f"ip6tables-{variant}-save"):
        try:
            said = processes.run([program], timeout=_SECONDS).stdout
        except PlatformError:
            continue
        count += sum(line.startswith("-A ") for line in said.splitlines())
    return count
