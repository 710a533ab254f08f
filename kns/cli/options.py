"""kube-proxy's modes, and other values that several verbs take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import click

from kns.errors import UsageError
from kns.kinds.networking import ProxyMode
from kns.kinds.release import Release

Function = TypeVar("Function", bound=Callable[..., object])
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
#: seconds for which anything may be asked to last
_LONGEST = 3600.0


def one_mode(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> ProxyMode | None:
    """A mode of kube-proxy, where one is named."""
    return ProxyMode(value) if value else None


def proxy_mode_option(function: Function) -> Function:
    """`--proxy-mode M`: kube-proxy's mode, in place of the file's."""
    return click.option(
        "--proxy-mode",
        type=click.Choice([str(mode) for mode in ProxyMode]),
        callback=one_mode,
        help="kube-proxy's mode, in place of the file's.",
    )(function)


def one_release(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> Release | None:
    """A release of kube-proxy, where one is named."""
    return Release(value) if value else None


def release_option(function: Function) -> Function:
    """`--kube-proxy-version V`: kube-proxy's release, in place of the file's."""
    return click.option(
        "--kube-proxy-version",
        "release",
        type=click.Choice([str(release) for release in Release]),
        callback=one_release,
        help="kube-proxy's release, in place of the file's.",
    )(function)


def several_modes(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> tuple[ProxyMode, ...]:
    """Modes of kube-proxy, separated by commas."""
    known = [str(mode) for mode in ProxyMode]
    for item in value.split(","):
        if item not in known:
            raise click.BadParameter(f"{item!r} is none of {', '.join(known)}")
    return tuple(dict.fromkeys(ProxyMode(item) for item in value.split(",")))


def modes_option(function: Function) -> Function:
    """`--modes M,N`: all of kube-proxy's modes unless said otherwise."""
    return click.option(
        "--modes",
        default=",".join(ProxyMode),
        show_default=True,
        callback=several_modes,
        help="kube-proxy's modes, separated by commas.",
    )(function)


def duration(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    """The seconds in `10s`, `500ms`, `2m` or a bare number. UsageError if it is no such time."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", value.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"{value!r} is no time from 1ms to 60m", hint="10s, 500ms, 2m")
    return seconds


def waiting_option(default: float, words: str) -> Callable[[Function], Function]:
    """`--timeout SECONDS`: how long to wait."""
    return click.option(
        "--timeout",
        default=default,
        show_default=True,
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help=words,
    )
