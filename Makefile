# make install   a .venv with the pinned dependencies     make demo     train and audit the census model
# make test      the tests that CI runs                   make check    format, lint, types
# make slow      the exhaustive tests                     make reports  regenerate the gallery in reports/
# make fuzz      damaged files for FUZZ_SECONDS     FUZZ_SEED chooses which, a fresh one each time; FUZZ_KIND of which files
# make mutants   changes one thing at a time in MUTANTS (intervals, judging, archive, pickles), and sees that a test notices
# make lock      pin again what pyproject.toml asks for: pins stay where they fit, UPGRADE=--upgrade raises them
# make clean     remove what these made
# make cover     the tests, and how much of the code they run: it fails below the floor in pyproject.toml
# make messages  update the catalogues of translations from the code
# make screenshots  the pictures of docs/, from the gallery
# make versions  demo and tests of the installed package: PYTHON=python3.13, RESOLUTION=lowest-direct
# make dist      the wheel and the source distribution    make sbom     a bill of materials of the wheel
# make advisories  known vulnerabilities of what requirements.lock pins
# make docs      the documentation site in docs/_build/html: tutorials are run, warnings are errors
# make trackers  logs a report to a real MLflow server on this machine and to W&B offline, and reads it back
# make extras    audits on Ray, of recordings and of GGUF files, with packages that requirements.lock does not pin
# make demo-digits-gan  train a generator of digits, draw from it and audit it
# make demo-language  train a small language model on reviews with canaries, and audit what it remembers
# make bench     speed beside Fairlearn, in benchmarks/results     make coverage  how often intervals and searches hold

PYTHON ?= python3
BIN := .venv/bin
# Warnings of pip about this machine's package sources are not the user's business.
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: install demo demo-digits-gan demo-language test cover check slow fuzz mutants messages reports screenshots versions lock dist clean bench coverage sbom advisories trackers extras docs

install: .venv/installed

TORCH := torch==2.13.0

.venv/installed: requirements.lock ci/torch-cpu.lock ci/torch-pypi.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v else f"auditkit needs Python 3.11 or later, got {v[0]}.{v[1]}; run make PYTHON=python3.12 install")'
	$(PYTHON) -m venv .venv
	$(PIP) install --no-deps --require-hashes -r ci/torch-cpu.lock || \
	  { echo "make install: no wheel of ci/torch-cpu.lock fits; taking that of PyPI"; $(PIP) install --no-deps --require-hashes -r ci/torch-pypi.lock; }
	$(PIP) install --no-deps --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

demo: install
	$(BIN)/auditkit demo

demo-digits-gan: install
	$(BIN)/python examples/generator.py reports/demo/digits-gan dcgan

demo-language: install
	$(BIN)/python examples/language.py reports/demo/language

test: install
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal --quiet  # worksteal: the tests of a file, and what they share, stay with one of the two workers

cover: install
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -m "not slow" -n 2 --dist worksteal --quiet
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

slow: install
	$(BIN)/python -m pytest -m slow --quiet --timeout 3600

FUZZ_SECONDS ?= 600
FUZZ_SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

fuzz: install
	$(BIN)/python tests/fuzz.py --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) $(addprefix --kind ,$(FUZZ_KIND))

MUTANTS ?= intervals
MUTANTS_SAMPLE ?= 100

mutants: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py $(MUTANTS) --sample $(MUTANTS_SAMPLE) --seed $(FUZZ_SEED)

bench: install
	cd benchmarks && for part in startup metric_frame bootstrap growth stream explain private_step generation; do OMP_NUM_THREADS=1 ../$(BIN)/python $$part.py || exit 1; done

coverage: install
	$(BIN)/python -m pytest -m slow --quiet --timeout 3600 tests/evidence tests/stats tests/tasks tests/auditors

REPORT := results.json report.html junit.xml summary.md manifest.json

reports: install
	$(BIN)/auditkit demo
	mkdir -p reports/census
	cp $(addprefix reports/demo/,$(REPORT)) reports/census
	for name in digits reviews; do \
	  $(BIN)/python examples/$$name.py reports/demo/$$name; test -f reports/demo/$$name/report.html || exit 1; \
	  mkdir -p reports/$$name; \
	  for file in $(REPORT); do cp reports/demo/$$name/$$file reports/$$name; done; \
	done
	$(BIN)/python examples/synthetic.py reports/demo/adult-synthetic; test -f reports/demo/adult-synthetic/report.html
	mkdir -p reports/adult-synthetic
	cp $(addprefix reports/demo/adult-synthetic/,$(REPORT)) reports/adult-synthetic
	$(BIN)/python examples/language.py reports/demo/language; test -f reports/demo/language/report.html
	mkdir -p reports/language
	cp $(addprefix reports/demo/language/,$(REPORT)) reports/language
	for pair in digits-gan:dcgan digits-vae:vae; do \
	  name=$${pair%%:*}; \
	  $(BIN)/python examples/generator.py reports/demo/$$name $${pair##*:}; test -f reports/demo/$$name/report.html || exit 1; \
	  mkdir -p reports/$$name; \
	  for file in $(REPORT); do cp reports/demo/$$name/$$file reports/$$name; done; \
	done

messages: install
	$(BIN)/python -m auditkit.render.i18n.extract

screenshots: install
	$(BIN)/python docs/screenshots.py

RESOLUTION ?= highest

# The package as users get it: built and installed, with what pip would choose or the lowest versions allowed.
versions:
	rm -rf .venv-versions && $(PYTHON) -m venv .venv-versions
	.venv-versions/bin/python -m pip install --quiet uv
	.venv-versions/bin/uv pip install --quiet --python .venv-versions/bin/python --resolution $(RESOLUTION) ".[dev]"
	.venv-versions/bin/uv pip check --python .venv-versions/bin/python
	.venv-versions/bin/auditkit demo --out .venv-versions/demo
	OMP_NUM_THREADS=1 .venv-versions/bin/pytest tests -m "not slow" -n 2 --dist worksteal --quiet

UPGRADE ?=

lock:
	ci/lock.sh $(TORCH) $(UPGRADE)

dist: install
	rm -rf dist && $(BIN)/python -m hatchling build --directory dist

# A bill of materials of the wheel: what it needs at run time, with versions, licences and hashes (CycloneDX 1.6).
sbom: dist
	$(BIN)/python ci/sbom.py dist/*.whl > dist/sbom.cdx.json && mkdir -p sbom && mv dist/sbom.cdx.json sbom/auditkit.cdx.json

# Known vulnerabilities of the pinned packages; exit code 3 where no database told.
advisories:
	rm -rf .venv-advisories && $(PYTHON) -m venv .venv-advisories
	.venv-advisories/bin/python -m pip install --quiet pip-audit
	-.venv-advisories/bin/pip-audit --disable-pip --require-hashes -r requirements.lock --progress-spinner off \
	  --format json --output .venv-advisories/found.json
	.venv-advisories/bin/python ci/advisories.py .venv-advisories/found.json

# Sphinx and its parts come into .venv besides the pinned packages; nothing of auditkit needs them.
docs: install
	$(PIP) install "sphinx>=8.1" "myst-nb>=1.2" "furo>=2024.8" ipykernel
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html -d docs/_build/doctrees docs docs/_build/html

# The clients of the extras mlflow, against a server, and wandb; they need packages that requirements.lock does not pin.
trackers:
	rm -rf .venv-trackers && $(PYTHON) -m venv .venv-trackers
	.venv-trackers/bin/python -m pip install --quiet "$(TORCH)"
	.venv-trackers/bin/python -m pip install --quiet ".[mlflow,wandb]" mlflow pytest pytest-timeout
	.venv-trackers/bin/python -m pytest --quiet ci/mlflow_server.py
	.venv-trackers/bin/python -m pytest --quiet ci/wandb_offline.py

# Ray, whose start needs some seconds of a machine that is not busy; recordings; GGUF files.
extras:
	rm -rf .venv-extras && $(PYTHON) -m venv .venv-extras
	.venv-extras/bin/python -m pip install --quiet "$(TORCH)"
	.venv-extras/bin/python -m pip install --quiet ".[ray,audio,hf,gguf]" pytest pytest-timeout
	.venv-extras/bin/python -m pytest --quiet ci/ray_executor.py
	.venv-extras/bin/python -m pytest --quiet ci/audio_folders.py
	.venv-extras/bin/python -m pytest --quiet ci/gguf_files.py

clean:
	rm -rf docs/_build docs/reference sbom .venv-advisories .venv .venv-lock .venv-versions .venv-trackers .venv-extras reports/demo .mypy_cache .pytest_cache .ruff_cache
