# make demo    the whole main job on embedded defaults, in about a minute
# make test    every test, and the stock tools that read our files
# make help    the rest

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)
BIN      = bin/bundle
FUZZTIME ?= 15m
KILLS    ?= 50
DURATION ?= 10m

# One way to compile everything, so that nothing is compiled twice.
export CGO_ENABLED ?= 0
export GOFLAGS     ?= -trimpath

.PHONY: help build demo test test-unit test-peers test-cosign conformance test-web test-api e2e e2e-ha e2e-clean lint hostile kills soak fuzz big scale bench release release-twice clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

build: ## bin/bundle, static
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/bundle

demo: build ## build, sign, verify, serve and pull the CNStack stand-in bundle
	GO=$(GO) sh scripts/demo.sh $(BIN)

test: test-unit conformance test-cosign test-peers ## everything

test-unit: ## the product's own tests
	sh scripts/test-deps.sh
	$(GO) test -timeout 30m ./...

conformance: ## the OCI distribution-spec suite against our registry
	$(MAKE) -C test/conformance GO=$(GO)

test-cosign: ## the real cosign reads our signatures, and we read its
	$(MAKE) -C test/cosign GO=$(GO)

test-peers: build ## zstd, tar, skopeo, podman, containerd, crane, oras and helm read our file
	$(MAKE) -C test/peers GO=$(GO) BUNDLE=$(abspath $(BIN))

test-web: build ## the pages, in the distribution's Chromium
	$(MAKE) -C test/web GO=$(GO) BUNDLE=$(abspath $(BIN))

test-api: ## what talks to Kubernetes, against a real API server (builds one first)
	$(MAKE) -C test/api GO=$(GO)

e2e: build ## real installs on hosts of systemd-nspawn (root; builds a Kubernetes first)
	$(MAKE) -C test/e2e GO=$(GO) BUNDLE=$(abspath $(BIN))

e2e-ha: build ## the same on three control planes
	$(MAKE) -C test/e2e ha GO=$(GO) BUNDLE=$(abspath $(BIN))

e2e-clean: ## end hosts that a killed run of e2e has left
	$(MAKE) -C test/e2e clean GO=$(GO)

lint: ## gofmt, vet and staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

hostile: ## broken bundles in every command, failing disks, KILLS random kills of build, sign and push
	HOSTILE=1 KILLS=$(KILLS) $(GO) test -timeout 3h -v ./test/hostile -run 'Corpus|Verify|EveryVector|EveryWrite|Killed|Secrets|Modes'

kills: ## KILLS random kills each of build, sign, push, and of installs on a real API server
	HOSTILE=1 KILLS=$(KILLS) $(GO) test -timeout 3h -v ./test/hostile -run Killed
	$(MAKE) -C test/api GO=$(GO) KILLS=$(KILLS) kills

soak: ## the registry under 64 clients for DURATION: no wrong byte, memory flat
	DURATION=$(DURATION) $(GO) test -timeout 24h -v ./test/hostile -run Soak

fuzz: ## every fuzz target for FUZZTIME (default 15m)
	GO=$(GO) sh scripts/fuzz.sh $(FUZZTIME)

big: build ## memory and start-up on a bundle of 10 GiB (needs 21 GiB of disk)
	$(MAKE) -C test/big GO=$(GO) BUNDLE=$(abspath $(BIN))

scale: build ## 10 000 images, 200 nodes, a registry that dies (LAYER, IMAGES)
	$(MAKE) -C test/scale GO=$(GO) BUNDLE=$(abspath $(BIN))

bench: build ## side by side with what a user would pick instead; writes docs/performance.md
	$(MAKE) -C test/bench GO=$(GO) BUNDLE=$(abspath $(BIN))

release: ## dist/: programs, packages, checksums and a signed bundle of them (KEY=…)
	GO=$(GO) sh scripts/release.sh $(VERSION) dist

release-twice: release ## the release again, elsewhere and from nothing: the same bytes?
	GO=$(GO) sh scripts/release-twice.sh $(VERSION) dist

clean: ## remove what make made
	rm -rf bin dist .cache
