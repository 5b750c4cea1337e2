# The entry for people; the same steps that CI runs. `just` alone lists them.

default:
    @just --list

# Everything that CI runs, in its order
ci:
    .ci/run

# Steps of CI: setup, format, scripts, prose, lint, docs, dependencies, test, ordinary-user, schema, monitoring, fuzz, images, gang, instructions, cluster
step +NAMES:
    .ci/run {{NAMES}}

# The experiment: a gang of pods with and without injection
gang *ARGUMENTS:
    cargo run --release --bin gang -- {{ARGUMENTS}}

# What the start of an injected pod costs a node, on the cluster of KUBECONFIG
start *ARGUMENTS:
    cargo run --release -p podlocal-experiments --bin start -- {{ARGUMENTS}}

# Whether a lookup fails that an application makes as soon as it runs, on the cluster of KUBECONFIG
first-lookups *ARGUMENTS:
    cargo run --release -p podlocal-experiments --bin first-lookups -- {{ARGUMENTS}}

# What a hostile neighbour costs other pods, on the cluster of KUBECONFIG; the node's root attacks
attacks *ARGUMENTS:
    cargo run --release -p podlocal-experiments --bin attacks -- {{ARGUMENTS}}

# What the sidecar does when things go wrong, measured: loss, outage, slowness, memory, abuse, late peers
faults *ARGUMENTS:
    cargo run --release --bin faults -- {{ARGUMENTS}}

# What a tier that sidecars share does, measured: cold gangs, hot answers, outages, hostile sources
shared-tier *ARGUMENTS:
    cargo run --release --bin shared-tier -- {{ARGUMENTS}}

# How fast and how small the sidecar is, beside a bare echo and other forwarders
bench *ARGUMENTS:
    cargo run --release --bin bench -- {{ARGUMENTS}}

# How long the webhook takes for reviews, and what it takes for them
reviews *ARGUMENTS:
    cargo run --release --bin reviews -- {{ARGUMENTS}}

# All tests
test:
    cargo test --workspace

# Fuzzes what comes from the network, each target for that long: all targets, or those named
fuzz SECONDS="60" *TARGETS:
    .ci/fuzz {{SECONDS}} {{TARGETS}}

# Prints the page of settings from the table
settings-page:
    cargo run -q -p podlocal-settings --example settings-page > docs/settings.md

# Rewrites the output of the commands in documents; read the difference before you commit it
outputs:
    UPDATE=1 cargo test -p podlocal-tests --test documented_commands

# Rewrites the dashboard and the table of metrics in the docs from the code
monitoring:
    cargo run --bin monitoring -- write

# Rewrites the golden pods with the output of the webhook; read the difference before you commit it
golden:
    UPDATE=1 cargo test -p podlocal-webhook --test golden

# Both images
images TAG="dev":
    docker build -f Dockerfile.sidecar -t podlocal-dns/sidecar:{{TAG}} .
    docker build -f Dockerfile.webhook -t podlocal-dns/webhook:{{TAG}} .

# Everything that a release consists of, into dist
release:
    .ci/release

# Builds programs twice, in two places, and compares the bytes: both, or those named
reproducible *PACKAGES:
    .ci/reproducible {{PACKAGES}}

# Man pages and completions, into target/pages
pages:
    cargo run -q -p podlocal-release --example pages -- target/pages

# A real Kubernetes node on this machine, for the tests: up, load, down, env, exec, collect (.ci/cluster/README.md)
[positional-arguments]
cluster +ARGUMENTS:
    @.ci/cluster/cluster "$@"

# What the product promises, held against the cluster of KUBECONFIG; with a filter only some of it
cluster-test *FILTER:
    cargo test -p podlocal-cluster-tests --test cluster -- {{FILTER}}

# Kubernetes' own end-to-end tests, in namespaces that are opted in: [FOCUS], compare [FOCUS], build
[positional-arguments]
conformance *ARGUMENTS:
    @.ci/cluster/conformance/run "$@"
