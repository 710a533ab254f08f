"""The only part of kns that touches the kernel.

pyroute2's package imports all that there is in it, asyncio and a database included: a third of the
time that `kns up` takes to find that nothing differs. So the package is put where its modules find
it, and runs when somebody asks it for a name of its own.
"""

from __future__ import annotations

import importlib.util
import sys


def _defer(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None or package in sys.modules:
        return
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def run_it(name: str) -> object:
        # dunders are asked for by whoever looks at modules; a submodule is imported by its import
        if name.startswith("__") or importlib.util.find_spec(f"{package}.{name}"):
            raise AttributeError(name)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, name)

    module.__getattr__ = run_it  # type: ignore[method-assign]
    sys.modules[package] = module


_defer("pyroute2")
