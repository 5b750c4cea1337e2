//! `podlocal-webhook inject`, the built program.

mod common;

use std::io::Write as _;
use std::process::{Output, Stdio};

use common::program;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_LABEL, STATUS_ANNOTATION};
use podlocal_settings::table::NAMESPACE;
use podlocal_webhook::yaml;
use serde_json::{Value, json};

#[test]
fn every_kind_of_workload_is_injected_in_its_pod_template() {
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app"}]}});
    let template = json!({"template": pod});
    let workloads = [
        ("apps/v1", "Deployment", template.clone(), "/spec/template"),
        ("apps/v1", "StatefulSet", template.clone(), "/spec/template"),
        ("apps/v1", "DaemonSet", template.clone(), "/spec/template"),
        ("apps/v1", "ReplicaSet", template.clone(), "/spec/template"),
        ("batch/v1", "Job", template.clone(), "/spec/template"),
        (
            "batch/v1",
            "CronJob",
            json!({"jobTemplate": {"spec": template}}),
            "/spec/jobTemplate/spec/template",
        ),
        ("v1", "Pod", pod["spec"].clone(), ""),
    ];
    let documents: Vec<_> = workloads
        .iter()
        .map(|(version, kind, spec, _)| {
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "web"}, "spec": spec})
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": documents});

    for input in [text_of(&documents), text_of(&[list])] {
        let output = inject(&["-f", "-"], &input);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let mut printed = documents_of(&output);
        if printed.len() == 1 {
            printed = printed[0]["items"].as_array().expect("items").clone();
        }
        assert_eq!(printed.len(), workloads.len());
        for ((_, kind, _, path), document) in workloads.iter().zip(&printed) {
            let pod = document.pointer(path).expect("a pod");
            assert_eq!(pod["spec"]["initContainers"][0]["name"], CONTAINER_NAME, "{kind}");
            assert_eq!(pod["spec"]["dnsConfig"]["searches"][0], "web.svc.cluster.local", "{kind}");
            let namespace = json!({"name": NAMESPACE.variable(), "value": "web"});
            let environment = pod["spec"]["initContainers"][0]["env"].as_array().expect("variables");
            assert!(environment.contains(&namespace), "{kind}: {environment:?}");
            assert_eq!(pod["metadata"]["annotations"][STATUS_ANNOTATION], "injected", "{kind}");
        }
        assert_eq!(stderr(&output).lines().filter(|line| line.ends_with(": injected")).count(), 7);
    }
}

#[test]
fn a_second_run_changes_nothing() {
    let once = inject(&["-f", "-"], POD);
    let twice = inject(&["-f", "-"], &String::from_utf8_lossy(&once.stdout));
    assert_eq!(twice.stdout, once.stdout);
    assert!(stderr(&twice).contains("already_injected"));
}

#[test]
fn other_documents_keep_their_meaning_and_order() {
    let input = "apiVersion: v1\nkind: ConfigMap\ndata: {b: 'yes', a: '0755', c: \"x\\ny\\n\"}\n---\n\
                 # only a comment\n---\n\
                 apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {template: {spec: {containers: []}}}\n---\n\
                 kind: Deployment\n";
    let output = inject(&["-f", "-"], input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(documents_of(&output), yaml::read(input).expect("reads"));
    assert_eq!(stderr(&output), "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("  b: \"yes\"\n  a: \"0755\"\n"));
}

#[test]
fn the_reason_and_every_warning_stand_on_standard_error() {
    let labelled =
        POD.replace("name: app\n", &format!("name: app\n  labels: {{{INJECT_LABEL}: {INJECT_DISABLED}}}\n"));
    let output = inject(&["-f", "-", "--namespace", "web"], &labelled);
    assert_eq!(documents_of(&output), yaml::read(&labelled).expect("reads"));
    assert_eq!(
        stderr(&output),
        "standard input: document 1: Pod web/app: not injected: the pod's label opts it out (opted_out)\n"
    );

    let bad = POD.replace("name: app\n", "name: app\n  annotations: {podlocal-dns.io/ndots: many}\n");
    let output = inject(&["-f", "-"], &bad);
    assert!(stderr(&output).contains("Pod default/app: injected\n"));
    assert!(stderr(&output).contains("podlocal-dns.io/ndots: \"many\": expected a whole number"));
}

#[test]
fn a_document_that_cannot_be_read_is_named_and_nothing_is_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = folder.path().join("good.yaml");
    std::fs::write(&good, POD).expect("writes");
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, format!("{POD}---\na: [\n")).expect("writes");
    let files = [&good, &bad].map(|file| file.to_str().expect("UTF-8").to_owned());
    let output = inject(&["-f", &files[0], "-f", &files[1], "-f", "/no/such/file"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let lines = stderr(&output);
    assert!(lines.contains(&format!("{}: document 2, line 9: ", files[1])), "{lines}");
    assert!(lines.contains("/no/such/file: "), "{lines}");

    let empty_job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {}\n";
    let output = inject(&["-f", "-"], empty_job);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("document 1: there is no pod at /spec/template"), "{}", stderr(&output));
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: app\nspec:\n  containers:\n  - name: app\n";

fn inject(flags: &[&str], input: &str) -> Output {
    let mut child = program()
        .args(["inject", "--cluster-dns", "10.96.0.10"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("writes");
    child.wait_with_output().expect("ends")
}

fn text_of(documents: &[Value]) -> String {
    let texts: Vec<_> = documents.iter().map(|document| yaml::write(document).expect("writes")).collect();
    texts.join("---\n")
}

fn documents_of(output: &Output) -> Vec<Value> {
    yaml::read(&String::from_utf8_lossy(&output.stdout)).expect("reads")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
