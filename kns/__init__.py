"""kns: Kubernetes networking made of the Linux kernel's own parts."""

import os
import sys

__version__ = "0.1.0"

if os.geteuid() == 0 and os.stat(__file__).st_uid != 0:  # noqa: PTH116 - a start imports no pathlib
    # `sudo .venv/bin/kns` in a user's clone: root's __pycache__ there, and the user's `rm -r` fails
    sys.dont_write_bytecode = True
