"""`python -m recg_core.cli` is `recg`."""

from recg_core.cli.app import main

main()
