"""nginx' configuration: golden files, locations, and that no text of a lab file can be more."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.compile.programs.nginx import Folders, config, quoted
from kns.compile.programs.programs import programs
from kns.kinds.ingress import (
    Ingress,
    IngressBackend,
    IngressPath,
    IngressRule,
    IngressTLS,
    PathType,
)
from kns.kinds.load import load_lab
from kns.kinds.pod import Pod
from tests.kinds.labs import lab
from tests.readme_console import PROJECT

GOLDEN = PROJECT / "tests/golden/nginx"
FOLDERS = Folders(Path("/run/kns/lab/components/nginx"), Path("/run/kns/lab/tls"))
WEB = """
pods: [{name: web1, labels: {app: web}}]
services: [{name: web, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}]
"""


def cluster_of(body: str) -> Cluster:
    return resolve(lab(WEB + body).spec).cluster


def controller(cluster: Cluster) -> Pod:
    return next(pod for pod in cluster.pods if pod.namespace == "ingress-nginx")


def text_of(cluster: Cluster) -> str:
    return config(cluster, controller(cluster), FOLDERS)


def locations(text: str) -> dict[str, list[str]]:
    """The location lines of each server, by its name."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.fullmatch(r' +server_name "?(.*?)"?;', line):
            name = match[1]
        if match := re.fullmatch(r" +location (.*) \{", line):
            found.setdefault(name, []).append(match[1])
    return found


def with_paths(*paths: tuple[PathType, str]) -> Cluster:
    backend = IngressBackend("web", 80)
    rule = IngressRule("a.test", tuple(IngressPath(path, kind, backend) for kind, path in paths))
    cluster = cluster_of("ingressController: {}")
    return replace(cluster, ingresses=(Ingress("default", "a", "nginx", rules=(rule,)),))


# -- golden files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ingress", "dual-stack"])
def test_configuration_is_that_of_the_golden_file(name: str) -> None:
    if name == "ingress":
        cluster = resolve(load_lab(PROJECT / "labs/ingress.yaml").spec).cluster
    else:
        cluster = cluster_of(
            """
networking: {ipFamily: dual}
ingresses:
- name: shop
  annotations: {nginx.ingress.kubernetes.io/denylist-source-range: "192.0.2.9, 2001:db8::/32"}
  tls: [{}]
  rules: [{paths: [{path: /, pathType: Prefix, backend: {service: web, port: 80}}]}]
"""
        )
    actual = text_of(cluster)
    golden = GOLDEN / f"{name}.conf"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(actual, encoding="utf-8")
    assert actual == golden.read_text(encoding="utf-8")


def test_each_controllers_pod_has_an_nginx_of_its_own() -> None:
    cluster = cluster_of("ingressController: {replicas: 2}")
    specs = [spec for spec in programs(cluster) if spec.command[0] == "nginx"]
    assert [spec.netns for spec in specs] == [
        f"kns.lab.ingress-nginx.ingress-nginx-controller-{number}" for number in (1, 2)
    ]
    assert len({spec.files[0][0] for spec in specs}) == 2


def test_a_change_of_endpoints_is_a_reload_and_no_restart() -> None:
    cluster = with_paths((PathType.PREFIX, "/"))
    without = replace(cluster, endpoint_slices=())
    before, after = (
        next(spec for spec in programs(item) if spec.command[0] == "nginx")
        for item in (cluster, without)
    )
    assert before.digest == after.digest
    assert before.files != after.files


# -- locations -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), ['"/"']),
        (((PathType.PREFIX, "/"),), ['"/"']),
        (((PathType.PREFIX, "/a"),), ['= "/a"', '"/a/"', '"/"']),
        (((PathType.PREFIX, "/a/"),), ['= "/a"', '"/a/"', '"/"']),
        (((PathType.EXACT, "/a"),), ['= "/a"', '"/"']),
        # nginx would redirect /a there
        (((PathType.EXACT, "/a/"),), ['= "/a"', '= "/a/"', '"/"']),
        (((PathType.IMPLEMENTATION_SPECIFIC, "/a"),), ['"/a"', '"/"']),
        (((PathType.IMPLEMENTATION_SPECIFIC, "/a/"),), ['= "/a"', '"/a/"', '"/"']),
        (((PathType.IMPLEMENTATION_SPECIFIC, ""),), ['"/"']),
        (((PathType.EXACT, "/a%20b"),), ['= "/a b"', '"/"']),
        (((PathType.EXACT, "/%ff"),), ['= "/%ff"', '"/"']),
    ],
)
def test_locations(paths: tuple[tuple[PathType, str], ...], expected: list[str]) -> None:
    assert locations(text_of(with_paths(*paths)))["a.test"] == expected


def test_the_path_before_a_slash_does_what_the_next_shorter_one_does() -> None:
    first, second = IngressBackend("web", 80), IngressBackend("nobody", 80)
    paths = (
        IngressPath("/a/b/", PathType.EXACT, first),
        IngressPath("/a", PathType.PREFIX, second),
    )
    ingress = Ingress("default", "a", "nginx", rules=(IngressRule("a.test", paths),))
    text = text_of(replace(cluster_of("ingressController: {}"), ingresses=(ingress,)))
    bodies = dict(re.findall(r"location (.*?) \{\n\s+(.*?)\n", text))
    assert bodies['= "/a/b/"'] == "proxy_pass http://default.web.80;"
    assert bodies['= "/a/b"'] == bodies['"/a/"'] != bodies['= "/a/b/"']


def test_redirect_follows_tls_and_annotations() -> None:
    def redirects(annotations: dict[str, str], *tls: IngressTLS) -> bool:
        cluster = with_paths((PathType.PREFIX, "/"))
        ingress = replace(cluster.ingresses[0], annotations=annotations, tls=tls)
        return "return 308" in text_of(replace(cluster, ingresses=(ingress,)))

    prefix = "nginx.ingress.kubernetes.io/"
    assert redirects({}, IngressTLS())
    assert not redirects({})
    assert not redirects({f"{prefix}ssl-redirect": "false"}, IngressTLS())
    assert redirects({f"{prefix}force-ssl-redirect": "true"})


# -- nothing but what is meant ---------------------------------------------------------------------

EVIL = (
    'x"; return 200 "pwned',
    "x; } location /pwned { return 200; } #",
    "x\\",
    'x\\"; return 200; #',
    "x\n    return 200;",
    "x${request_uri}$pid",
    "x\r\n}\n}\nevents {",
    "#{};'\"\\\t ~^",
    "x\0y",
    "ü€😀",
)


def evil_cluster(text: str) -> Cluster:
    """The text wherever an Ingress has text, past all checks of lab files."""
    backend = IngressBackend(text, text)
    web = IngressBackend("web", 80)
    rules = tuple(
        IngressRule(
            host,
            tuple(
                IngressPath(f"/{text}", kind, target)
                for kind in PathType
                for target in (backend, web)
            ),
        )
        for host in ("a.test", f"*.{text}", text, "")
    )
    ingress = Ingress(
        text,
        text,
        "nginx",
        backend,
        rules,
        (IngressTLS((text,), text),),
        {text: text},
        {text: text},
    )
    own = replace(ingress, namespace="default", name="own")
    cluster = cluster_of("ingressController: {}")
    renamed = tuple(
        replace(item, namespace=text, name=text, service=text) for item in cluster.endpoint_slices
    )
    services = tuple(replace(item, namespace=text, name=text) for item in cluster.services)
    return replace(
        cluster,
        ingresses=(ingress, own),
        endpoint_slices=(*cluster.endpoint_slices, *renamed),
        services=(*cluster.services, *services),
    )


def tokens(text: str) -> list[str]:
    """The words, `;`, `{` and `}` of a configuration, as ngx_conf_read_token takes it apart."""
    pattern = re.compile(
        r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|(#[^\n]*)|([;{}])|([^\s;{}"\'#]+)|\s+',
        re.DOTALL,
    )
    found: list[str] = []
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        assert match is not None, text[at : at + 40]
        at = match.end()
        double, single, _comment, mark, word = match.groups()
        if mark:
            found.append(mark)
        elif word is not None:
            found.append(word)
        elif double is not None or single is not None:
            found.append("QUOTED")
    return found


def directives(text: str) -> set[str]:
    """The first word of every directive."""
    words = tokens(text)
    return {
        word
        for before, word in zip(["{", *words], words, strict=False)
        if before in {";", "{", "}"} and word not in {";", "{", "}"}
    }


def variables(text: str) -> set[str]:
    """Every word outside of quotes that nginx would put something else in place of."""
    return {word for word in tokens(text) if "$" in word}


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_no_text_becomes_a_directive(text: str) -> None:
    plain = text_of(evil_cluster("plain"))
    evil = text_of(evil_cluster(text))
    assert directives(evil) <= directives(plain)
    assert tokens(evil).count("{") == tokens(evil).count("}")
    assert variables(evil) == variables(plain)


@pytest.mark.parametrize("text", EVIL, ids=repr)
def test_quoted_text_is_one_word(text: str) -> None:
    assert tokens(f"a {quoted(text)};") == ["a", "QUOTED", ";"]
    assert "\n" not in quoted(text)
