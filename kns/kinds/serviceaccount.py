"""ServiceAccount, as far as pods are given its token."""

from __future__ import annotations

from dataclasses import dataclass

from kns.kinds.fields import FLAG, METADATA_PATHS, NAMED
from kns.labfile.shape import Field, Form, Shape


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account. `automount` None: it says nothing of its token, and pods get it."""

    namespace: str
    name: str
    automount: bool | None = None


def _account(
    name: str, namespace: str = "default", *, automount: bool | None = None, **_rest: object
) -> ServiceAccount:
    return ServiceAccount(namespace, name, automount)


FORM = Form(
    Shape(
        _account,
        *NAMED,
        Field("automountServiceAccountToken", FLAG, "automount", default=None),
        of=ServiceAccount,
    ),
    METADATA_PATHS,
)
