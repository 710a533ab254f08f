"""A rule of iptables as a value: what `iptables-save` prints behind `-A CHAIN`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import lru_cache

#: options without a value (man iptables-extensions); all others have one, but for `_TWO_VALUES`
_FLAGS = frozenset({
    "--rcheck", "--update", "--set", "--remove", "--reap", "--rttl", "--rsource", "--rdest",
    "--random", "--random-fully", "--persistent", "--limit-iface-in", "--limit-iface-out",
    "--return-nomatch", "--save-mark", "--restore-mark", "--notrack", "--syn",
    "--physdev-is-in", "--physdev-is-out", "--physdev-is-bridged",
})  # fmt: skip
_TWO_VALUES = frozenset({"--match-set", "--tcp-flags"})


@dataclass(frozen=True, slots=True)
class Option:
    """An option with its values: a match of the packet, or what a target does."""

    name: str
    values: tuple[str, ...] = ()
    inverted: bool = False

    @property
    def value(self) -> str:
        """Its first value; nothing where it has none."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: `options` of its matches, then its target (a chain or an extension) and that's own.

    `goto` tells `-g` from `-j`. A rule without target only counts.
    """

    options: tuple[Option, ...]
    target: str = ""
    goto: bool = False
    target_options: tuple[Option, ...] = ()

    @property
    def comment(self) -> str:
        """The text of its comment, or nothing."""
        found = (item.value for item in self.options if item.name == "--comment")
        return next(found, "")

    def target_option(self, name: str) -> str:
        """The value of an option of its target, or nothing."""
        return next((item.value for item in self.target_options if item.name == name), "")


@lru_cache(maxsize=65536)
def parse_rule(text: str) -> Rule:
    """The rule that stands in a `Chain`, without the leading `-A CHAIN`.

    Raises ValueError if it breaks off, with a quote or an option's value missing.
    """
    try:
        return _parse(shlex.split(text))
    except (StopIteration, ValueError):
        raise ValueError(f"not a rule of iptables: {text}") from None


def _parse(text: list[str]) -> Rule:
    words = iter(text)
    options: list[Option] = []
    target_options: list[Option] = []
    target, goto, inverted = "", False, False
    for word in words:
        if word == "!":
            inverted = True
        elif word in ("-j", "-g"):
            target, goto = next(words), word == "-g"
        elif word == "-m":
            next(words)
        else:
            count = 0 if word in _FLAGS else 2 if word in _TWO_VALUES else 1
            values = tuple([next(words) for _ in range(count)])
            (target_options if target else options).append(Option(word, values, inverted))
            inverted = False
    return Rule(tuple(options), target, goto, tuple(target_options))
