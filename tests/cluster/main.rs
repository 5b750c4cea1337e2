//! Tests the promises of the product on the cluster of `KUBECONFIG`; see README.md.

mod attacks;
mod check;
mod creations;
mod documents;
mod faults;
mod forward_zones;
mod injection;
mod install;
mod lookups;
mod models;
mod ranks;
mod runner;
mod truncation;

use std::process::ExitCode;

use runner::test;

/// Tests of the same isolation start in this order.
fn main() -> ExitCode {
    if models::on_model::is_requested() {
        return models::on_model::main();
    }
    runner::run(vec![
        test(faults::dns::cached_names_resolve_during_a_45_second_outage_of_coredns),
        test(faults::dns::no_lookup_fails_while_coredns_restarts),
        test(faults::dns::no_lookup_fails_while_coredns_has_10_millicores),
        test(faults::tier::no_lookup_fails_while_the_tier_is_killed_restarted_and_gone),
        test(faults::sidecar::lookups_succeed_soon_after_the_sidecar_is_killed),
        test(faults::sidecar::lookups_succeed_at_once_after_the_proxy_crashes_twice),
        test(faults::sidecar::lookups_succeed_soon_after_the_sidecar_ran_out_of_memory).on_the_node(),
        test(faults::sidecar::a_deleted_pod_resolves_names_until_it_ends),
        test(faults::webhook::every_pod_is_injected_while_the_webhook_restarts),
        test(faults::webhook::every_pod_is_injected_while_the_certificate_is_renewed),
        test(faults::node::pods_resolve_and_start_while_containerd_restarts).breaks_the_node(),
        test(injection::workloads::workloads_of_every_kind_are_injected_and_jobs_complete),
        test(injection::pods::a_generated_name_and_an_ephemeral_container_resolve_names),
        test(injection::pods::sidecars_and_init_containers_of_a_restricted_pod_resolve_names),
        test(injection::pods::an_invalid_annotation_is_reported_and_its_default_used),
        test(injection::pods::a_dry_run_returns_the_injected_pod_and_leaves_no_trace),
        test(injection::limits::pods_keep_their_qos_class_under_a_quota_that_demands_limits),
        test(injection::limits::pods_keep_the_class_that_a_limit_range_gives_them),
        test(injection::limits::the_sidecar_meets_the_minimum_of_a_limit_range),
        test(injection::left_alone::pods_that_are_not_injected_run_unchanged_and_get_an_event),
        test(injection::left_alone::a_pod_label_opts_in_in_any_namespace),
        test(injection::left_alone::no_label_injects_pods_of_the_system_or_of_the_webhook),
        test(injection::injectors::the_sidecar_goes_before_the_container_of_an_earlier_injector),
        test(injection::injectors::the_sidecar_moves_before_the_container_of_a_later_injector),
        test(lookups::glibc_and_musl_resolve_the_same_names_as_without_injection),
        test(lookups::srv_records_of_a_service_are_passed_on),
        test(forward_zones::names_of_a_forward_zone_are_asked_of_its_server_alone),
        test(truncation::no_answer_has_fewer_records_than_from_cluster_dns),
        test(models::pods::pods_do_the_same_on_the_model_and_on_a_real_node),
        test(models::api_server::the_webhooks_test_api_server_answers_as_the_real_one),
        test(ranks::a_lookup_waits_for_a_peer_that_is_not_ready_yet),
        test(check::installation::check_finds_nothing_wrong_with_the_installation),
        test(check::installation::check_says_what_is_wrong_with_an_installation),
        test(check::installation::check_names_the_right_that_is_missing),
        test(check::verdicts::every_verdict_about_a_pod_is_what_the_api_server_does),
        test(check::verdicts::verdicts_about_workloads_follow_their_injection),
        test(check::verdicts::inject_prints_the_pod_that_the_api_server_stores),
        test(attacks::no_attack_restarts_anything_or_fails_a_lookup_of_another_pod).alone().on_the_node(),
        test(install::overlays::overlays_work_and_removing_everything_leaves_nothing).alone(),
        test(install::upgrade::upgrade_and_rollback_inject_every_pod).alone(),
        test(install::helm::the_chart_has_the_objects_of_the_base),
        test(install::helm::invalid_values_are_refused_with_their_names),
        test(install::helm::a_release_is_installed_upgraded_rolled_back_and_uninstalled).alone(),
        test(install::callers::with_a_client_ca_the_webhook_answers_only_the_api_server)
            .alone()
            .on_the_node(),
        test(documents::commands_of_the_documents_for_a_cluster_run).alone(),
    ])
}
