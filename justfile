# The commands of this repository; CI runs the same steps. `just` without arguments lists them.

default:
    @just --list

# Runs all steps of CI, in order
ci:
    .ci/run

# Runs steps of CI: setup, format, scripts, prose, lint, docs, dependencies, test, ordinary-user, schema, monitoring, fuzz, images, gang, instructions, cluster
step +NAMES:
    .ci/run {{NAMES}}

# Runs the gang experiment: pods of a Job with and without injection
gang *ARGUMENTS:
    cargo run --release --bin gang -- {{ARGUMENTS}}

# Measures the cost of starting an injected pod for a node, on the cluster of KUBECONFIG
start *ARGUMENTS:
    cargo run --release -p podlocal-experiments --bin start -- {{ARGUMENTS}}

# Tests whether the first lookup of a starting application fails, on the cluster of KUBECONFIG
first-lookups *ARGUMENTS:
    cargo run --release -p podlocal-experiments --bin first-lookups -- {{ARGUMENTS}}

# Measures the effect of a hostile neighbour on other pods, on the cluster of KUBECONFIG; needs root on the node
attacks *ARGUMENTS:
    cargo run --release -p podlocal-experiments --bin attacks -- {{ARGUMENTS}}

# Measures the sidecar, the shared tier and the webhook during faults and under load, compared with goals
promises *ARGUMENTS:
    cargo run --release --bin promises -- {{ARGUMENTS}}

# Measures speed and size of the sidecar, a bare echo and other forwarders
bench *ARGUMENTS:
    cargo run --release --bin bench -- {{ARGUMENTS}}

# Runs all tests
test:
    cargo test --workspace

# Fuzzes the parsers of network input, each target for SECONDS: all targets, or the named ones
fuzz SECONDS="60" *TARGETS:
    .ci/fuzz {{SECONDS}} {{TARGETS}}

# Generates the page of settings from the table
settings-page:
    UPDATE=1 cargo test -q -p podlocal-settings --lib the_page_in_the_docs

# Updates the output of commands and the figures in the documents; review the diff before you commit it
outputs:
    UPDATE=1 cargo test -p podlocal-tests --test documents --test documented_commands

# Generates the table of metrics in the documentation
monitoring:
    UPDATE=1 cargo test -p podlocal-tests --test monitors docs_have_every_metric

# Updates golden pods, transcripts of commands and pages with the current output; review the diff before you commit it
golden:
    UPDATE=1 cargo test -p podlocal-webhook -p podlocal-inspect --test golden --test commands --test check_cluster --test pages

# Builds both images
images TAG="dev":
    docker build -f Dockerfile.sidecar -t podlocal-dns/sidecar:{{TAG}} .
    docker build -f Dockerfile.webhook -t podlocal-dns/webhook:{{TAG}} .

# Builds all files of a release into dist
release:
    .ci/release

# Builds programs twice, in two directories, and compares the bytes: those of both images, or of the named ones
reproducible *IMAGES:
    .ci/reproducible {{IMAGES}}

# Generates man pages and completions into target/pages
pages:
    cargo run -q -p podlocal-release --example pages -- target/pages

# Manages a real Kubernetes node on this machine for tests: up, load, down, env, exec, collect (.ci/cluster/README.md)
[positional-arguments]
cluster +ARGUMENTS:
    @.ci/cluster/cluster "$@"

# Runs the end-to-end tests on the cluster of KUBECONFIG; a filter selects tests
cluster-test *FILTER:
    cargo test -p podlocal-cluster-tests --test cluster -- {{FILTER}}

# Runs Kubernetes' end-to-end tests in namespaces that are opted in: [FOCUS], compare [FOCUS], build
[positional-arguments]
conformance *ARGUMENTS:
    @.ci/cluster/conformance/run "$@"
