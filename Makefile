# Every target sets itself up: `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPARK_JAR := build/spark/job-server.jar
# TORCH_BACKEND=cpu takes the small torch without CUDA, where its index can be reached.
TORCH_FLAG := $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND),)
TEST_PROCESSES ?= 2
FUZZ_FILES ?= 10000
# A file's tests run in one process, for the fixtures of a module; tests/conftest.py orders files.
# Libraries get one thread in each process, so that they do not compete for the cores.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q \
  -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(if $(CI),--require-tools,)
# What `make check` runs of the tests that are not slow: no Beam job, no server, no training run.
FAST_TESTS := $(addprefix tests/,schemas storage/test_objects.py audio synth dataset evaluation \
  commands/test_cli.py test_rooms.py test_processes.py \
  $(patsubst %,training/test_%.py,featurization losses optimizer order vocabulary))
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH_FLAG) -c requirements.lock

.DEFAULT_GOAL := help
.PHONY: help demo check test nightly fuzz static lint lock clean bench conformance spark-jar image push image-check docker bench-loader gpu-check mutants mutants-sampled

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.ready ## prepare a small dataset, verify it, and make a page to listen to; MUSIC=~/Music takes yours
	@$(BIN)/singsong demo $(if $(MUSIC),--music "$(MUSIC)",)

check: static ## ruff, mypy and the fast tests, in at most 90 s on two cores: run it before every commit
	@$(PYTEST) -m "not slow and not spark and not go and not nightly" $(FAST_TESTS)

test: $(VENV)/.dev ## run the tests in two processes: TEST_PROCESSES=4 takes more, PYTEST_ARGS="-k WORD" picks some
	@$(PYTEST) -m "not nightly" $(PYTEST_ARGS)

nightly: $(VENV)/.dev ## run what takes hours: the tests marked nightly, ten thousand damaged files, all mutants
	@$(PYTEST) -m nightly
	@$(MAKE) --no-print-directory fuzz mutants mutants-sampled

fuzz: $(VENV)/.dev ## decode ten thousand damaged files of twelve formats and print what became of them; FUZZ_FILES=300 takes fewer
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -s --fuzz-files $(FUZZ_FILES) tests/audio/test_decode_fuzz.py

lint: static ## ruff, mypy --strict, the import directions of the rooms and the documentation site
	@$(BIN)/python -m pytest -q tests/test_rooms.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

static: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p $(VENV)/mypy && ln -sfn ../.. $(VENV)/mypy/singsong
	@MYPYPATH=$(VENV)/mypy $(BIN)/mypy

mutants: $(VENV)/.dev ## plant each bug of tests/mutants/ in a copy: the tests must notice; ONLY=WORD picks some
	@$(BIN)/python -m tests.mutants $(if $(ONLY),--only "$(ONLY)",)

mutants-sampled: $(VENV)/.dev ## the same with a sample of the small changes that cosmic-ray makes; ONLY=WORD picks files
	@$(BIN)/python -m tests.mutants.sampled $(if $(ONLY),--only "$(ONLY)",)

bench: $(VENV)/.dev ## compare `singsong prepare` with the script a user would write
	@$(BIN)/python -m benchmarks.prepare

bench-loader: $(VENV)/.dev ## compare the loader with those of MosaicML, Hugging Face and webdataset
	@$(BIN)/python -m benchmarks.loader

gpu-check: $(VENV)/.dev ## compare codes on a GPU with the CPU's and measure its speed, in ten minutes; DEVICE=cpu GPU_CHECK_ARGS=--tiny tries it
	@$(BIN)/python -m benchmarks.gpu_check $(if $(DEVICE),--device "$(DEVICE)",) $(GPU_CHECK_ARGS)

conformance: $(VENV)/.dev $(SPARK_JAR) ## run one recipe on every engine and compare the datasets byte for byte
	@$(BIN)/python -m benchmarks.conformance

spark-jar: $(SPARK_JAR) ## assemble what `--runner spark` starts; needs Java 17 and Maven

image: docker ## build the worker image: IMAGE=registry/name:tag, MODELS="role=SPEC ..." and WEIGHTS=FOLDER bake others in
	@docker build --tag $(IMAGE) --build-arg MODELS="$(MODELS)" \
	  $(if $(WEIGHTS),--build-context weights="$(WEIGHTS)",) .
	@echo "FROM $(IMAGE)" | docker build --tag $(IMAGE) \
	  $$(docker run --rm --entrypoint cat $(IMAGE) /opt/singsong/labels) -

push: docker ## push the worker image: IMAGE=registry/name:tag
	@docker push $(IMAGE)

image-check: $(VENV)/.dev ## carry out the Dockerfile without Docker and encode a clip in it; needs root, debootstrap, Go
	@$(BIN)/python -m tests.support.plain_build

docker:
	@test -n "$(IMAGE)" || { echo "Name the image: make $(or $(MAKECMDGOALS),image) IMAGE=registry/name:tag"; exit 1; }
	@docker version >/dev/null 2>&1 || \
	  { echo "This needs Docker, and its daemon running: \`docker version\` fails here."; exit 1; }

lock: $(VENV)/.dev ## pin the newest versions that fit together, for each Python that is supported
	@$(BIN)/uv pip compile setup.py --quiet --upgrade --extra all --extra dev --universal \
	  --python-version 3.11 --no-header --no-annotate --no-emit-index-url -o requirements.lock
	@sed -i "s/ ; python_full_version < '3.14'.*//; s/ and platform_machine.*//" requirements.lock

clean: ## remove the environment, the demo and what was built
	rm -rf $(VENV) demo build

$(VENV)/.uv:
	@echo "Setting up $(VENV) (once; a few minutes and about 6 GB, or TORCH_BACKEND=cpu for 2 GB)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "This needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	@touch $@

$(VENV)/.ready: $(VENV)/.uv setup.py requirements.lock
	@$(INSTALL) -e ".[all]"
	@touch $@

$(VENV)/.dev: $(VENV)/.ready
	@$(INSTALL) -e ".[all,dev]"
	@touch $@

$(SPARK_JAR): runners/job_server/pom.xml
	@for tool in java mvn; do command -v $$tool > /dev/null || \
	  { echo "This needs Java 17 and Maven; there is no $$tool on the PATH."; exit 1; }; done
	@echo "Assembling $@ (once; Maven downloads about 300 MB)"
	@mvn --quiet --batch-mode --file $< package
	@touch $@
