//! The built program `podlocal-webhook check` with documents.

mod common;

use std::path::Path;
use std::process::Output;

use common::{piped, program};
use serde_json::{Value, json};

const WORKLOADS: &str = include_str!("check/workloads.yaml");

/// Contains every verdict, and invalid settings of a pod, a namespace and a label. To update the page:
/// `UPDATE_GOLDEN=1 cargo test -p podlocal-webhook --test check`.
#[test]
fn page_with_every_verdict_matches_the_golden_file() {
    let output = check(&["-f", "-", "--cluster-dns", "10.96.0.10"], WORKLOADS);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "no bar where there is no terminal");
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check/page.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &page).expect("writes");
    }
    assert_eq!(page, std::fs::read_to_string(file).expect("reads"));
}

#[test]
fn page_in_the_docs_matches_the_output() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_to_string(root.join("docs/check.md")).expect("reads");
    let file = "harness/manifests/gang-job.yaml";
    let command = ["check", "-f", file, "--cluster-dns", "10.96.0.10"];
    let shown = format!("```sh\npodlocal-webhook {}\n```\n\n```text\n", command.join(" "));
    let output = program().args(command).current_dir(&root).output().expect("starts");
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        docs.contains(&format!("{shown}{page}```\n")),
        "docs/check.md has another page than this:\n{page}"
    );
}

#[test]
fn json_and_text_report_the_same_verdicts() {
    let document = json_of(&["-f", "-"], WORKLOADS);
    let verdict = |name: &str| {
        let workloads = document["workloads"].as_array().expect("workloads");
        let workload = workloads.iter().find(|workload| workload["name"] == name).expect("that name");
        (workload["verdict"].clone(), workload["reason"]["label"].clone())
    };
    assert_eq!(verdict("train (Worker)"), (json!("injected"), Value::Null));
    assert_eq!(verdict("has-it"), (json!("already"), Value::Null));
    assert_eq!(verdict("agent"), (json!("not"), json!("host_network")));
    assert_eq!(verdict("idle"), (json!("not"), json!("not_opted_in")));
    assert_eq!(document["summary"]["injected"], json!({"workloads": 6, "pods": 106}));
    assert_eq!(document["namespaces"].as_array().map(Vec::len), Some(2));
    let estimate = &document["estimate"];
    assert_eq!((&estimate["direct"], &estimate["proxied"]), (&json!(106 * 24), &json!(105 * 9 + 12)));
}

#[test]
fn inject_does_what_check_reports() {
    let document = json_of(&["-f", "-", "--verbose"], WORKLOADS);
    let injected = piped(
        &["inject", "-f", "-", "--cluster-dns", "10.96.0.10"],
        &without("no-pod", &without("empty", WORKLOADS)),
    );
    let remarks = stderr(&injected);
    // `inject` evaluates no selectors, and does not support every kind.
    for workload in document["workloads"].as_array().expect("workloads") {
        let place = format!(
            "{} {}/{}: ",
            workload["kind"].as_str().expect("kind"),
            workload["namespace"].as_str().expect("namespace"),
            workload["name"].as_str().expect("name")
        );
        let Some(remark) = remarks.lines().find_map(|line| line.split_once(&place).map(|(_, remark)| remark))
        else {
            assert!(
                place.contains("PyTorchJob") || place.contains("empty") || place.contains("no-pod"),
                "{place}"
            );
            continue;
        };
        match (workload["verdict"].as_str(), workload["reason"]["label"].as_str()) {
            (Some("injected"), _) => assert_eq!(remark, "injected", "{place}"),
            (_, Some("not_opted_in" | "namespace_excluded")) => {}
            (Some("already"), _) => assert!(remark.contains("already_injected"), "{place}{remark}"),
            (_, label) => assert!(remark.contains(label.expect("a reason")), "{place}{remark}"),
        }
        assert_eq!(
            workload["verdict"] == "injected",
            !workload["diff"].as_array().expect("lines").is_empty(),
            "{place}"
        );
    }
}

#[test]
fn as_if_enabled_treats_every_namespace_as_opted_in() {
    let of = |flags: &[&str]| {
        json_of(&[&["-f", "-"], flags].concat(), WORKLOADS)["summary"]["injected"]["workloads"].clone()
    };
    assert_eq!((of(&[]), of(&["--as-if-enabled"])), (json!(6), json!(7)));
}

#[test]
fn strict_exits_with_3_on_problems() {
    let code = |document: &str| check(&["-f", "-", "--strict"], document).status.code();
    assert_eq!(code(WORKLOADS), Some(3));
    assert_eq!(code(POD), Some(0));
    assert_eq!(code(&POD.replace("spec:", "spec:\n  hostNetwork: true")), Some(3));
    assert_eq!(
        code(&POD.replace("name: app\n", "name: app\n  annotations: {podlocal-dns.io/ndots: x}\n")),
        Some(3)
    );
    let opted_out = POD.replace("name: app\n", "name: app\n  labels: {podlocal-dns.io/inject: disabled}\n");
    assert_eq!(code(&opted_out), Some(0), "that was asked for");
}

#[test]
fn unreadable_input_is_reported_with_a_next_step() {
    let output = check(&["-f", "/no/such/file", "-f", "-"], "a: [\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    for part in ["/no/such/file: ", "standard input: document 1, line 1: ", "next: "] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let output = check(&["-f", "-", "--names", "many", "--context", "x", "--what"], "");
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(stderr(&output).lines().count(), 4, "{}", stderr(&output));
}

#[test]
fn non_object_documents_are_rejected_with_their_number() {
    for (text, wrong) in [
        ("just text\n", "document 1: expected an object with apiVersion and kind, found a string"),
        ("42\n", "document 1: expected an object with apiVersion and kind, found a number"),
        ("a: 1\n---\n[a, b]\n", "document 2: expected an object with apiVersion and kind, found a list"),
        (
            "kind: List\nitems: [{kind: Pod}, text, 3]\n",
            "document 1: item 2: expected an object with apiVersion and kind, found a string",
        ),
    ] {
        for command in ["check", "inject"] {
            let output = piped(&[command, "-f", "-", "--cluster-dns", "10.96.0.10"], text);
            let said = stderr(&output).replace(", line 1:", ":").replace(", line 2:", ":");
            assert_eq!(output.status.code(), Some(1), "{command} {text}: {said}");
            assert!(said.contains(&format!("standard input: {wrong}")), "{command} {text}: {said}");
            assert!(output.stdout.is_empty(), "{command} {text}");
        }
    }
}

#[test]
fn misplaced_metadata_is_reported_by_check_and_inject() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  \
                labels: {podlocal-dns.io/inject: enabled}\n  annotations: {podlocal-dns.io/ndots: '1'}\nspec:\n  \
                template: {spec: {containers: [{name: app}]}}\n";
    let output = check(&["-f", "-", "--strict"], text);
    assert_eq!(output.status.code(), Some(3));
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    let injected = piped(&["inject", "-f", "-", "--cluster-dns", "10.96.0.10"], text);
    for said in [page, stderr(&injected)] {
        for what in ["label podlocal-dns.io/inject", "annotation podlocal-dns.io/ndots"] {
            let line = said.lines().find(|line| line.contains(&format!("{what} of the Deployment itself")));
            assert!(line.is_some_and(|line| line.contains("spec.template.metadata")), "{said}");
        }
    }
}

#[test]
fn fields_that_the_api_server_rejects_are_reported() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: many\n  template:\n    \
                metadata: {annotations: {podlocal-dns.io/ndots: 3}}\n    spec: {containers: [{name: app}]}\n";
    let output = check(&["-f", "-", "--strict"], text);
    assert_eq!(output.status.code(), Some(3));
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    for line in [
        "default Deployment/web: spec.template.metadata.annotations podlocal-dns.io/ndots: invalid value \"3\": expected a string",
        "default Deployment/web: spec.replicas: invalid value \"many\": expected a whole number",
    ] {
        assert!(page.contains(line), "{page}");
    }
    assert_eq!(json_of(&["-f", "-"], text)["refused"].as_array().map(Vec::len), Some(2));
}

#[test]
fn estimate_states_its_assumptions() {
    let page_of = |replicas: u32| {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  \
             template: {{spec: {{containers: [{{name: app}}]}}}}\n"
        );
        String::from_utf8(check(&["-f", "-"], &text).stdout).expect("UTF-8")
    };
    let (one, few, many) = (page_of(1), page_of(1000), page_of(1001));
    for page in [&one, &few, &many] {
        assert!(
            page.contains("Not part of the estimate: warm caches, which save\nqueries, and lost queries"),
            "{page}"
        );
        assert!(page.contains("Each sidecar queries cluster DNS on its own"), "{page}");
    }
    assert!(one.contains("one pod starts with a cold cache and looks up 3 names"), "{one}");
    assert!(!few.contains("use a shared tier") && many.contains("use a shared tier"), "{many}");
}

#[test]
fn missing_cluster_dns_address_is_requested() {
    let page = String::from_utf8(check(&["-f", "-", "--verbose", "--resolv-conf", "/none"], POD).stdout);
    let page = page.expect("UTF-8");
    assert!(page.contains("inject -f FILE --cluster-dns 10.96.0.10\n"), "{page}");
    assert!(
        page.contains("Note: cannot read --resolv-conf /none: "),
        "a named file that is missing is reported\n{page}"
    );
    let said = stderr(&piped(&["inject", "-f", "-", "--resolv-conf", "/none"], POD));
    assert!(said.contains("--resolv-conf /none: "), "{said}");
    assert!(said.contains("set --cluster-dns ADDRESS") && said.contains("get service kube-dns"), "{said}");
}

#[test]
fn control_characters_in_names_are_escaped() {
    let pod = POD.replace("name: app\nspec", "name: \"a\\e[31m\"\nspec");
    let page = String::from_utf8(check(&["-f", "-"], &pod).stdout).expect("UTF-8");
    assert!(page.contains("Pod/a\\u{1b}[31m") && !page.contains('\u{1b}'), "{page}");
}

#[test]
fn daemonset_pods_are_counted_per_node() {
    let agent = |name: &str, spec: &str| {
        format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}}}\nspec:\n  \
             template: {{spec: {{{spec}containers: [{{name: app}}]}}}}\n---\n"
        )
    };
    let documents = [agent("a", ""), agent("b", "hostNetwork: true, "), POD.to_owned()].concat();
    let output = check(&["-f", "-", "--verbose"], &documents);
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    for line in [
        "host_network, 1 workload (1 pod on each node): ",
        "Workloads (pods): 3 (1 + 2/node) in total: injected 2 (1 + 1/node), already 0 (0), not 1 (0 + 1/node).",
        "(1/node) counts as one pod here",
        "\ndefault DaemonSet/a (pod template)\n",
        "\ndefault Pod/app\n",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
}

#[test]
fn sidecar_requests_are_shown_per_workload_and_in_total() {
    let resources = "resources: {limits: {cpu: '1', memory: 1Gi}}";
    let text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 20\n  \
         template: {{spec: {{containers: [{{name: app, {resources}}}]}}}}\n---\n{POD}"
    );
    let document = json_of(&["-f", "-"], &text);
    let requests = &document["workloads"][0]["requests"];
    let words =
        format!("+ requests cpu {}, memory {}", text_of(&requests["cpu"]), text_of(&requests["memory"]));
    assert_eq!(document["workloads"][1]["requests"], Value::Null, "a BestEffort pod");
    assert_eq!(document["summary"]["requests"]["pods"], 20);
    assert_eq!(
        document["summary"]["requests"]["cpuMillis"],
        20 * 100,
        "a Guaranteed pod's proxy has its limit"
    );
    let page = String::from_utf8(check(&["-f", "-"], &text).stdout).expect("UTF-8");
    assert!(
        page.contains(&words) && page.contains("Resource requests of the sidecars of 20 pods: 2 CPU and "),
        "{page}"
    );
}

#[test]
fn unrendered_template_suggests_helm_template() {
    for text in ["kind: {{ .Values.kind }}\n", "a: 1\n---\n{{- if .x }}\nkind: Pod\n{{- end }}\n"] {
        for command in ["check", "inject"] {
            let output = piped(&[command, "-f", "-"], text);
            assert_eq!(output.status.code(), Some(1));
            assert!(
                stderr(&output).contains("render it first, for example `helm template . |"),
                "{}",
                stderr(&output)
            );
        }
    }
    assert!(!stderr(&check(&["-f", "-"], "a: [\n")).contains("template"));
}

#[test]
fn missing_kubeconfig_is_named_without_quotes() {
    let said = stderr(&check(&["--kubeconfig", "/no/such/config"], ""));
    assert!(said.contains("cannot connect to a cluster: /no/such/config: No such file"), "{said}");
}

#[test]
fn pod_count_saturates_without_panic() {
    let many = |name: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
            "replicas": u64::MAX, "template": {"spec": {"hostNetwork": true, "containers": [{"name": "a"}]}},
        }})
    };
    let list = json!({"kind": "List", "items": [many("a"), many("b")]}).to_string();
    assert_eq!(check(&["-f", "-"], &list).status.code(), Some(0));
}

#[test]
fn documents_without_pods_are_reported() {
    let output = check(&["-f", "-"], "apiVersion: v1\nkind: ConfigMap\n");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("No document contains a pod") && page.contains("next: "), "{page}");
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: app\nspec:\n  containers:\n  - name: app\n";

fn text_of(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The documents without the one with that name.
fn without(name: &str, documents: &str) -> String {
    let others: Vec<_> =
        documents.split("---\n").filter(|document| !document.contains(&format!("name: {name},"))).collect();
    others.join("---\n")
}

fn json_of(flags: &[&str], input: &str) -> Value {
    let output = check(&[flags, &["--json"]].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn check(flags: &[&str], input: &str) -> Output {
    piped(&[&["check"], flags].concat(), input)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
