# Everything here works on a machine with Python 3.10-3.13, make and a package index.
PYTHON ?= python3
BIN = .venv/bin
INSTALLED = .venv/installed

demo: $(INSTALLED)  ## install everything, and compare the three fixtures, each in its own framework
	$(BIN)/rnnverify compare fixtures/simple_rnn.h5 fixtures/rnn.pt fixtures/basic_rnn_cell.ckpt

test: $(INSTALLED) lint  ## lint, types, and the whole test suite
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

browser: $(INSTALLED)  ## the HTML report in a real headless Chromium, which has to be there; screenshots in build/screenshots
	CHROMIUM=required SCREENSHOTS=build/screenshots $(BIN)/python -m pytest tests/reports/test_browser.py

pipeline: $(INSTALLED)  ## action.yml, the GitLab script and the pre-commit hook of a fresh repository, red and then green: minutes
	$(BIN)/python tests/pipeline/fresh.py

bench: $(INSTALLED)  ## ratios of whole commands to hand-written scripts, measured side by side
	$(BIN)/python tests/bench/compare.py
	$(BIN)/python tests/bench/budget.py

SIZE ?= small
soundness: $(INSTALLED)  ## correct engines against the rounding budget, SIZE=small|medium|large: any false alarm fails
	PYTHONPATH=tests:tests/cells $(BIN)/python tests/soundness/soundness.py $(SIZE)

SECONDS ?= 600
fuzz: $(INSTALLED)  ## mutated files of every form, SECONDS=600 of them: any that is not read or refused in one sentence fails
	PYTHONPATH=tests/fuzz:tests/containers $(BIN)/python tests/fuzz/fuzz.py $(SECONDS)

CORPUS ?= corpus
corpus: $(INSTALLED)  ## every genuine, wrong and hostile file of a corpus, CORPUS=path, against what its README promises
	PYTHONPATH=tests/corpus $(BIN)/python tests/corpus/corpus.py $(CORPUS)

TRIALS ?= 100
GATED ?= 12
diagnosis: $(INSTALLED)  ## porting mistakes planted in random networks, and how many are named: fails below the goals
	PYTHONPATH=tests $(BIN)/python tests/diagnosis_experiment/experiment.py $(TRIALS)
	PYTHONPATH=tests $(BIN)/python tests/diagnosis_experiment/experiment.py $(GATED) 0 gru
	PYTHONPATH=tests $(BIN)/python tests/diagnosis_experiment/experiment.py $(GATED) 0 lstm

fixtures: $(INSTALLED)  ## write the fixtures again, with the installed frameworks
	$(BIN)/python fixtures/make.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q rnnverify
	touch $(INSTALLED)

clean:  ## remove what was installed and cached
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: demo test lint browser pipeline bench soundness diagnosis fuzz corpus fixtures clean
