# ulvs. Two commands matter on a fresh machine: make demo, make test. Both become root
# by themselves and install what is missing; everything else here needs only Go.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 10000x
BENCH   ?= .
export CGO_ENABLED = 0

.PHONY: conformance all build demo test check race fuzz unit lab bench bench-save generate install clean help
.PHONY: screenshots differential sim versus bench-compare deb image image-test sbom vulncheck man qemu-test

all: build

build: ## build bin/ulvs, one static binary
	$(GO) build -trimpath -ldflags '-s -w -X main.linked=$(VERSION)' -o bin/ulvs ./cmd/ulvs

demo: ## real HTTP and UDP through DR, NAT and TUN in a lab of namespaces (IPV6=1: over IPv6)
	@test/demo/demo.sh

test: ## every test there is: static, unit, race, fuzz smoke, lab with real AF_XDP
	@test/all.sh

check: ## static: gofmt, vet, staticcheck, architecture, sizes
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt'ed: $$bad"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./test/arch ./test/tidy

unit: ## tests that need no root
	$(GO) test ./...

race: ## the same under the race detector
	CGO_ENABLED=1 $(GO) test -race -short -shuffle=on ./...

fuzz: ## every fuzz target for FUZZTIME each
	@FUZZTIME=$(FUZZTIME) test/fuzz.sh

SEEDS ?= 200
SEED0 ?= 1
sim: ## directors, links and faults simulated; SEEDS= and SEED0=
	SEEDS=$(SEEDS) SEED0=$(SEED0) $(GO) test -count=1 -timeout 60m -v ./test/sim

lab: build ## tests in namespaces with real AF_XDP; needs root
	ULVS_REQUIRE=netns,afxdp $(GO) test -count=1 ./test/... ./dataplane/afxdp ./route

DIR ?= test/conformance/testdata
conformance: ## replay a folder of recordings of a real kernel (DIR=)
	@$(GO) run ./test/conformance/replay $(DIR)

STEPS ?= 1000000
SEED  ?= 1
differential: ## random commands and packets into the pipeline and a model of IPVS (STEPS=, SEED=)
	@$(GO) run ./test/differential/drive -steps $(STEPS) -seed $(SEED)

bench: ## benchmarks; BENCH=regexp
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./packet ./sched ./conntrack ./dataplane

bench-save: ## the figures of bench/baseline, measured anew (quiet machine, five minutes)
	$(GO) test -run '^$$' -bench 'Worker|Generator' -benchmem -count 5 ./dataplane | tee bench/baseline/dataplane.txt
	$(GO) run ./bench/guard -save

bench-compare: ## fails when the data plane is slower than bench/baseline, by a control beside it
	@$(GO) run ./bench/guard

versus: ## races against the kernel, nftables, nginx, HAProxy, XDP; ROUNDS=1 is quick, OUT=folder keeps results
	@test/versus/versus.sh

generate: ## compile the BPF programs (needs clang); the objects are committed
	$(GO) generate ./...

install: build ## install bin/ulvs and ipvsadm to PREFIX (default /usr/local)
	install -D -m 0755 bin/ulvs $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/ulvs
	ln -sf ulvs $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/ipvsadm

deb: build ## build the Debian package into bin (needs Go only)
	@packaging/deb.sh '$(VERSION)'

image: build ## bin/ulvs-VERSION.img, a disk that boots into Debian with ulvs, by BIOS and UEFI (root; PACKAGES= more)
	@PACKAGES='$(PACKAGES)' packaging/image/build.sh '$(VERSION)'

image-test: ## the package in a Debian root, and the disk image on emulated machines, BIOS and UEFI (needs root)
	@test/debian/image-test.sh
	@test/image/image-test.sh

sbom: build ## print what bin/ulvs is made of: CycloneDX JSON, from the binary itself
	@$(GO) run ./packaging/sbom bin/ulvs '$(VERSION)'

vulncheck: build ## known vulnerabilities of bin/ulvs (needs vuln.go.dev); else the list of what is in it
	@packaging/vulncheck.sh

man: build ## write the manual pages into bin/man
	bin/ulvs man bin/man

screenshots: ## the pictures of the dashboard in docs (needs Chromium)
	ULVS_SCREENSHOTS=$(CURDIR)/docs/pictures $(GO) test -count=1 -run TestScreenshots ./dashboard

qemu-test: ## real queues, interrupts and tunnel devices in QEMU guests; root, five minutes
	@test/qemu.sh

clean: ## remove what was built
	rm -rf bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
