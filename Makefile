# What a developer does, each as one word. Run `make` alone for the list.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
LOCKED := install --require-hashes --only-binary :all: -r

# The virtual environment is as new as its stamps: .tools for what others wrote, .installed for qatdp itself.
# Folders count as well: a file that goes leaves no other trace.
SOURCES := pyproject.toml meson.build meson.options $(shell find csrc src -name __pycache__ -prune -o -print)

# These need a real thing each, and are programs of their own as well: they import from their own folder.
SUITES := tests/attack tests/mutants $(addprefix tests/integration/,guest image kernel kubelet node)

C_FILES := $(wildcard csrc/*.[ch] csrc/*/*.[ch])

SCRIPTS := .ci/run tests/integration/guest/init tests/integration/guest/packages tools/packages tools/sanitized-python tools/venv
PAGES := $(wildcard *.md docs/*.md deploy/*.md bench/*.md)

PROTO := $(VENV)/proto
PROTOS := $(patsubst proto/%,%,$(wildcard proto/qatdp/api/*.proto))

.DELETE_ON_ERROR:

.PHONY: help
help:
	@echo 'make setup         put qatdp and the development tools into $(VENV), where they are not yet or not as new'
	@echo 'make run           show what qatdp does, on a simulated node with an embedded kubelet'
	@echo 'make test          lint, proto-check and the fast tests, those of the C helper as well'
	@echo 'make test-c        the C helper under sanitizers: tests in C, those of both implementations, a story of simulate'
	@echo 'make fuzz          throw things at the C helper under sanitizers, for FUZZ_S ($(FUZZ_S)) seconds'
	@echo 'make lint          of code, imports, scripts and texts'
	@echo 'make lint-repo     actionlint of the workflows, built by Go'
	@echo 'make format        let ruff mend and format what it can'
	@echo 'make lock          resolve all Python packages again and pin them with hashes, in requirements/'
	@echo 'make proto         generate src/qatdp/api from proto/'
	@echo 'make proto-check   tell whether src/qatdp/api is what proto/ generates'
	@echo "make test-kernel   qatdp's host edge on two of Debian's kernels: a guest with QAT devices and VFIO"
	@echo "make test-kubelet  tests on Kubernetes' own device manager"
	@echo 'make test-node     tests on a whole node: a guest with QAT devices, VFIO, containerd and a kubelet'
	@echo 'make test-iommufd  tests of that node on VFIO with iommufd and a node for each device, which is built here'
	@echo 'make attack        do to the daemon what somebody might who wishes it ill, for ten minutes at most'
	@echo 'make test-nightly  what takes too long for each change: hours'
	@echo 'make test-mutants  put deliberate faults into a copy, and see that the tests find them'
	@echo 'make mutation      let mutmut change one MODULE of core/, and list what no test finds: minutes'
	@echo 'make bench         how long the C helper and its twin take: bench/README.md'
	@echo 'make image         build the container image as an OCI archive, without an engine or a registry'
	@echo "make test-image    tests of that image in Debian's containerd, with a DaemonSet's rights"
	@echo 'make clean         remove all that these made here'

# --- setup -----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.installed
	@:

$(VENV)/.tools: requirements/dev.txt requirements/build.txt requirements/run.txt tools/venv
	@tools/venv $(VENV)
	@echo 'setup: what qatdp needs, and development tools'
	@$(PIP) $(LOCKED) $<
	@touch $@

# The helper is there unless a C compiler or Python.h was not.
COMPILED = $(BIN)/python -c 'import qatdp.host.calls._native' 2>/dev/null

# Not editable: that would build at import. ninja is found on the PATH. Whoever edits meanwhile has it installed again.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	@echo 'setup: qatdp'
	@touch $@.begun
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --no-build-isolation --no-deps .
	@$(COMPILED) || echo 'setup: no C helper, for lack of a C compiler or of Python.h: a scan takes longer, nothing else differs'
	@mv $@.begun $@

# --- test ------------------------------------------------------------------------------------------------------------

.PHONY: run
run: setup
	@$(BIN)/qatdp simulate

# Two for each processor: a test that waits lets another run. One by one, with pytest alone, they fail no less.
SIDE_BY_SIDE = --numprocesses=$(shell echo $$((2 * $$(nproc)))) --maxprocesses=8 --dist=worksteal

.PHONY: test
test: setup
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint proto-check test-c
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# A build of its own, with warnings as errors, for sanitizers must not get into what is installed: folder, compiler, and
# what is done with it.
define sanitized
@echo 'meson $(1), by $(2)'
@rm -rf $(1) && mkdir -p build
@export PATH="$(CURDIR)/$(BIN):$$PATH" CC="$(2)" && { \
	meson setup $(1) -Dbuildtype=debug -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=true \
		-Dpython.platlibdir=/site -Dhelper=enabled && $(3); \
} >$(1).log 2>&1 || { cat $(1).log >&2; exit 1; }
endef

SANITIZED := build/sanitized
SANITIZED_PYTHON = tools/sanitized-python $(CC) $(SANITIZED)/installed/site
NATIVE_TESTS := $(addprefix tests/unit/host/test_,calls.py same.py watched.py)

FUZZED := build/fuzzed
FUZZERS := bus names
FUZZ_S := 60
# Clang has libFuzzer, which learns from what it throws; where it is not, csrc/fuzz/alone.c throws by chance.
LIBFUZZER = $(shell echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	clang -x c -fsanitize=fuzzer,address,undefined - -o /dev/null 2>/dev/null && echo clang)

.PHONY: test-c fuzz
test-c fuzz: setup
	@if $(COMPILED); then $(MAKE) --no-print-directory $@-compiled; else echo '$@: skipped, no C helper was compiled'; fi

.PHONY: test-c-compiled
test-c-compiled:
	$(call sanitized,$(SANITIZED),$(CC),\
		meson test -C $(SANITIZED) --print-errorlogs && meson install -C $(SANITIZED) --destdir installed)
	@$(SANITIZED_PYTHON) $(BIN)/python -m pytest -q $(NATIVE_TESTS)
	@echo 'qatdp simulate --once, under sanitizers'
	@$(SANITIZED_PYTHON) $(BIN)/qatdp simulate --once >$(SANITIZED).log 2>&1 || { cat $(SANITIZED).log >&2; exit 1; }

.PHONY: fuzz-compiled
fuzz-compiled:
	$(call sanitized,$(FUZZED),$(or $(LIBFUZZER),$(CC)),meson compile -C $(FUZZED) $(FUZZERS:%=fuzz_%))
	@export UBSAN_OPTIONS=halt_on_error=1 && for name in $(FUZZERS); do \
		$(FUZZED)/csrc/fuzz_$$name -max_total_time=$$(($(FUZZ_S) / $(words $(FUZZERS)))) -max_len=128 -verbosity=0 \
			-print_final_stats=1 -artifact_prefix=$(CURDIR)/$(FUZZED)/ >$(FUZZED).log 2>&1 || { cat $(FUZZED).log >&2; exit 1; }; \
		echo "fuzz $$name: $$(sed -n 's/^stat::number_of_executed_units: *//p' $(FUZZED).log) texts"; \
	done

.PHONY: bench
bench: setup
	$(BIN)/python -m pytest bench --benchmark-only --benchmark-disable-gc --benchmark-columns=min,median,max,rounds \
		--benchmark-name=short --benchmark-sort=name

.PHONY: test-kernel test-kubelet test-node test-image test-mutants
test-kernel test-kubelet test-node test-image: test-%: setup
	tests/integration/$*/run

test-mutants: setup
	tests/mutants/run

.PHONY: test-iommufd
test-iommufd: setup
	IOMMUFD=1 tests/integration/node/run tests/integration/node/test_iommufd.py

.PHONY: attack
attack: setup
	tests/attack/run

# What takes too long for each change. docs/testing.md tells what each of these proves.
.PHONY: test-nightly
test-nightly: setup test-iommufd attack
	PROFILE=nightly $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m ''
	KUBERNETES=1.37.2 SCHEDULES=1000 CHURN_S=1800 tests/integration/kubelet/run -m 'nightly or not nightly'

# Not among the development tools: mutmut brings Rust, and is asked seldom.
$(VENV)/.mutation: requirements/mutation.txt $(VENV)/.tools
	@echo 'setup: mutmut'
	@$(PIP) $(LOCKED) $<
	@touch $@

.PHONY: mutation
mutation: setup $(VENV)/.mutation
	$(if $(MODULE),,$(error make mutation MODULE=release.protocol))PYTHONPATH=src $(BIN)/python -m mutmut run --max-children 1 "qatdp.core.$(MODULE).*"
	$(BIN)/python -m mutmut results

# --- image -----------------------------------------------------------------------------------------------------------

.PHONY: image
image: setup
	@QATDP_PYTHON=$(BIN)/python tools/image

# --- lock ------------------------------------------------------------------------------------------------------------

# After a change in pyproject.toml, and now and then. What is installed here needs not be what it says.
.PHONY: lock
lock: $(VENV)/.tools
	@$(BIN)/python tools/lock

# --- lint ------------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: setup $(VENV)/.lint
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	MYPYPATH=src:tests:tools $(BIN)/mypy --no-error-summary src tests/conftest.py tests/support tests/unit bench
	@$(foreach suite,$(SUITES) tools,$(call mypy_suite,$(suite)) && ) true
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tools/lint-words
	@if [ -e $(BIN)/shellcheck ]; then $(MAKE) --no-print-directory lint-texts; \
		else echo 'lint: no codespell, shellcheck, hadolint and pymarkdown, which come for x86_64 alone'; fi

.PHONY: lint-texts
lint-texts:
	$(BIN)/codespell -D - -D tools/dictionary.txt $$(git ls-files ':!requirements' ':!LICENSE' ':!CHANGELOG.md' ':!tools/dictionary.txt')
	$(BIN)/shellcheck --severity=warning $(SCRIPTS)
	$(BIN)/hadolint deploy/Containerfile
	$(BIN)/pymarkdown --config pyproject.toml scan $(PAGES)

.PHONY: lint-repo
lint-repo: setup
	$(BIN)/python tools/actionlint

$(VENV)/.lint: requirements/lint.txt $(VENV)/.tools
	@echo 'setup: linters of texts and scripts'
	@if [ "$$(uname -m)" = x86_64 ]; then $(PIP) $(LOCKED) $<; fi
	@touch $@

# Each by a call of its own, as two of them have a package `ground`; with one cache, so that src is read once.
mypy_suite = echo 'mypy $(1)' && MYPYPATH=src:tests:$(1):tests/integration/guest:$(if $(filter %/image %/kernel,$(1)),tests/integration/node:)$(if $(filter %/attack,$(1)),tests/integration/kubelet:)tools $(BIN)/mypy --no-error-summary \
	$(sort $(wildcard $(1)/*.py $(1)/*/*.py) $(shell grep -sl '^\#!.*python' $(1)/*))

.PHONY: format
format: setup
	$(BIN)/clang-format -i $(C_FILES)
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

# --- proto -----------------------------------------------------------------------------------------------------------

.PHONY: proto
proto: generate
	@rm -f src/qatdp/api/*_pb2*
	@cp $(PROTO)/out/qatdp/api/* src/qatdp/api/

.PHONY: proto-check
proto-check: generate
	@diff -r -x __init__.py -x __pycache__ src/qatdp/api $(PROTO)/out/qatdp/api || { \
		echo '*** src/qatdp/api is not what proto/ generates: make proto' >&2; exit 1; }

.PHONY: generate
generate: $(PROTO)/.tools
	@rm -rf $(PROTO)/out
	@mkdir $(PROTO)/out
	@echo 'protoc $(PROTOS)'
	@$(PROTO)/bin/python -m grpc_tools.protoc -I proto \
		--plugin=protoc-gen-mypy=$(PROTO)/bin/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(PROTO)/bin/protoc-gen-mypy_grpc \
		--python_out=$(PROTO)/out --grpc_python_out=$(PROTO)/out \
		--mypy_out=quiet:$(PROTO)/out --mypy_grpc_out=quiet:$(PROTO)/out $(PROTOS)

$(PROTO)/.tools: requirements/proto.txt $(VENV)/.tools
	@echo 'setup: protoc and its plugins'
	@$(BIN)/python -m venv --clear --without-pip $(PROTO)
	@$(PIP) --python $(PROTO)/bin/python $(LOCKED) $<
	@touch $@

# --- clean -----------------------------------------------------------------------------------------------------------

.PHONY: clean
clean:
	rm -rf $(VENV) build mutants .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
