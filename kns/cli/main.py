"""The entry of `kns`: what must be there before anything else is imported.

`kns --help` is answered from the registry alone. Until a verb's module is there, signals do what
they do by default: a KeyboardInterrupt in the middle of an import may come out as anything.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

#: exit codes after SIGINT and SIGTERM
_INTERRUPTED = (130, 143)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `kns` with these arguments (default: the process's own) and return the exit code."""
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if previous[signal.SIGINT] is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kns.cli import streams  # noqa: PLC0415 - under the signals' default action

    streams.prepare()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        for number, action in previous.items():
            signal.signal(number, action)
    streams.drop_unwritten()
    if arguments is None and (sys.flags.inspect or code in _INTERRUPTED):
        # with PYTHONINSPECT set, Python would show SystemExit as an error; and at its end it waits
        # for the threads of probes that are under way
        os._exit(code)
    return code


def _run(arguments: list[str]) -> int:
    if arguments in (["--help"], ["-h"]):
        from kns.cli import registry  # noqa: PLC0415 - only the help needs it here

        try:
            sys.stdout.write(registry.help_text())
            sys.stdout.flush()
        except OSError as error:
            from kns.cli.exits import exit_code  # noqa: PLC0415 - help needs no errors

            return exit_code(error)
        return 0
    from kns.cli.commands import run  # noqa: PLC0415 - click takes four times as long as the help

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
