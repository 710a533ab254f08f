"""Pod templates: when two are the same, and what tells them apart in names and labels."""

from __future__ import annotations

import hashlib
import json

from kns.kinds import objects
from kns.kinds.common import Object, safe_encoded

#: the label by which a Deployment's ReplicaSets tell their pods apart
HASH_LABEL = "pod-template-hash"


def template_hash(template: Object, collisions: int = 0) -> str:
    """32 bits of the template, as rand.SafeEncodeString writes them.

    Kubernetes hashes its memory's form of the template; here it is the JSON's, so that the same
    template has the same hash, and another one another. `collisions` makes it yet another one.
    """
    text = json.dumps(template, sort_keys=True) + (str(collisions) if collisions else "")
    return safe_encoded(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]))


def without_hash(template: Object) -> Object:
    """The template without its hash label: two that are equal so are the same (EqualIgnoreHash)."""
    if HASH_LABEL not in objects.mapping(template, "metadata", "labels"):
        return template
    return objects.with_part(template, None, "metadata", "labels", HASH_LABEL)
