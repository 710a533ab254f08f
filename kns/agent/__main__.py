"""`python -m kns.agent LAB`: the agent, as `kns up` starts it."""

from __future__ import annotations

import logging
import sys

from kns.agent.agent import run
from kns.errors import KnsError, UsageError


def main(argv: list[str]) -> int:
    """Serve the lab; errors go to the log, which is standard error."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        if len(argv) != 1:
            raise UsageError("python -m kns.agent LAB", hint="kns up starts it")
        run(argv[0])
    except KnsError as error:
        logging.getLogger(__name__).error("%s (%s)", error, error.hint)  # noqa: TRY400
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
