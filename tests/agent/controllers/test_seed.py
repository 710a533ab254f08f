"""What a lab file is seeded with is what its controllers want."""

from __future__ import annotations

from kns.agent.controllers import meta
from kns.agent.controllers.run import Controllers
from kns.agent.store import ChangeType, ObjectChange, Store
from kns.kinds import objects
from kns.kinds.load import load_lab_text
from kns.kinds.resources import POD, REPLICA_SET
from kns.kinds.seed import objects_of

LAB = """
apiVersion: kns/v1
kind: Lab
metadata: {name: seeded}
nodes: [{name: n1}, {name: n2}]
pods:
- {name: web, labels: {app: web}, replicas: 3}
- {name: alone, labels: {app: alone}}
"""
SETS = "".join(
    f"""---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: c, image: x}}]}}
"""
    for kind, name, replicas in (
        ("StatefulSet", "db", "replicas: 2"),
        ("DaemonSet", "agent", ""),
        ("ReplicaSet", "set", "replicas: 2"),
        ("Deployment", "app", "replicas: 2"),
    )
)


def test_controllers_keep_every_pod_of_the_seed() -> None:
    store = Store()
    store.restore(objects_of(load_lab_text(LAB + SETS)), 1)
    pods: list[ObjectChange] = []
    for pod in store.list(POD):
        ready = {"type": "Ready", "status": "True"}
        running = objects.with_part(pod, "Running", "status", "phase")
        store.update(POD, meta.with_condition(running, dict(ready), 0))
    before = [objects.name_of(pod) for pod in store.list(POD)]
    sets = [objects.name_of(item) for item in store.list(REPLICA_SET)]
    store.subscribe(lambda change: pods.append(change) if change.resource is POD else None)
    Controllers(store).run(1_800_000_000.0)
    assert [change for change in pods if change.type is not ChangeType.MODIFIED] == []
    assert [pod for pod in store.list(POD) if meta.is_deleted(pod)] == []
    assert [objects.name_of(pod) for pod in store.list(POD)] == before
    assert [objects.name_of(item) for item in store.list(REPLICA_SET)] == sets
