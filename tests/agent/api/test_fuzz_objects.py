"""Whatever is written into a living lab is refused, or the lab goes on with it.

python -m tests.agent.api.test_fuzz_objects COUNT [SEED]     a longer run
"""

from __future__ import annotations

import copy
import json
import random
import sys
import traceback

import pytest

from kns.agent.api.registry import Registry
from kns.agent.api.representations import represented, wanted
from kns.agent.api.requests import APIRequest, target_of
from kns.agent.controllers.run import Controllers
from kns.agent.store import Store
from kns.cluster.resolve import resolve
from kns.compile.lab import compile_lab
from kns.errors import KnsError
from kns.kinds.assemble import Assembler
from kns.kinds.load import load_lab_text
from kns.kinds.objects import key_of, ref_of
from kns.kinds.resources import resource_of
from kns.kinds.seed import objects_of
from tests import fuzz

NOW = 1_767_323_045.0
TABLE = wanted("application/json;as=Table;v=v1;g=meta.k8s.io")


class FuzzedLab:
    """A lab that somebody writes nonsense into."""

    def __init__(self) -> None:
        self.store = Store(clock=lambda: NOW)
        self.store.replace_all(objects_of(load_lab_text(fuzz.RICH.read_bytes())))
        self._seed = self.store.all()
        self._registry = Registry(self.store, lambda: NOW)
        self._controllers = Controllers(self.store)
        self._assembler = Assembler()

    def write(self, chance: random.Random) -> bool:
        """One request with a mutated object; True if it was taken."""
        obj = chance.choice(self._seed)
        documents: list[object] = [copy.deepcopy(obj)]
        for _ in range(chance.choice((1, 1, 2, 3))):
            fuzz.mutate(chance, documents)
            if not documents:
                return False
        resource = resource_of(obj)
        assert resource is not None
        key = key_of(obj)
        space = f"/namespaces/{key.namespace}" if resource.namespaced else ""
        group = "api/v1" if not resource.group else f"apis/{resource.api_version}"
        path = f"/{group}{space}/{resource.plural}"
        method = chance.choice(("POST", "PUT", "PATCH"))
        if method != "POST":
            path += f"/{key.name}"
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        body = json.dumps(documents[0]).encode()
        query = {"fieldValidation": chance.choice(("Ignore", "Strict"))}
        try:
            answer = self._registry.answer(APIRequest(method, target_of(path), query, kind, body))
        except KnsError:
            return False
        represented(answer.object, resource, TABLE, NOW, "Metadata")
        return True

    def live(self) -> None:
        """A round: controllers, then the network of what can be had."""
        self._controllers.run(NOW, {})
        items = {ref_of(item): item for item in self.store.all()}
        assembled = self._assembler.assemble(items)
        compile_lab(resolve(assembled.lab).cluster)


def try_one(seed: int) -> bool:
    """One write into a lab, and a round if it was taken."""
    lab = FuzzedLab()
    taken = lab.write(random.Random(seed))
    if taken:
        lab.live()
    return taken


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_a_lab_goes_on_whatever_is_written_into_it(first: int) -> None:
    assert sum(map(try_one, range(first, first + 30))) > 0


def main(count: int, first: int = 0) -> int:
    """How many numbers raised something; each is told with its traceback."""
    bad = 0
    for seed in range(first, first + count):
        try:
            try_one(seed)
        except Exception:
            bad += 1
            print(f"seed {seed}:\n{traceback.format_exc(limit=-4)}", flush=True)
    print(f"{count} writes, {bad} that raised")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
