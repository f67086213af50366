"""The DVC stages: each script reads its params, calls `recg_core` and writes its outputs."""

import os

# Must be set before anything imports torch. By default idle OpenMP threads spin, which costs
# nothing on a quiet machine and slows small operations up to fiftyfold when other programs use the
# cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
