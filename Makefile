# `make demo` installs and runs the whole pipeline; `make test` installs and runs all checks.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without a GPU `uv pip install --torch-backend cpu` is a sixth of the download: docs/installing.md.
INSTALL ?= $(BIN)/pip install --quiet --disable-pip-version-check
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export HF_HUB_DISABLE_TELEMETRY := 1

# The paper's domains: a folder with the data set's files or its base URL, and what to do with them.
LOCATION ?= https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023
INTERACTIONS ?= rating_only
TEXT_RULE ?= features_or_description
ENCODER ?= llm2vec
SEEDS ?= [0,1,2,3,4]
THREADS ?= 1
SET ?=
AMAZON := [IS,VG,MI]
BACKBONES := gru4rec sasrec bert4rec
REAL = -S 'grid.domains=$(AMAZON)' -S 'grid.sources=$(AMAZON)' -S 'pool.domains=$(AMAZON)' \
    $(foreach d,IS VG MI,-S domains.$(d).location=$(LOCATION) \
        -S domains.$(d).interactions=$(INTERACTIONS)) \
    -S preprocess.text_rule=$(TEXT_RULE) -S encoder=$(ENCODER) \
    -S 'encoders.lsa.fit_domains=$(AMAZON)' -S 'seeds=$(SEEDS)' \
    -S train.batch_size=128 -S train.learning_rate=0.001 -S train.max_epochs=100 \
    -S train.patience=10 -S patterns.max_epochs=20 \
    -S train.negatives=256 -S train.domain_sample=64 -S train.threads=$(THREADS) \
    $(foreach b,$(BACKBONES),-S backbones.$(b).dropout=0.2 -S backbones.$(b).max_length=50) \
    -S backbones.sasrec.num_layers=2 -S backbones.bert4rec.num_layers=2 \
    -S backbones.bert4rec.mask_probability=0.5 \
    -S figures.items=500 -S figures.users=2000 -S figures.perplexity=30.0

# Every row of the paper's tables: its ablation of the equations as printed, and of what transfers.
ROWS := id sem recg_printed printed_wo_ig printed_wo_id printed_wo_ic printed_wo_sg \
    recg wo_ig wo_id wo_ic wo_sg
TRIALS ?= 20
comma := ,
empty :=
list = [$(subst $(empty) $(empty),$(comma),$(strip $(1)))]
PAPER = -S 'grid.backbones=$(call list,$(BACKBONES))' -S 'grid.variants=$(call list,$(ROWS))' \
    -S report.drop_overlap_users=true

.PHONY: install demo amazon paper paper-search test real faults lock clean

install: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -c requirements.lock -e '.[dev,llm2vec,pipeline,ray,serve]'
	touch $@

demo: install
	dvc repro
	@echo "The report is results/report/report.html, or report.md beside it"

amazon: install
	dvc exp run $(REAL) $(SET)

paper: install
	dvc exp run $(REAL) $(PAPER) $(SET)

# What `recg search` finds for each row and backbone goes into params.yaml, where `make paper` reads it.
paper-search: install
	dvc exp run $(REAL) $(PAPER) $(SET) pool
	set -e; for row in $(ROWS); do for backbone in $(BACKBONES); do \
	    recg search --variant $$row --backbone $$backbone --trials $(TRIALS); done; done

test: install
	ruff check .
	ruff format --check .
	mypy
	pytest -n auto --dist loadfile --no-loadscope-reorder

# Whole runs of the pipeline, and slow checks on real data, which skip, and say so, where it is not at hand.
real: install
	pytest -m real

# Damages everything that can be damaged, some thousand times; SHARE=0.1 a tenth of it.
SHARE ?= 1
faults: install
	python -m tests.faults --share $(SHARE)

# Needs uv. Exact versions for every supported Python; torch without a build tag, so that the same
# line serves CPU and GPU machines.
lock:
	uv pip compile --universal --python-version 3.10 --extra dev --extra llm2vec --extra pipeline --extra ray --extra serve \
	    --no-header --no-annotate --fork-strategy requires-python -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info
