"""The API server of a lab's own cluster: `apiServer` of the Lab document.

Source: k8s.io/kubernetes/pkg/controlplane/controller/kubernetesservice, which keeps the Service
`default/kubernetes`, and pkg/controlplane/reconcilers/endpointsadapter.go, which keeps its
EndpointSlice.
"""

from __future__ import annotations

from dataclasses import dataclass

from kns.kinds.fields import ANY_TEXT
from kns.labfile.shape import Field, Shape

#: the Service by which pods find the API, and its EndpointSlice
API_NAMESPACE, API_SERVICE = "default", "kubernetes"
#: the port of that Service, and kube-apiserver's own (--secure-port)
API_PORT, SECURE_PORT = 443, 6443
#: the service account of pods that name none
DEFAULT_ACCOUNT = "default"
#: the ConfigMap with the certificate of its CA that each namespace has
ROOT_CA = "kube-root-ca.crt"


@dataclass(frozen=True, slots=True)
class APIServerOptions:
    """An API server inside the cluster, on a node as a control plane's is: by default the first."""

    node: str = ""


SHAPE = Shape(
    APIServerOptions,
    Field("node", ANY_TEXT, zero=True),
    title="APIServer",
    doc="An API server that pods reach: the lab's own, on a node's address and port 6443.",
)
