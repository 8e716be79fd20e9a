# The words people type. `make run` shows the relay at work; `make test` runs all tests.
GO ?= go
PLUGINS = access catchall headers plusaddressing
FUZZTIME ?= 20s

.PHONY: all build run peers test check fmt generate bench fuzz soak rename clean

all: build

build: ## bin/relay and bin/plugins/<name>
	$(GO) build -trimpath -o bin/relay ./cmd/relay
	@mkdir -p bin/plugins
	@for p in $(PLUGINS); do $(GO) build -trimpath -o bin/plugins/$$p ./plugins/$$p || exit 1; done

run: build ## a relay with an agent and a next hop, and one message through them
	@$(GO) build -trimpath -o bin/demo ./demo
	@bin/demo

peers: ## the mail programs that the tests use, where they are missing; needs root, Debian and npm
	./.ci/peers.sh

test: ## all tests
	cd bench && $(GO) test -race -shuffle=on ./...
	$(GO) tool gotestsum --format pkgname -- -race -shuffle=on -timeout 15m ./...

check: ## what must hold beside the tests
	@./.ci/check.sh

fmt:
	gofmt -s -w $$(git ls-files '*.go' ':!*.pb.go')

generate: ## the Go code of the .proto files; no protoc, no network
	$(GO) run ./proto/generate

bench: build ## measure, beside the mail servers that are installed; needs root
	./bench/bench.sh

fuzz: ## every fuzz target for FUZZTIME
	./.ci/fuzz.sh $(FUZZTIME)

soak: ## the long form of the fuzz and fault tests
	./.ci/fuzz.sh 10m
	RELAY_SOAK=10m $(GO) test -race -count=1 -timeout 60m -run 'Fault|Soak' ./test/...

rename: ## make rename MODULE=your.host/relay: the module's path, everywhere
	@test -n "$(MODULE)" || { echo "usage: make rename MODULE=your.host/relay" >&2; exit 2; }
	@old=$$($(GO) list -m); git grep -lzF "$$old" -- '*.go' '*.proto' go.mod bench/go.mod '*.md' '*.sh' Makefile | xargs -0 sed -i "s#$$old#$(MODULE)#g"
	$(GO) run ./proto/generate

clean:
	rm -rf bin
