"""The living lab on the kernel: what is written into the store is so a moment later."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kns.agent import live as live_module
from kns.agent.agent import Agent, load
from kns.agent.controllers.meta import is_true
from kns.agent.live import Live
from kns.cluster.model import Cluster
from kns.cluster.resolve import resolve
from kns.compile.lab import compile_host
from kns.compile.paths import LabPaths
from kns.engine import agent, reconcile, snapshot
from kns.engine.down import down
from kns.engine.labs import lab_documents, running
from kns.engine.lock import locked
from kns.engine.objects import Journal, digest_of, live_changes, read_objects
from kns.engine.orders import Converge, Converged
from kns.engine.status import status
from kns.engine.up import up
from kns.errors import ApplyError, LockedError, PlatformError
from kns.kernel import netns, processes
from kns.kernel.observe import link_indexes
from kns.kernel.processes import Context, run
from kns.kinds.common import Object
from kns.kinds.load import load_lab_text
from kns.kinds.objects import items, mappings, ref_of, text, with_part
from kns.kinds.resources import DEPLOYMENT, ENDPOINT_SLICE, EVENT, NODE, POD, SERVICE, Resource
from kns.kinds.resources import LAB as LAB_RESOURCE
from kns.labfile.dump import dump_yaml
from tests.end_to_end.api_client import until
from tests.end_to_end.labfiles import leftovers, small_lab, write_lab

pytestmark = pytest.mark.kernel

LAB = "livetest"
#: seconds for what takes milliseconds on a machine that is not busy
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    down(LAB)
    assert leftovers(LAB) == {}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_lab(tmp_path, small_lab(LAB, pods=2, nodes=2))


@asynccontextmanager
async def living() -> AsyncIterator[Live]:
    """The lab under an agent of this process."""
    here = Agent(LabPaths(LAB), load)
    await here.converge()
    live = await here.live()
    await live.settled()
    try:
        yield live
    finally:
        here.close()


def lives(lab: Path, then: Callable[[Live], Awaitable[None]]) -> None:
    """Build the lab, take it from its agent, and do `then` with it."""
    up(lab)
    agent.end(LAB)

    async def main() -> None:
        async with living() as live:
            await then(live)
            await live.settled()

    asyncio.run(main())
    assert status(LAB).drift == ()


def pod(name: str, node: str, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {**labels}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "ports": [{"containerPort": 8080}]}],
        },
        "status": {"phase": "Pending"},
    }


def service(name: str, **spec: str) -> Object:
    ports: Object = {"port": 80, "targetPort": 8080}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": "new"}, "ports": [ports], **spec},
    }


async def answer(source: str, url: str) -> str:
    argv = ("curl", "-s", "-m", "3", url)
    loop = asyncio.get_running_loop()
    context = Context(f"kns.{LAB}.{source}")
    return (await loop.run_in_executor(None, lambda: run(argv, context=context, timeout=20))).stdout


async def gone(live: Live, *names: str) -> None:
    """Wait until the pods have ended, and nothing is left of them."""
    for name in names:
        while live.store.get(POD, "default", name) is not None:
            await asyncio.sleep(0.02)
    await live.settled()


def left_out(live: Live) -> list[tuple[str, str]]:
    """Which objects are told to be left out, and why."""
    return [
        (text(event, "involvedObject", "name"), text(event, "message"))
        for event in live.store.list(EVENT)
        if text(event, "reason") == "LeftOut"
    ]


def endpoints(live: Live, name: str) -> list[str]:
    return [
        str(address)
        for item in live.store.list(ENDPOINT_SLICE)
        if text(item, "metadata", "labels", "kubernetes.io/service-name") == name
        for endpoint in mappings(item, "endpoints")
        for address in items(endpoint, "addresses")
    ]


def test_a_pod_and_a_service_come_and_go(lab: Path) -> None:
    async def then(live: Live) -> None:
        live.store.create(POD, pod("pod9", "node2", app="new"))
        live.store.create(SERVICE, service("fresh"))
        await live.settled()
        made = live.store.get(POD, "default", "pod9")
        assert made is not None
        assert text(made, "status", "phase") == "Running"
        assert endpoints(live, "fresh") == [text(made, "status", "podIP")]
        given = live.store.get(SERVICE, "default", "fresh")
        assert given is not None
        address = text(given, "spec", "clusterIP")
        assert await answer("pod1", f"http://{address}/hostname") == "pod9"
        live.store.delete(POD, "default", "pod9")
        await gone(live, "pod9")
        assert live.store.get(POD, "default", "pod9") is None
        assert f"kns.{LAB}.pod9" not in netns.list_netns()
        assert endpoints(live, "fresh") == []
        live.store.delete(SERVICE, "default", "fresh")

    lives(lab, then)


def test_a_pod_that_is_made_again_has_another_address(lab: Path) -> None:
    async def then(live: Live) -> None:
        before = live.store.get(POD, "default", "pod1")
        live.store.delete(POD, "default", "pod1")
        await gone(live, "pod1")
        live.store.create(POD, pod("pod1", "node1", app="a"))
        await live.settled()
        after = live.store.get(POD, "default", "pod1")
        assert before is not None
        assert after is not None
        assert text(before, "status", "podIP") != text(after, "status", "podIP")

    lives(lab, then)


def test_a_namesake_that_comes_at_once_is_another_pod(lab: Path) -> None:
    async def then(live: Live) -> None:
        before = live.store.get(POD, "default", "pod1")
        live.store.delete(POD, "default", "pod1", grace=0)
        live.store.create(POD, pod("pod1", "node1", app="a"))
        await live.settled()
        after = live.store.get(POD, "default", "pod1")
        assert before is not None
        assert after is not None
        address = text(after, "status", "podIP")
        assert address != text(before, "status", "podIP")
        assert await answer("pod2", f"http://{address}:8080/hostname") == "pod1"

    lives(lab, then)


def test_a_node_is_lost_after_the_labs_own_grace_time_and_its_pods_come_back_with_it(
    lab: Path,
) -> None:
    written = lab.read_text(encoding="utf-8")
    more = "controllerManager: {nodeMonitorGracePeriod: 500ms}\nfaults: {linksDown: [node2]}\n"
    lab.write_text(written + more, encoding="utf-8")

    async def then(live: Live) -> None:
        async with asyncio.timeout(PATIENCE / 2):  # by default it would take 50 s
            while is_ready(live, NODE, "node2") or is_ready(live, POD, "pod2"):
                await asyncio.sleep(0.05)
        assert is_ready(live, NODE, "node1")
        written = live.store.get(LAB_RESOURCE, "", LAB)
        assert written is not None
        live.store.update(LAB_RESOURCE, {**written, "faults": {}})
        async with asyncio.timeout(PATIENCE):
            while not (is_ready(live, NODE, "node2") and is_ready(live, POD, "pod2")):
                await asyncio.sleep(0.05)
        told = {text(event, "reason"): text(event, "message") for event in live.store.list(EVENT)}
        assert told["FaultEnded"] == "link down: node2"

    def is_ready(live: Live, kind: Resource, name: str) -> bool:
        item = live.store.get(kind, "default" if kind is POD else "", name)
        assert item is not None
        return is_true(item, "Ready")

    lives(lab, then)


def test_a_wrong_object_stops_nothing(lab: Path) -> None:
    async def then(live: Live) -> None:
        live.store.create(SERVICE, service("odd", type="Odd"))
        live.store.create(POD, pod("elsewhere", "node7", app="new"))
        live.store.create(POD, pod("pod9", "node1", app="new"))
        await live.settled()
        assert await answer("pod9", "http://127.0.0.1:8080/hostname") == "pod9"
        assert {item.subject for item in live.left_out} == {"service/odd"}

    lives(lab, then)


def test_what_the_kernel_refuses_for_a_moment_is_tried_again(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "RETRY", 0.05)
    refusals = 2
    carry_out = reconcile.reconcile

    def refuse(*given: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise ApplyError("out of memory")
        return carry_out(*given)

    async def then(live: Live) -> None:
        monkeypatch.setattr(reconcile, "reconcile", refuse)
        live.store.create(POD, pod("pod9", "node1", app="new"))
        while refusals:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        await live.settled()
        assert await answer("pod9", "http://127.0.0.1:8080/hostname") == "pod9"
        assert left_out(live) == []

    lives(lab, then)


def test_what_could_not_be_served_or_told_is_tried_again(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for a moment: what the kernel has taken by then is served all the same."""
    monkeypatch.setattr(live_module, "RETRY", 0.05)
    full = [True, True]

    async def then(live: Live) -> None:
        serve, account = live._serve, live._account

        def break_off() -> None:
            if full:
                full.pop()
                raise OSError(errno.ENOSPC, "No space left on device")

        async def serve_once_there_is_room(cluster: Cluster) -> object:
            break_off()
            return await serve(cluster)

        def account_once_there_is_room(*given: Any) -> None:
            break_off()
            account(*given)

        monkeypatch.setattr(live, "_serve", serve_once_there_is_room)
        monkeypatch.setattr(live, "_account", account_once_there_is_room)
        live.store.create(POD, pod("pod9", "node1", app="new"))
        async with asyncio.timeout(PATIENCE):
            while full:
                await asyncio.sleep(0.02)
            await live.settled()
        assert text(live.store.get(POD, "default", "pod9") or {}, "status", "podIP")
        assert await answer("pod9", "http://127.0.0.1:8080/hostname") == "pod9"

    lives(lab, then)


def test_who_waits_for_what_breaks_off_each_time_hears_why(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that stays full: whoever waited without end would never know."""
    monkeypatch.setattr(live_module, "RETRY", 0.05)
    is_full = True

    async def then(live: Live) -> None:
        nonlocal is_full
        serve = live._serve

        async def serve_where_there_is_room(cluster: Cluster) -> object:
            if is_full:
                raise OSError(errno.ENOSPC, "No space left on device", "/run/kns/lab/etc.json")
            return await serve(cluster)

        monkeypatch.setattr(live, "_serve", serve_where_there_is_room)
        live.store.create(POD, pod("pod9", "node1", app="new"))
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(PlatformError) as refused:
                await live.settled()
            assert refused.value.message == (
                "not so yet: /run/kns/lab/etc.json: no space left on device"
            )
            assert "make room there" in refused.value.hint
            is_full = False
            while live._broken is not None:
                await asyncio.sleep(0.02)
            await live.settled()
        assert await answer("pod9", "http://127.0.0.1:8080/hostname") == "pod9"

    lives(lab, then)


def test_what_the_kernel_always_refuses_holds_up_nothing_else(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "RETRY", 0.05)
    monkeypatch.setattr(live_module, "_LEFT_OUT_FOR", 0.5)
    carry_out = reconcile.reconcile
    willing = False

    def refuse(paths: Any, before: Any, cluster: Cluster, *more: Any) -> Any:
        if cluster.pod("default", "refused") is not None and not willing:
            raise ApplyError("no")
        return carry_out(paths, before, cluster, *more)

    async def has_address(live: Live, name: str) -> None:
        while not text(live.store.get(POD, "default", name) or {}, "status", "podIP"):
            await asyncio.sleep(0.02)

    async def then(live: Live) -> None:
        nonlocal willing
        monkeypatch.setattr(reconcile, "reconcile", refuse)
        live.store.create(POD, pod("refused", "node1", app="new"))
        while not left_out(live):
            await asyncio.sleep(0.02)
        assert left_out(live) == [("refused", "no")]
        live.store.create(POD, pod("pod9", "node1", app="new"))
        await has_address(live, "pod9")
        assert [(item.subject, item.message) for item in live.left_out] == [("pod/refused", "no")]
        willing = True
        await has_address(live, "refused")
        assert live.left_out == ()

    lives(lab, then)


def test_what_does_not_go_with_the_rest_is_found_and_tried_again(tmp_path: Path) -> None:
    ports = "networking: {nodePortRange: 30000-30001, "
    lab = write_lab(tmp_path, small_lab(LAB).replace("networking: {", ports, 1))

    def has_address(live: Live, name: str) -> bool:
        found = live.store.get(SERVICE, "default", name)
        return bool(text(found or {}, "spec", "clusterIP"))

    async def then(live: Live) -> None:
        for name in ("a", "b", "c"):
            live.store.create(SERVICE, service(name, type="NodePort"))
        live.store.create(SERVICE, service("d"))
        await live.settled()
        assert [has_address(live, name) for name in "abcd"] == [True, True, False, True]
        assert left_out(live) == [("c", "no free node port in 30000-30001")]
        live.store.create(SERVICE, service("e"))
        await live.settled()
        assert has_address(live, "e")
        live.store.delete(SERVICE, "default", "a")
        await live.settled()
        assert has_address(live, "c")

    lives(lab, then)


def test_an_agent_that_was_killed_goes_on_and_up_goes_back(lab: Path) -> None:
    async def then(live: Live) -> None:
        live.store.create(POD, pod("pod9", "node1", app="a"))
        one = live.store.get(POD, "default", "pod1")
        assert one is not None
        live.store.update(POD, with_part(one, "a", "metadata", "labels", "color"))

    lives(lab, then)
    changes = ("pod/pod1: metadata.labels.color unset → a", "pod/pod9: created")
    assert live_changes(LabPaths(LAB)) == changes
    assert running(LAB).cluster.pod("default", "pod9") is not None

    async def again() -> None:
        async with living() as live:
            assert live.store.get(POD, "default", "pod9") is not None
            assert len(endpoints(live, "svc-a")) == 3

    asyncio.run(again())
    text = "---\n".join(map(dump_yaml, lab_documents(LabPaths(LAB))))
    written = {pod.name for pod in resolve(load_lab_text(text).spec).cluster.pods}
    assert written == {"pod1", "pod2", "pod9"}
    back = up(lab)
    assert back.changes[:2] == (
        "pod/pod1: undone: metadata.labels.color unset → a",
        "pod/pod9: undone: created",
    )
    assert running(LAB).cluster.pod("default", "pod9") is None
    assert up(lab).changes == ()
    assert live_changes(LabPaths(LAB)) == ()


def test_what_an_agent_had_written_and_not_carried_out_is_carried_out_by_the_next(
    lab: Path,
) -> None:
    """It was killed between its journal and the kernel."""

    async def then(_live: Live) -> None:
        pass

    lives(lab, then)
    paths = LabPaths(LAB)
    kept = read_objects(paths)
    assert kept is not None
    killed = Journal(paths)
    killed.prepare(digest_of(paths), kept.objects)
    killed.begin(kept.version)
    coming = (pod("pod9", "node2", app="new"), service("fresh"))
    for version, item in enumerate(coming, kept.version + 1):
        killed.append(version, item)
    one = next(item for item in kept.objects if ref_of(item) == ("Pod", "default", "pod1"))
    killed.append(kept.version + 3, one, gone=True)
    killed.close()

    async def again() -> None:
        async with living() as live:
            present = netns.list_netns(f"kns.{LAB}.")
            assert f"kns.{LAB}.pod9" in present
            assert f"kns.{LAB}.pod1" not in present
            (address,) = endpoints(live, "fresh")
            assert await answer("pod2", f"http://{address}:8080/hostname") == "pod9"
            given = text(live.store.get(SERVICE, "default", "fresh") or {}, "spec", "clusterIP")
            assert await answer("pod2", f"http://{given}/hostname") == "pod9"

    asyncio.run(again())
    assert status(LAB).drift == ()


def test_the_clusters_own_services_are_gone_once_somebody_has_deleted_them(tmp_path: Path) -> None:
    """Nobody makes kubeadm's kube-dns again, nor what an Ingress controller's manifest had."""
    lab = write_lab(tmp_path, small_lab(LAB).replace("dns: {enabled: false}", "dns: {replicas: 1}"))
    rules = ("iptables-save", "-t", "nat")

    def comments() -> str:
        return run(rules, context=Context(f"kns.{LAB}.node1"), timeout=20).stdout

    async def then(live: Live) -> None:
        assert "kube-system/kube-dns" in comments()
        live.store.delete(SERVICE, "kube-system", "kube-dns")
        await live.settled()
        assert "kube-system/kube-dns" not in comments()
        assert live.store.get(SERVICE, "kube-system", "kube-dns") is None
        assert endpoints(live, "kube-dns") == []

    lives(lab, then)
    assert running(LAB).cluster.service("kube-system", "kube-dns") is None
    assert live_changes(LabPaths(LAB)) == ("service/kube-dns in kube-system: deleted",)

    async def again() -> None:
        async with living() as live:
            assert live.store.get(SERVICE, "kube-system", "kube-dns") is None
            assert "kube-system/kube-dns" not in comments()
            live.store.delete(DEPLOYMENT, "kube-system", "coredns")
            async with asyncio.timeout(PATIENCE):
                while netns.list_netns(f"kns.{LAB}.kube-system."):
                    await asyncio.sleep(0.1)
            await live.settled()

    asyncio.run(again())
    assert status(LAB).drift == ()
    up(lab)
    assert "kube-system/kube-dns" in comments()


def test_up_of_another_file_is_taken_over_whole(tmp_path: Path) -> None:
    """What both files say stays in the lab's objects, and so in the lab."""

    def file(*services: str) -> Path:
        more = "".join(f"- {{name: {name}, ports: [{{port: 80}}]}}\n" for name in services)
        return write_lab(tmp_path, small_lab(LAB, pods=2, nodes=2) + more)

    for services in ((), ("more",), ("more", "other"), ()):
        up(file(*services))
        kept = journal()
        assert {"pod1", "pod2", "node1", *services} <= {text(o, "metadata", "name") for o in kept}
        assert {pod.name for pod in running(LAB).cluster.pods} == {"pod1", "pod2"}
    assert status(LAB).drift == ()


def journal() -> tuple[Object, ...]:
    """The objects that the lab's agent holds, as soon as it does."""
    return until(lambda: read_objects(LabPaths(LAB))).objects


def test_a_deployment_scales_and_rolls_and_its_pods_come_back(lab: Path) -> None:
    web: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "new"}},
            "template": {
                "metadata": {"labels": {"app": "new"}},
                "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]},
            },
        },
    }

    async def then(live: Live) -> None:
        live.store.create(SERVICE, service("fresh"))
        made = live.store.create(DEPLOYMENT, web)
        await live.settled()
        assert names_of(live) == ["web-1", "web-2"]
        assert len(endpoints(live, "fresh")) == 2
        live.store.delete(POD, "default", "web-1")
        await gone(live, "web-1")
        assert names_of(live) == ["web-2", "web-3"]
        made = live.store.get(DEPLOYMENT, "default", "web") or made
        live.store.update(DEPLOYMENT, with_part(made, 4, "spec", "replicas"))
        await live.settled()
        assert names_of(live) == ["web-2", "web-3", "web-4", "web-5"]
        assert len(endpoints(live, "fresh")) == 4
        live.store.delete(DEPLOYMENT, "default", "web")
        await gone(live, "web-2", "web-3", "web-4", "web-5")
        assert names_of(live) == []
        assert endpoints(live, "fresh") == []

    lives(lab, then)


def test_a_rollout_that_is_stuck_keeps_nobody_waiting(lab: Path) -> None:
    """Its Deployment wants to be looked at again when its progress deadline is over."""
    probe: Object = {"tcpSocket": {"port": 9}}
    container: Object = {"name": "c", "readinessProbe": probe}
    stuck: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "new"}},
            "template": {
                "metadata": {"labels": {"app": "new"}},
                "spec": {"containers": [container]},
            },
        },
    }

    async def then(live: Live) -> None:
        live.store.create(DEPLOYMENT, stuck)
        await asyncio.wait_for(live.settled(), PATIENCE)
        live.store.create(POD, pod("pod9", "node1", app="a"))
        await asyncio.wait_for(live.settled(), PATIENCE)
        assert len(endpoints(live, "svc-a")) == 3
        live.store.delete(DEPLOYMENT, "default", "web")
        await asyncio.wait_for(gone(live, "web-1"), PATIENCE)

    lives(lab, then)


def test_what_comes_while_a_round_ends_is_carried_out(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def then(live: Live) -> None:
        loop = asyncio.get_running_loop()
        first = [pod("pod9", "node1", app="a")]

        def save(_paths: LabPaths, _cluster: Cluster) -> None:
            """Something is written in the last moment."""
            while first:
                loop.call_soon_threadsafe(live.store.create, POD, first.pop())
                time.sleep(0.1)

        monkeypatch.setattr(snapshot, "save", save)
        live.store.create(SERVICE, service("fresh"))
        await asyncio.wait_for(live.settled(), PATIENCE)
        assert len(endpoints(live, "svc-a")) == 3

    lives(lab, then)


def test_a_cluster_that_is_again_as_it_was_is_kept(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the round before, the snapshot went for another one."""

    async def then(live: Live) -> None:
        loop = asyncio.get_running_loop()
        carry_out = reconcile.reconcile
        first = [partial(live.store.delete, SERVICE, "default", "fresh")]

        def undone_meanwhile(*args: Any) -> object:
            while first:
                loop.call_soon_threadsafe(first.pop())
                time.sleep(0.1)
            return carry_out(*args)

        monkeypatch.setattr(reconcile, "reconcile", undone_meanwhile)
        live.store.create(SERVICE, service("fresh"))
        await asyncio.wait_for(live.settled(), PATIENCE)
        assert snapshot.restore(LabPaths(LAB), carried_out=True) == live.cluster

    lives(lab, then)


def test_the_agent_takes_over_while_no_command_is_at_work(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command had half carried out would be done again, over what is there by then."""
    last_applied, free = reconcile.last_applied, []

    def watched(*args: Any) -> object:
        with suppress(LockedError), locked(LabPaths(LAB), patience=0):
            free.append(args)
        return last_applied(*args)

    async def then(live: Live) -> None:
        assert live.is_current

    monkeypatch.setattr(reconcile, "last_applied", watched)
    lives(lab, then)
    assert free == []


def test_the_agent_believes_what_another_says_to_have_mended(
    lab: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Between its taking over what nobody had said was carried out, and its first round."""
    up(lab)
    agent.end(LAB)
    paths = LabPaths(LAB)
    snapshot.forget(paths)
    node = f"kns.{LAB}.node1"
    assert run(["ip", "link", "del", "eth0"], context=Context(node)).failure == ""
    mended: list[object] = []

    async def main() -> None:
        here = Agent(paths, load)
        await here.converge()
        live = await here.live()
        with locked(paths):
            cluster = live.cluster
            assert cluster is not None
            reconcile.mend(compile_host(cluster), cluster)
            snapshot.save(paths, cluster)
        mended.append(link_indexes([node]))
        await asyncio.wait_for(live.settled(), PATIENCE)
        here.close()

    monkeypatch.setattr(live_module, "DEBOUNCE", 1.0)
    asyncio.run(main())
    assert (mended, caplog.messages) == ([link_indexes([node])], [])
    assert status(LAB).drift == ()


def test_an_agent_that_reads_the_kernel_spares_the_netns_that_it_is_in(lab: Path) -> None:
    up(lab)
    agent.end(LAB)
    paths, fabric = LabPaths(LAB), netns.identity(f"kns.{LAB}.fabric")
    snapshot.forget(paths)
    process = agent.start(LAB)
    try:
        agent.order(LAB, Converge(), Converged, process=process)
        until(lambda: snapshot.restore(paths, carried_out=True))
        assert netns.identity(f"kns.{LAB}.fabric") == fabric
        assert status(LAB).healthy
    finally:
        processes.release(process)


def names_of(live: Live) -> list[str]:
    pods = (text(item, "metadata", "name") for item in live.store.list(POD))
    return [name for name in pods if name.startswith("web")]
