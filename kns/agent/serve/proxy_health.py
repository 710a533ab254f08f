"""kube-proxy's HTTP answers: a service's healthCheckNodePort, and its own /healthz and /livez.

Source: pkg/proxy/healthcheck/service_health.go and proxy_health.go of Kubernetes.
"""

from __future__ import annotations

import json
import time

from kns.agent.serve.messages import JSON, Request, Response, go_time
from kns.compile.listeners import ServiceHealth

_NOSNIFF = ("X-Content-Type-Options", "nosniff")


def answer_service(subject: ServiceHealth) -> Response:
    """The same for every path: 200 while the node has ready endpoints of the service, else 503.

    A load balancer may weigh nodes by the header; kube-proxy is healthy as long as it answers.
    """
    count = subject.local_endpoints
    body = (
        "{\n"
        '\t"service": {\n'
        f'\t\t"namespace": {json.dumps(subject.namespace)},\n'
        f'\t\t"name": {json.dumps(subject.name)}\n'
        "\t},\n"
        f'\t"localEndpoints": {count},\n'
        '\t"serviceProxyHealthy": true\n'
        "}"
    )
    weight = ("X-Load-Balancing-Endpoint-Weight", str(count))
    status = 200 if count else 503
    return Response(body, status=status, content_type=JSON, headers=(_NOSNIFF, weight))


def answer_proxy(request: Request) -> Response:
    """/healthz also says whether the node is eligible for load balancers; /livez doesn't."""
    if request.path not in ("/healthz", "/livez"):
        return Response("404 page not found\n", status=404, headers=(_NOSNIFF,))
    now = go_time(time.time())
    body = f'{{"lastUpdated": "{now}","currentTime": "{now}"'
    if request.path == "/healthz":
        body += ', "nodeEligible": true'
    return Response(body + "}", content_type=JSON, headers=(_NOSNIFF,))
