"""What is wrong with `params.yaml`, before anything runs: `python -m stages.check --out ...`."""

from recg_core.cli.check import main
from stages import run

if __name__ == "__main__":
    run(main)
