//! The measurements on a real cluster (`gang --cluster`, 80 pods, one run), and a test that the simulation
//! agrees with them.

use podlocal_harness::table::percentile;

use super::Arm;
use super::gang::{Gang, Outcome};
use super::model::simulate;
use super::server::Capacity;

/// One arm on the real cluster. No lookup failed in any of them.
struct Measured {
    arm: Arm,
    /// The CPU limit of CoreDNS.
    millicores: u32,
    queries: f64,
    /// The time until 99 % of the pods had all their answers, in seconds.
    p99: f64,
}

const fn measured(arm: Arm, millicores: u32, queries: f64, p99: f64) -> Measured {
    Measured { arm, millicores, queries, p99 }
}

/// Without a limit the pods wait for their machine, which is not simulated.
const MEASURED: [Measured; 12] = [
    measured(Arm::Direct, 10, 1606.0, 27.08),
    measured(Arm::Sidecars, 10, 787.0, 16.55),
    measured(Arm::Tier, 10, 16.0, 0.73),
    measured(Arm::Direct, 20, 1600.0, 11.67),
    measured(Arm::Sidecars, 20, 723.0, 5.50),
    measured(Arm::Tier, 20, 16.0, 0.58),
    measured(Arm::Direct, 50, 1600.0, 3.56),
    measured(Arm::Sidecars, 50, 652.0, 1.60),
    measured(Arm::Tier, 50, 14.0, 0.36),
    measured(Arm::Direct, 100, 1600.0, 1.71),
    measured(Arm::Sidecars, 100, 634.0, 0.72),
    measured(Arm::Tier, 100, 15.0, 0.20),
];

fn run(measured: &Measured) -> Outcome {
    simulate(&Gang::new(measured.arm, 80, Capacity::with_limit(measured.millicores)))
}

#[test]
fn the_simulation_agrees_with_the_real_cluster() {
    let mut wrong = Vec::new();
    for real in &MEASURED {
        let model = run(real);
        let (queries, p99) = (model.queries as f64, percentile(&model.pod_seconds, 0.99));
        let case = format!(
            "{:?} with {} millicores: {} queries, p99 {:.2} s; really {} and {:.2} s",
            real.arm, real.millicores, queries, p99, real.queries, real.p99
        );
        println!("{case}");
        let as_many = (queries / real.queries - 1.0).abs() <= 0.2;
        // Behind the tier the pods also wait for their machine.
        let as_long = real.arm == Arm::Tier || (0.5..=2.0).contains(&(p99 / real.p99));
        if !as_many || !as_long || model.failed > 0 {
            wrong.push(case);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
