# Each target first builds .venv: from requirements.lock what proving and checking need; test, lint, docs, train and so on
# add requirements-dev.lock. Needed: Python 3.11 or later, and make.

PYTHON ?= $(shell for c in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$c -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$c && break; done)
PY := .venv/bin/python
PIP := $(PY) -m pip
MODEL ?= $(sort $(wildcard models/*.safetensors))
ARGS ?=

# One thread: sums are formed in one order and times can be compared.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_REQUIRE_VIRTUALENV := 1

.DEFAULT_GOAL := help
.PHONY: help install dev certify test gate train bench soundness formal formal-check docs lint format lock clean distclean

help:
	@echo "make certify     explain, prove and sign every model in models/, or MODEL=models/<name>.safetensors"
	@echo "make test        the whole test suite"
	@echo "make gate        require a proof that meets the policy for every model"
	@echo "make train       train a model: ARGS='--p 59 --out models/mine.safetensors'"
	@echo "make bench       the checker against brute force"
	@echo "make soundness   the long soundness run"
	@echo "make formal      compile the machine-checked proofs (needs Coq; says how to get it)"
	@echo "make formal-check  the verified checker, run on MODEL"
	@echo "make docs        the documentation site, into build/site"
	@echo "make lint        format, lint and type checks;  make format  applies the first two"
	@echo "make install     .venv with what certify and gate need;  make dev  with everything (torch, browsers' driver, docs)"
	@echo "make lock        resolve the lock files again"
	@echo "make clean       remove build output and caches;  make distclean  also .venv"
	@echo "ARGS='...' is passed on to the command that a target runs."

# A stamp for each: a changed lock file installs packages; a changed pyproject.toml only the project itself.
.venv/packages.stamp: requirements.lock
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
		test -n "$(PYTHON)" || { echo "make: Python 3.11 or later with venv was not found; set PYTHON=" >&2; exit 1; }; \
		echo "creating .venv ($$($(PYTHON) --version))"; \
		$(PYTHON) -m venv --clear .venv; \
	fi
	@echo "installing $(call packages,$<), by their hashes: some 300 MB"
	@$(PIP) install -r $<
	@touch $@

.venv/project.stamp: .venv/packages.stamp pyproject.toml
	@echo "installing verifier (editable)"
	@$(PIP) install -qq --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

.venv/dev.stamp: .venv/packages.stamp requirements-dev.lock
	@echo "installing $(call packages,requirements-dev.lock): torch is most of 1.4 GB more, and unpacking it is silent"
	@$(PIP) install -r requirements-dev.lock
	@$(PIP) check
	@touch $@

packages = the $(shell grep -c == $(1)) packages of $(1)

install: .venv/project.stamp

dev: install .venv/dev.stamp

certify: install
	@test -n "$(strip $(MODEL))" || { echo "make: there is no model in models/; set MODEL=" >&2; exit 2; }
	$(PY) -m verifier certify $(MODEL) $(ARGS)

# Its own tests must reach all lines and branches of the kernel; the report names the rest. ARGS selects tests, and then nothing is measured.
test: dev
ifeq ($(strip $(ARGS)),)
	$(PY) -m pytest tests/kernel --cov=verifier/kernel --cov-report=term-missing --cov-branch --cov-fail-under=100
	$(PY) -m pytest --ignore=tests/kernel
else
	$(PY) -m pytest $(ARGS)
endif

gate: install
	$(PY) -m verifier gate certificates --models models $(ARGS)

train: dev
	$(PY) -m tools.train $(ARGS)

bench: dev
	$(PY) -m benchmarks $(ARGS)

soundness: dev
	HYPOTHESIS_PROFILE=soundness $(PY) -m pytest -m soundness $(ARGS)

# Coq's proofs, what they rest on, and how many there are. ARGS='--recheck' adds Coq's independent checker.
formal:
	formal/build.sh $(ARGS)

formal-check:
	formal/build.sh --checker $(ARGS)
	@for model in $(MODEL); do \
		found=$$(build/formal/check "$$model") || { code=$$?; echo "$$model: not decided"; [ $$code = 3 ] && continue; exit 1; }; \
		set -- $$found; echo "$$model: $$3 of $$2 inputs are answered right, p = $$1"; done

export NO_MKDOCS_2_WARNING := 1
docs: dev
	$(PY) -m mkdocs build --strict --site-dir build/site $(ARGS)

lint: dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: dev
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

# The newest versions that pyproject.toml allows, except torch: its pin also keeps to one build of it.
TORCH := torch==2.13.0
LOCKED = build/lock/bin/python -m pip freeze --all --exclude modular-addition-verifier --exclude pip --exclude uv
lock:
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install -qq --upgrade . setuptools uv
	@{ sed '/==/,$$d' requirements.lock; \
	   $(LOCKED) | build/lock/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate -; \
	 } > build/requirements.lock
	@$(LOCKED) > build/core.txt
	@build/lock/bin/python -m pip install -qq '.[dev]' '$(TORCH)'
	@{ sed '/==/,$$d' requirements-dev.lock; $(LOCKED) | grep -vxFf build/core.txt | sed 's/+.*//'; \
	 } > build/requirements-dev.lock
	@mv build/requirements.lock build/requirements-dev.lock . && rm -rf build/lock

clean:
	rm -rf build dist *.egg-info .coverage .coverage.* htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
