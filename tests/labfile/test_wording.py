"""Hints that name what may have been meant."""

from __future__ import annotations

import difflib
import random

import pytest

from kns.labfile.wording import did_you_mean

WORDS = ("web", "database", "frontend", "metrics-server", "podSubnet", "NodePort", "app=web")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("wbe", 'did you mean "web"?'),
        ("Databse", 'did you mean "database"?'),
        ("podsubnets", 'did you mean "podSubnet"?'),
        ("app=wbe", 'did you mean "app=web"?'),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_closest_word_is_named(word: str, hint: str) -> None:
    assert did_you_mean(word, WORDS) == hint
    assert did_you_mean(word, ()) == ""


def test_of_many_words_it_is_the_one_that_a_full_comparison_finds() -> None:
    """A typo in one of 900 names: never worse than difflib over all of them."""
    chance = random.Random(7)
    syllables = ("web", "db", "api", "shop", "cart", "auth", "log", "mail", "pay", "node")
    known = sorted(
        {f"{chance.choice(syllables)}-{chance.choice(syllables)}-{n}" for n in range(900)}
    )
    for _ in range(40):
        word = list(chance.choice(known))
        at = chance.randrange(len(word) - 1)
        word[at], word[at + 1] = word[at + 1], word[at]
        text = "".join(word)
        named = did_you_mean(text, known).removeprefix('did you mean "').removesuffix('"?')
        (best,) = difflib.get_close_matches(text, known, n=1, cutoff=0.6)
        matcher = difflib.SequenceMatcher(None, "", text)
        scores = []
        for item in (named, best):
            matcher.set_seq1(item)
            scores.append(matcher.ratio())
        assert scores[0] == scores[1], (text, named, best)
