# Each target sets up what it needs: a virtual environment in .venv, made anew only when
# pyproject.toml changes, and the default model, fetched once.
PYTHON ?= python3
BIN := .venv/bin
MODEL := data/01_raw/models/smollm2-135m/almost_kedro.json
MLFLOW_STORE ?= data/08_reporting/mlflow/mlflow.db

.PHONY: run test lint viz mlflow notebook clean

run: .venv/installed $(MODEL)
	$(BIN)/kedro run

test: .venv/installed-dev $(MODEL)
	$(BIN)/pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

viz: .venv/installed
	$(BIN)/kedro viz run

mlflow: .venv/installed
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(MLFLOW_STORE)

notebook: .venv/installed-dev
	$(BIN)/kedro jupyter lab

clean:
	rm -rf .venv build

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(MODEL): | .venv/installed
	$(BIN)/kedro models get smollm2-135m
