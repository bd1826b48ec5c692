# Needs Python 3.11+ and make; everything else is set up in .venv by the target that uses it.
# Variables: PYTHON (the interpreter for .venv), VENV (another folder than .venv), TEST_ARGS (for pytest), DEMO_ARGS (for the demo), MINUTES (of the soak), BENCH_ARGS (for the benchmark).

.PHONY: help demo test check acceptance soak bench format picture screenshots messages docs dist clean

PYTHON =
VENV = .venv
TEST_ARGS =
DEMO_ARGS =
MINUTES = 60
BENCH_ARGS =
BIN = $(VENV)/bin
# Tools are run as modules: a console script's first line breaks where the checkout's path is long or has spaces.
PY = $(BIN)/python
PIP = $(PY) -m pip --disable-pip-version-check --quiet --quiet install
# A process for each core, each with databases of its own; TEST_ARGS=-n0 runs in one.
PARALLEL = --numprocesses=auto --maxprocesses=4 --dist=loadfile
NOT_LONG = not acceptance and not bench and not soak

help:
	@echo "make demo         runs the example: stream server, worker, beat and pages; Ctrl-C ends it"
	@echo "                  DEMO_ARGS=--until-up-to-date: the same without the pages, ends when the tables are equal"
	@echo "make test         runs the tests; those whose servers are missing skip with the reason (TEST_ARGS='-k name')"
	@echo "make check        formatting, lint, types, import contracts and their picture, migrations, system checks"
	@echo "make acceptance   the long runs with real processes"
	@echo "make soak         keeps the demo busy for an hour (MINUTES=10: less)"
	@echo "make bench        measures speed, compared with other ways, on each database it finds (BENCH_ARGS='--only live')"
	@echo "make format       formats the code"
	@echo "make picture      redraws the rooms in docs/architecture.md from their imports"
	@echo "make screenshots  takes the screenshots in README and docs/ again, from the running demo"
	@echo "make messages     collects the texts to translate into durable_state/locale/, and compiles the translations"
	@echo "make docs         builds the documentation as a site in build/docs/; a broken link is an error"
	@echo "make dist         builds the wheel and the source archive in dist/, and checks them"
	@echo "make clean        removes .venv and everything else that make created"
	@echo "PYTHON=python3.12 chooses the interpreter of .venv (3.11 or newer); VENV=.venv-3.12 keeps it beside others"

$(VENV)/made:
	@sh scripts/make_venv $(VENV) $(PYTHON)
	@touch $@

$(VENV)/demo: $(VENV)/made pyproject.toml
	@echo "Installing the demo into $(VENV) ..."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/dev: $(VENV)/made pyproject.toml
	@echo "Installing the development tools into $(VENV) (once) ..."
	@$(PIP) --editable '.[dev]'
	@$(PIP) --editable '.[mysql]' >$(VENV)/mysql.log 2>&1 || \
		echo "mysqlclient could not be built (it needs a compiler, pkg-config and MariaDB's headers; see $(VENV)/mysql.log): tests on MySQL will skip"
	@touch $@ $(VENV)/demo

tests/interop/node_modules/made: tests/interop/package-lock.json
	@if command -v npm >/dev/null && command -v node >/dev/null; then \
		echo "Installing the reference server and clients for Node (once) ..."; \
		(cd tests/interop && npm ci --no-audit --no-fund) >tests/interop/npm.log 2>&1 && touch $@ || \
		echo "npm ci failed (see tests/interop/npm.log): tests against the reference implementation will skip"; \
	fi

demo: $(VENV)/demo
	@exec $(PY) -m example_project.demo $(DEMO_ARGS)

test: $(VENV)/dev tests/interop/node_modules/made
	@$(PY) -m pytest $(PARALLEL) -m '$(NOT_LONG)' $(TEST_ARGS)

acceptance: $(VENV)/dev tests/interop/node_modules/made
	@$(PY) -m pytest -m acceptance $(TEST_ARGS)

soak: $(VENV)/dev
	@DURABLE_STATE_SOAK_MINUTES=$(MINUTES) $(PY) -m pytest -m soak -s tests/example $(TEST_ARGS)

bench: $(VENV)/dev tests/interop/node_modules/made
	@$(PY) -m bench $(BENCH_ARGS)

check: $(VENV)/dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	DJANGO_SETTINGS_MODULE=tests.settings $(PY) -m mypy durable_state tests bench scripts
	DJANGO_SETTINGS_MODULE=example_project.settings $(PY) -m mypy --cache-dir .mypy_cache/example example_project
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-cache
	$(PY) -m scripts.architecture --check
	DJANGO_SETTINGS_MODULE=tests.settings $(PY) -m django makemigrations --check --dry-run durable_state
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check

format: $(VENV)/dev
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

picture: $(VENV)/dev
	$(PY) -m scripts.architecture

screenshots: $(VENV)/dev
	@DURABLE_STATE_PICTURES=docs $(PY) -m pytest -q -n0 -m acceptance tests/example/test_pictures.py

messages: $(VENV)/dev
	@cd durable_state && $(abspath $(PY)) -m django makemessages --all --no-obsolete --no-location --no-wrap
	@cd durable_state && $(abspath $(PY)) -m django compilemessages

docs: $(VENV)/dev
	@$(PY) -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --conf-dir docs . build/docs
	@echo "Open build/docs/index.html"

dist: $(VENV)/dev
	@rm -rf dist
	@$(PY) -m build --outdir dist . >/dev/null
	@$(PY) -m twine check --strict dist/*

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf tests/interop/node_modules tests/interop/npm.log example_project/.demo *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
