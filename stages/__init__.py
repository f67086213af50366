"""The DVC stages: each script reads its params, calls `recg_core` and writes its outputs."""
