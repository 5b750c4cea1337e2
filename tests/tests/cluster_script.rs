//! The script that tries a real cluster, against a `kubectl` that answers as one would: it tells right from wrong, and
//! leaves alone what is not its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// What a cluster where everything holds says, by the end of the command's words; `$LOG` gets every command.
const KUBECTL: &str = r#"#!/usr/bin/env bash
echo "$*" >>"$LOG"
if [ "$1" = apply ]; then cat; echo ---; fi >>"$LOG.applied"
case "$*" in
*"$MISSING"*) echo 'Error from server (NotFound): pods "x" not found' >&2; exit 1 ;;
"apply -n podlocal-dns-check -f -") echo "$WARNING" >&2; echo job.batch/lookups created ;;
*"get namespace podlocal-dns "*) echo "$EXISTING" ;;
*kustomize*) printf 'image: ghcr.io/podlocal-dns/webhook:0.1.0\n- --sidecar-image=x\n' ;;
*caBundle*) echo Q0E= ;;
*"containers[0].args"*) echo '["serve","--sidecar-image=registry.example/sidecar:test"]' ;;
*"logs job/lookups"*) for name in kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local example.com
    do echo "$name found"; done; echo "odd missing" ;;
*"exec deployment/web"*) printf 'search x\nnameserver 127.0.0.1\n' ;;
*"initContainers[0].name}") echo podlocal-dns ;;
*"restartPolicy}") echo Always ;;
*"initContainers[0].image}") echo registry.example/sidecar:test ;;
*"spec.dnsPolicy}") echo "$DNS_POLICY" ;;
*"dnsConfig.nameservers}") echo '["127.0.0.1"]' ;;
*"dnsConfig.searches[0]}") echo podlocal-dns-check.svc.cluster.local ;;
*"qosClass}") echo BestEffort ;;
*SERVE_STALE*) echo 2h ;;
*CACHE_SIZE*) echo 8Mi ;;
*"pod tuned"*status*) echo 'injected; ignored: annotation podlocal-dns.io/ndots: "many": expected a whole number' ;;
*"podlocal-dns\.io/status}") echo injected ;;
*status.succeeded*) echo 1 ;;
*"get pod "*"{.metadata.name}:"*) words=($*); echo "${words[4]}:" ;;
*kube-system*) printf 'pod: istio-init\npod: \n' ;;
esac
"#;

/// The script's output, the commands it gave, and what it applied.
struct Run {
    output: Output,
    commands: String,
    applied: String,
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let kubectl = folder.path().join("kubectl");
    fs::write(&kubectl, KUBECTL).expect("writes");
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("sets");
    let log = folder.path().join("log");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/run"))
        .args(arguments)
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("LOG", &log)
        .env("KUBECONFIG", "/dev/null")
        .env("WEBHOOK_IMAGE", "registry.example/webhook:test")
        .env("SIDECAR_IMAGE", "registry.example/sidecar:test")
        .env("DNS_POLICY", "None")
        .env("EXISTING", "")
        .env("MISSING", "nothing is missing")
        .env(
            "WARNING",
            r#"Warning: ignored: annotation podlocal-dns.io/ndots: "many": expected a whole number"#,
        )
        .envs(variables.iter().copied())
        .output()
        .expect("runs");
    let text = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    let applied = text(&folder.path().join("log.applied"));
    Run { output, commands: text(&log), applied }
}

fn stdout(run: &Run) -> String {
    String::from_utf8_lossy(&run.output.stdout).into_owned()
}

fn stderr(run: &Run) -> String {
    String::from_utf8_lossy(&run.output.stderr).into_owned()
}

#[test]
fn where_everything_holds_every_check_is_ok_and_everything_is_removed() {
    let run = run(&[], &[]);
    assert_eq!(run.output.status.code(), Some(0), "{}{}", stdout(&run), stderr(&run));
    assert!(
        stdout(&run).contains(" checks, 0 failed\n") && !stdout(&run).contains("FAILED"),
        "{}",
        stdout(&run)
    );
    assert!(run.applied.contains("image: registry.example/webhook:test"), "{}", run.applied);
    assert!(run.applied.contains("--sidecar-image=registry.example/sidecar:test"), "{}", run.applied);
    let removed = ["delete namespace podlocal-dns-check podlocal-dns-check-node", "delete -k"];
    assert!(removed.iter().all(|part| run.commands.contains(part)), "{}", run.commands);
}

#[test]
fn one_wrong_answer_is_a_row_that_says_so_and_exit_code_1() {
    let run = run(&[], &[("DNS_POLICY", "ClusterFirst")]);
    assert_eq!(run.output.status.code(), Some(1));
    let wrong: Vec<_> =
        stdout(&run).lines().filter(|line| line.starts_with("FAILED")).map(str::to_owned).collect();
    assert_eq!(wrong.len(), 2, "{}", stdout(&run));
    assert!(wrong[0].contains("job/lookups: dnsPolicy") && wrong[0].ends_with("ClusterFirst"), "{wrong:?}");
    assert!(run.commands.contains("delete -k"), "it cleans up all the same");
}

#[test]
fn what_was_not_looked_at_does_not_hold() {
    for (variable, value, row) in [
        ("MISSING", "get pod opted-out ", "pod/opted-out: init containers"),
        ("MISSING", "get pod policy-default ", "pod/policy-default: init containers"),
        ("MISSING", "get pod policy-none ", "pod/policy-none: init containers"),
        ("MISSING", "get pod on-the-node ", "pod/on-the-node: init containers"),
        ("MISSING", "kube-system get pods", "kube-system: proxies"),
        ("WARNING", "", "pod/tuned: who creates it is warned"),
    ] {
        let run = run(&[], &[(variable, value)]);
        assert_eq!(run.output.status.code(), Some(1), "{row}: {}{}", stdout(&run), stderr(&run));
        let wrong: Vec<_> =
            stdout(&run).lines().filter(|line| line.starts_with("FAILED")).map(str::to_owned).collect();
        assert!(wrong.len() == 1 && wrong[0].contains(row), "{row}: {wrong:?}");
    }
}

#[test]
fn what_is_installed_already_is_never_removed() {
    let refused = run(&[], &[("EXISTING", "namespace/podlocal-dns")]);
    assert_eq!(refused.output.status.code(), Some(64));
    assert!(stderr(&refused).contains("--installed"), "{}", stderr(&refused));
    let tried =
        run(&["--installed"], &[("EXISTING", "namespace/podlocal-dns"), ("SIDECAR_IMAGE", "of nobody")]);
    assert_eq!(tried.output.status.code(), Some(0), "{}{}", stdout(&tried), stderr(&tried));
    for run in [refused, tried] {
        assert!(
            !run.commands.contains("delete -k") && !run.commands.contains("kustomize"),
            "{}",
            run.commands
        );
    }
}

#[test]
fn without_a_cluster_or_with_a_strange_flag_it_says_what_it_needs() {
    let nowhere = run(&[], &[("KUBECONFIG", "")]);
    assert_eq!((nowhere.output.status.code(), nowhere.commands.as_str()), (Some(64), ""));
    assert!(stderr(&nowhere).contains("KUBECONFIG is not set"));
    assert_eq!(run(&["--quickly"], &[]).output.status.code(), Some(64));
    let help = run(&["--help"], &[]);
    assert!(help.output.status.success() && stdout(&help).contains("SIDECAR_IMAGE"), "{}", stdout(&help));
}

#[test]
fn the_workloads_are_restricted_and_are_what_the_checks_look_for() {
    let run = run(&["--keep"], &[]);
    let applied: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(run.applied.split_once("---\n").expect("documents").1).expect("YAML");
    let kinds: Vec<_> = applied.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "Pod").count(), 5, "{kinds:?}");
    for kind in ["Job", "Deployment"] {
        let object = applied.iter().find(|object| object["kind"] == kind).expect("it is there");
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(
            (&context["capabilities"]["drop"][0], &context["allowPrivilegeEscalation"]),
            (&"ALL".into(), &false.into())
        );
    }
    assert!(!run.commands.contains("delete"), "{}", run.commands);
}
