"""What the stages import, loaded once for all processes of `run_stage`."""

# ruff: noqa: F401
import recg_core.embeddings.encode
import recg_core.evaluation.training_free
import recg_core.training.trainer
import stages.baselines
import stages.cluster
import stages.encode
import stages.evaluate
import stages.fetch
import stages.figures
import stages.pool
import stages.preprocess
import stages.report
import stages.slices
import stages.sources
import stages.train
