//! Pods that controllers create.

use podlocal_harness::cluster::client::{Libc, pod_spec};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, kubectl, name_of, object};
use podlocal_harness::failure::Failure;
use serde_json::json;

use super::{RESOLVE, RESOLVE_AND_SLEEP, assert_injected, assert_resolves, wait_until_settled};
use crate::runner::Context;

pub(crate) async fn deployments_statefulsets_and_daemonsets_are_injected(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
    for kind in kinds {
        let labels = json!({ "kind": kind });
        let mut spec = pod_spec(Libc::Musl, &RESOLVE_AND_SLEEP);
        spec["restartPolicy"] = json!("Always");
        let template = json!({ "metadata": { "labels": labels }, "spec": spec });
        let spec = json!({ "selector": { "matchLabels": labels }, "template": template });
        namespace.apply(object("apps/v1", kind, &kind.to_lowercase(), &spec)).await?;
    }
    for kind in kinds {
        assert_pods_are_injected(namespace, &format!("kind={kind}")).await?;
    }
    Ok(())
}

/// A plain Job, and a Job from the template of a CronJob: `kubectl create job --from` does what the CronJob
/// controller does each time the CronJob is due.
pub(crate) async fn jobs_complete_beside_their_sidecar(context: Context) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let job = json!({ "backoffLimit": 0, "template": { "spec": pod_spec(Libc::Musl, &RESOLVE) } });
    let never = "0 0 30 2 *";
    let cron = json!({ "schedule": never, "jobTemplate": { "spec": job } });
    namespace.apply(object("batch/v1", "Job", "job", &job)).await?;
    namespace.apply(object("batch/v1", "CronJob", "cronjob", &cron)).await?;
    kubectl(&["--namespace", &namespace.name, "create", "job", "of-cronjob", "--from=cronjob/cronjob"])
        .await?;
    for job in ["job", "of-cronjob"] {
        eventually(&format!("job {job} is complete"), async || {
            let job = namespace.get("batch/v1", "Job", job).await?;
            Ok((job["status"]["succeeded"] == 1).then_some(()))
        })
        .await?;
        assert_pods_are_injected(namespace, &format!("job-name={job}")).await?;
    }
    Ok(())
}

async fn assert_pods_are_injected(namespace: &Namespace, labels: &str) -> Result<(), Failure> {
    for pod in wait_until_settled(namespace, labels).await? {
        assert_injected(&pod);
        let search = format!("{}.svc.cluster.local", namespace.name);
        assert_eq!(pod["spec"]["dnsConfig"]["searches"][0], search, "{labels}");
        // The pods have no resources with or without injection.
        assert_eq!(pod["status"]["qosClass"], "BestEffort", "{labels}");
        assert_resolves(namespace, name_of(&pod), "client").await?;
    }
    Ok(())
}
