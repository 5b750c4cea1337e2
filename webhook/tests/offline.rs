//! The built program `podlocal-webhook inject`.

mod common;

use std::process::Output;

use common::piped;
use podlocal_settings::names::{CONTAINER_NAME, INJECT_DISABLED, INJECT_LABEL, STATUS_ANNOTATION};
use podlocal_settings::table::NAMESPACE;
use podlocal_webhook::documents::yaml;
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
fn other_documents_keep_value_and_order() {
    let input = "apiVersion: v1\nkind: ConfigMap\ndata: {b: 'yes', a: '0755', c: \"x\\ny\\n\"}\n---\n\
                 # only a comment\n---\n\
                 apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {template: {spec: {containers: []}}}\n---\n\
                 kind: Deployment\n";
    let output = inject(&["-f", "-"], input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(documents_of(&output), yaml::read(input).expect("reads"));
    assert_eq!(stderr(&output), "");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("data: {b: 'yes', a: '0755', c: \"x\\ny\\n\"}\n")
    );
}

#[test]
fn unchanged_documents_are_printed_byte_for_byte() {
    let untouched = "# a comment\napiVersion: v1\nkind:   ConfigMap # another\ndata: {b: 'x', a: \"y\"}\n";
    let input = format!("{untouched}---\n# the pod\n{POD}---\n{untouched}");
    let output = inject(&["-f", "-"], &input);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let documents: Vec<_> = printed.split("---\n").collect();
    assert_eq!((documents[0], documents[2]), (untouched, untouched));
    assert!(
        documents[1].starts_with("# the pod\napiVersion: v1\nkind: Pod\nmetadata:\n  name: app\n"),
        "{printed}"
    );

    let opted_out =
        POD.replace("name: app\n", "name: app # left alone\n  labels: {podlocal-dns.io/inject: disabled}\n");
    let output = inject(&["-f", "-"], &opted_out);
    assert_eq!(String::from_utf8_lossy(&output.stdout), opted_out);
}

#[test]
fn as_json_one_document_is_itself_and_several_are_a_list() {
    let of = |input: &str| {
        let output = inject(&["-f", "-", "-o", "json"], input);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let one = of(POD);
    assert_eq!((&one["kind"], &one["spec"]["dnsPolicy"]), (&json!("Pod"), &json!("None")));
    let several = of(&format!("{POD}---\n{POD}"));
    assert_eq!((&several["kind"], &several["items"]), (&json!("List"), &json!([one, one])));
    assert_eq!(inject(&["-f", "-", "-o", "json"], "# nothing\n").stdout, b"");
    assert_eq!(inject(&["-f", "-", "-o", "toml"], POD).status.code(), Some(64));
}

#[test]
fn items_of_a_typed_list_are_injected_without_kind() {
    let template = json!({"metadata": {}, "spec": {"containers": [{"name": "app"}]}});
    for (version, kind, item, path) in [
        (
            "apps/v1",
            "DeploymentList",
            json!({"metadata": {"name": "x"}, "spec": {"template": template}}),
            "/spec/template",
        ),
        ("v1", "PodList", json!({"metadata": {"name": "x"}, "spec": template["spec"]}), ""),
        ("v1", "PodTemplateList", json!({"metadata": {"name": "x"}, "template": template}), "/template"),
        (
            "v1",
            "ReplicationControllerList",
            json!({"metadata": {}, "spec": {"template": template}}),
            "/spec/template",
        ),
    ] {
        let list = json!({"apiVersion": version, "kind": kind, "items": [item]});
        let output = inject(&["-f", "-"], &text_of(&[list]));
        let item = documents_of(&output)[0]["items"][0].clone();
        let pod = item.pointer(path).expect("a pod");
        assert_eq!(pod["spec"]["initContainers"][0]["name"], CONTAINER_NAME, "{kind}: {}", stderr(&output));
    }
}

#[test]
fn namespace_document_provides_defaults_for_its_pods() {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "web", "annotations": {podlocal_settings::table::NDOTS.annotation(): "4"}},
    });
    let input = format!("{POD}---\n{}", text_of(&[namespace]));
    let ndots = |namespace: &str| {
        let output = inject(&["-f", "-", "--namespace", namespace], &input);
        documents_of(&output)[0]["spec"]["dnsConfig"]["options"][0]["value"].clone()
    };
    assert_eq!((ndots("web"), ndots("other")), (json!("4"), json!("2")));
}

#[test]
fn reasons_and_warnings_are_printed_to_standard_error() {
    let labelled =
        POD.replace("name: app\n", &format!("name: app\n  labels: {{{INJECT_LABEL}: {INJECT_DISABLED}}}\n"));
    let output = inject(&["-f", "-", "--namespace", "web"], &labelled);
    assert_eq!(documents_of(&output), yaml::read(&labelled).expect("reads"));
    assert_eq!(
        stderr(&output),
        "standard input: document 1: Pod web/app: not injected: the label of the pod opts it out (opted_out)\n"
    );

    let bad = POD.replace("name: app\n", "name: app\n  annotations: {podlocal-dns.io/ndots: many}\n");
    let output = inject(&["-f", "-"], &bad);
    assert!(stderr(&output).contains("Pod default/app: injected\n"));
    assert!(
        stderr(&output).contains("podlocal-dns.io/ndots: invalid value \"many\": expected a whole number")
    );
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
    let expected = "standard input: document 1, line 1: no pod template at /spec/template\n";
    assert_eq!(stderr(&output), expected);
    let output = inject(&["-f", "-"], &format!("{empty_job}---\n{POD}---\n{empty_job}"));
    assert!(output.stdout.is_empty());
    let lines = stderr(&output);
    assert!(lines.contains("document 1, line 1: ") && lines.contains("document 3, line 13: "), "{lines}");
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: app\nspec:\n  containers:\n  - name: app\n";

fn inject(flags: &[&str], input: &str) -> Output {
    piped(&[&["inject", "--cluster-dns", "10.96.0.10"], flags].concat(), input)
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

/// `check` finds pod templates in any kind; `inject` changes only those at known paths, and reports the
/// others.
#[test]
fn known_custom_kinds_are_injected_and_others_are_reported() {
    let template = |indent: &str| {
        let lines = ["template:", "  spec:", "    containers:", "    - {name: app, image: app}", ""];
        lines.join(&format!("\n{indent}"))
    };
    let documents = [
        format!(
            "apiVersion: kubeflow.org/v1\nkind: PyTorchJob\nmetadata: {{name: train}}\nspec:\n  pytorchReplicaSpecs:\n    \
             Master:\n      {}    Worker:\n      {}",
            template("      ").trim_end_matches(' '),
            template("      ").trim_end_matches(' ')
        ),
        "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata: {name: pi}\nspec: {driver: {}}\n".to_owned(),
        format!("apiVersion: x.example/v1\nkind: Odd\nmetadata: {{name: odd}}\nspec:\n  {}", template("  ").trim_end_matches(' ')),
    ];
    let output = piped(&["inject", "-f", "-", "--cluster-dns", "10.96.0.10"], &documents.join("---\n"));
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(out.matches("name: podlocal-dns\n").count(), 2, "{out}");
    for line in [
        "PyTorchJob default/train, spec/pytorchReplicaSpecs/Master/template: injected\n",
        "PyTorchJob default/train, spec/pytorchReplicaSpecs/Worker/template: injected\n",
        "SparkApplication default/pi: not injected by this command: its driver and executor are not pod templates",
        "Odd default/odd: not injected by this command: the place of the pod template in this kind is unknown",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    let checked = piped(&["check", "-f", "-", "--cluster-dns", "10.96.0.10"], &documents.join("---\n"));
    let page = String::from_utf8_lossy(&checked.stdout);
    assert!(
        page.contains("default SparkApplication/pi: its driver and executor are not pod templates"),
        "{page}"
    );
}
