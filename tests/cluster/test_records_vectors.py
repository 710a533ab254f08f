"""The cluster zone against CoreDNS' own test cases, all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kns.cluster.records import Rcode, Record, ZoneAnswer
from kns.cluster.zone import ClusterZone
from tests.cluster.dns_vectors import Case, cases, normalised

#: what the test's upstream knows, as in CoreDNS' own test of the case
UPSTREAM = {("ext.interwebs.test.", "A"): Record("ext.interwebs.test.", "A", 5, "1.2.3.4")}


def _completed(answer: ZoneAnswer, qtype: str) -> ZoneAnswer:
    """The answer with the pending target looked up, which is the server's part."""
    if not answer.pending:
        return answer
    return replace(answer, answer=(*answer.answer, UPSTREAM[answer.pending, qtype]))


def _texts(records: tuple[Record, ...]) -> tuple[str, ...]:
    return tuple(sorted(normalised(str(record)) for record in records))


def test_all_79_cases_are_there() -> None:
    assert len(cases()) == 79


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_lookup_answers_as_coredns(case: Case) -> None:
    answer = ClusterZone(case.cluster, case.options).lookup(case.qname, case.qtype)
    assert answer is not None
    answer = _completed(answer, case.qtype)
    assert (
        answer.rcode,
        _texts(answer.answer),
        _texts(answer.authority),
        _texts(answer.additional),
    ) == (Rcode(case.rcode), case.answer, case.authority, case.additional)
