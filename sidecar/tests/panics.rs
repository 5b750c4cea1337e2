//! A panic in a task. In a process of its own, because the hook that counts it is global.

use podlocal_sidecar::metrics::Metrics;
use podlocal_sidecar::supervise::watch_panics;

#[tokio::test]
async fn a_panic_in_any_task_is_counted_and_the_process_continues() {
    let (metrics, registry) = Metrics::new();
    watch_panics(metrics);
    for _ in 0..2 {
        let ended = tokio::spawn(async { panic!("a defect") }).await;
        assert!(ended.is_err_and(|error| error.is_panic()));
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    assert!(text.contains("podlocal_dns_panics_total 2"), "{text}");
}
