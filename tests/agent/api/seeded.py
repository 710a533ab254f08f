"""A small process that serves the API over objects of its own: no lab, no root."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from kns.agent.api.access import Authenticator
from kns.agent.api.server import APIServer
from kns.agent.store import Store
from kns.kinds.common import Object


def _node(name: str, address: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.37.1"},
        },
    }


def _pod(name: str, node: str, address: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "server", "ports": [{"containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "server",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {}},
                    "image": "",
                    "imageID": "",
                }
            ],
        },
    }


SEED: tuple[Object, ...] = (
    {
        "apiVersion": "kns/v1",
        "kind": "Lab",
        "metadata": {"name": "seeded"},
        "networking": {"kubeProxyMode": "iptables"},
    },
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}},
    _node("node1", "172.18.0.2"),
    _node("node2", "172.18.0.3"),
    _pod("web-1", "node1", "10.244.0.2"),
    _pod("web-2", "node2", "10.244.1.2"),
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.20",
            "clusterIPs": ["10.96.0.20"],
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    },
)


async def serve() -> None:
    """Serve on a port of the loopback, print it, and go on until the input ends."""
    store = Store()
    store.replace_all(SEED)
    server = APIServer(store, "1.37.1", Authenticator("secret", "{}.{}.0".format))
    runner = server.runner(trusted=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
