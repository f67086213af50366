"""The DVC stages: each script reads its params, calls `recg_core` and writes its outputs.

Their commands stand in `dvc.yaml`.
"""

import signal
import sys

# Of a script that is still importing there is nothing to clean up, and Ctrl-C shows no traceback:
# so this stands before the other imports, which take a second.
# Python runs this file before the script itself, whose name takes the place of "-m" afterwards.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from recg_core.cli.running import UNFINISHED, WORK, run

__all__ = ["UNFINISHED", "WORK", "run"]
