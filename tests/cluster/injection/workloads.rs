//! Pods that controllers create.

use podlocal_harness::cluster::client::{Libc, pod_spec};
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, kubectl, name_of, object};
use podlocal_harness::failure::Failure;
use serde_json::{Value, json};

use super::{RESOLVE, RESOLVE_AND_SLEEP, assert_injected, assert_resolves, wait_until_settled};
use crate::runner::Context;

/// The controllers whose pods run until they are deleted.
pub(crate) const CONTROLLERS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// The Job of the CronJob. The name follows the CronJob controller, which names a Job after the minute in which
/// it is due.
const JOB_OF_CRONJOB: &str = "cronjob-29000000";

pub(crate) async fn workloads_of_every_kind_are_injected_and_jobs_complete(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    create(namespace, pod_spec(Libc::Musl, &RESOLVE_AND_SLEEP), pod_spec(Libc::Musl, &RESOLVE)).await?;
    for kind in CONTROLLERS {
        assert_pods_are_injected(namespace, &format!("kind={kind}")).await?;
    }
    for job in ["job", JOB_OF_CRONJOB] {
        eventually(&format!("job {job} is complete"), async || {
            let job = namespace.get("batch/v1", "Job", job).await?;
            Ok((job["status"]["succeeded"] == 1).then_some(()))
        })
        .await?;
        assert_pods_are_injected(namespace, &format!("job-name={job}")).await?;
    }
    Ok(())
}

/// Creates one workload of each kind, named after its kind; the Deployment has two pods. A Job is created from
/// the template of the CronJob: `kubectl create job --from` does what the CronJob controller does each time the
/// CronJob is due.
pub(crate) async fn create(namespace: &Namespace, mut spec: Value, of_jobs: Value) -> Result<(), Failure> {
    spec["restartPolicy"] = json!("Always");
    for kind in CONTROLLERS {
        let labels = json!({ "kind": kind });
        let template = json!({ "metadata": { "labels": labels }, "spec": spec });
        let mut spec = json!({ "selector": { "matchLabels": labels }, "template": template });
        if kind == "Deployment" {
            spec["replicas"] = json!(2);
        }
        namespace.apply(object("apps/v1", kind, &kind.to_lowercase(), &spec)).await?;
    }
    let job = json!({ "backoffLimit": 0, "template": { "spec": of_jobs } });
    let cron = json!({ "schedule": "0 0 30 2 *", "jobTemplate": { "spec": job } });
    namespace.apply(object("batch/v1", "Job", "job", &job)).await?;
    namespace.apply(object("batch/v1", "CronJob", "cronjob", &cron)).await?;
    let create = ["--namespace", &namespace.name, "create", "job", JOB_OF_CRONJOB, "--from=cronjob/cronjob"];
    kubectl(&create).await.map(drop)
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
