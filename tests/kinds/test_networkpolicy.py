"""NetworkPolicies as they are read: defaults, empty and missing lists, places, warnings."""

from __future__ import annotations

import pytest

from kns.errors import SpecError
from kns.kinds.load import load_lab_text
from kns.kinds.networkpolicy import NetworkPolicy, NetworkPolicyRule, PolicyType
from kns.kinds.selector import LabelSelector, LabelSelectorRequirement, SelectorOperator
from tests.kinds.labs import HEAD, NODES

INGRESS, EGRESS = PolicyType.INGRESS, PolicyType.EGRESS


def policy(spec: str) -> NetworkPolicy:
    """A manifest's and the short form's, which are the same."""
    manifest = (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
        f"spec: {spec}\n"
    )
    (made,) = load_lab_text(f"{HEAD}{NODES}{manifest}").spec.network_policies
    body = spec.strip("{}")
    short = f"networkPolicies: [{{name: p{', ' if body else ''}{body}}}]\n"
    assert load_lab_text(f"{HEAD}{NODES}{short}").spec.network_policies == (made,)
    return made


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ("{}", (INGRESS,)),
        ("{podSelector: {}, policyTypes: []}", (INGRESS,)),
        ("{ingress: []}", (INGRESS,)),
        ("{egress: []}", (INGRESS,)),
        ("{egress: [{}]}", (INGRESS, EGRESS)),
        ("{policyTypes: [Egress], egress: [{}]}", (EGRESS,)),
        ("{policyTypes: [Egress, Ingress]}", (EGRESS, INGRESS)),
    ],
)
def test_directions_that_are_left_out(spec: str, types: tuple[PolicyType, ...]) -> None:
    assert policy(spec).policy_types == types


def test_a_missing_list_of_rules_allows_nothing_an_empty_rule_everything() -> None:
    assert policy("{ingress: null}").ingress == policy("{ingress: []}").ingress == ()
    everything = (NetworkPolicyRule(),)
    for written in ("{}", "{from: []}", "{from: null, ports: null}", "{ports: []}"):
        assert policy(f"{{ingress: [{written}]}}").ingress == everything


def test_a_null_rule_is_an_empty_one_to_the_api_server_and_a_slip_in_the_lab_document() -> None:
    manifest = (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
        "spec:\n  podSelector: {}\n  ingress:\n  -\n"
    )
    (made,) = load_lab_text(f"{HEAD}{NODES}{manifest}").spec.network_policies
    assert [(rule.peers, rule.ports) for rule in made.ingress] == [((), ())]
    with pytest.raises(SpecError) as refused:
        load_lab_text(f"{HEAD}{NODES}networkPolicies: [{{name: p, ingress: [null]}}]\n")
    assert refused.value.problems[0].message == "must be a mapping, not null"


def test_an_empty_selector_is_not_a_missing_one() -> None:
    (rule,) = policy("{ingress: [{from: [{podSelector: {}, namespaceSelector: null}]}]}").ingress
    assert rule.peers[0].pod_selector == LabelSelector()
    assert rule.peers[0].namespace_selector is None


def test_a_policy_and_its_rules_know_where_they_stand() -> None:
    text = (
        f"{HEAD}{NODES}networkPolicies:\n- name: p\n  ingress:\n  - from: [{{podSelector: {{}}}}]\n"
        "  - {}\n  egress:\n  - {}\n"
    )
    (made,) = load_lab_text(text).spec.network_policies
    line = text.partition("- name: p")[0].count("\n") + 1
    places = [made.place, *(rule.place for rule in (*made.ingress, *made.egress))]
    assert places == [f"lab.yaml:{line + more}" for more in (0, 2, 3, 5)]


@pytest.mark.parametrize(
    ("operator", "values", "fitting"),
    [
        (SelectorOperator.IN, ("a", "b"), [{"x": "a"}]),
        (SelectorOperator.NOT_IN, ("a", "b"), [{"x": "c"}, {}]),
        (SelectorOperator.EXISTS, (), [{"x": "a"}, {"x": "c"}]),
        (SelectorOperator.DOES_NOT_EXIST, (), [{}]),
    ],
)
def test_requirements(
    operator: SelectorOperator, values: tuple[str, ...], fitting: list[dict[str, str]]
) -> None:
    selector = LabelSelector({}, (LabelSelectorRequirement("x", operator, values),))
    labels: list[dict[str, str]] = [{"x": "a"}, {"x": "c"}, {}]
    assert [item for item in labels if selector.matches(item)] == fitting


def warnings(policy: str, pods: str = "pods: [{name: a}]\n") -> list[str]:
    found = load_lab_text(f"{HEAD}{NODES}{pods}networkPolicies:\n- {policy}\n").warnings
    return [f"{item.path}: {item.message}" for item in found]


def test_a_policy_that_selects_nobody_is_told() -> None:
    selector = "podSelector: {matchLabels: {app: web}}"
    assert warnings(f"{{name: p, {selector}}}") == [
        "networkPolicies[0].podSelector: matches no pod of namespace default"
    ]
    assert warnings("{name: p}") == []


def test_rules_of_a_direction_that_is_not_isolated_are_told() -> None:
    assert warnings("{name: p, policyTypes: [Egress], ingress: [{}]}") == [
        "networkPolicies[0].ingress: has no effect: policyTypes leaves out Ingress"
    ]


def test_bits_beyond_a_prefix_are_taken_as_the_api_server_takes_them() -> None:
    block = "{ipBlock: {cidr: 10.0.0.7/8, except: [10.1.0.0/16, 10.2.0.1/16]}}"
    found = warnings(f"{{name: p, egress: [{{to: [{block}]}}]}}")
    assert [item.partition(": ")[2] for item in found] == [
        "bits set beyond the prefix: it means 10.0.0.0/8",
        "bits set beyond the prefix: it means 10.2.0.0/16",
    ]
