//! Names to look up -> a world that contains them.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, RecordType};

use podlocal_dns::expansion;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::model::cluster_dns::{Service, World, answer};

/// Adds each name that a pod of the namespace would not find to the world: a name with two dots or more as an
/// outside name, other names as a Service `name` or `name.namespace`.
pub fn with_names(mut world: World, namespace: &str, names: &[String]) -> Result<World, Failure> {
    for (number, name) in names.iter().enumerate() {
        let absolute = name.strip_suffix('.').unwrap_or(name);
        let parsed = Name::from_ascii(format!("{absolute}."));
        parsed.with_context(|| format!("--names: {name:?}: expected a domain name"))?;
        if exists(&world, namespace, absolute) {
            continue;
        }
        let last = u8::try_from(number % 250 + 1).unwrap_or(1);
        match absolute.split('.').collect::<Vec<_>>()[..] {
            [service] => world = world.service(at(service, namespace, last)),
            [service, of] => world = world.service(at(service, of, last)),
            _ => world = world.outside(absolute, 60, RData::A(A(Ipv4Addr::new(198, 51, 100, last)))),
        }
    }
    Ok(world)
}

fn at(service: &str, namespace: &str, last: u8) -> Service {
    Service::cluster_ip(service, namespace, &format!("10.96.200.{last}")).port("any", "tcp", 80)
}

/// Whether one of the candidates of the search list exists, as A or as AAAA.
fn exists(world: &World, namespace: &str, name: &str) -> bool {
    let zone = world.zone_name();
    let search = [format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone];
    let found = |candidate: &str, record_type| {
        let Ok(candidate) = Name::from_ascii(candidate) else { return false };
        let mut query = Message::query();
        query.add_query(Query::query(candidate, record_type));
        let answer = answer(world, &query);
        answer.metadata.response_code == ResponseCode::NoError && !answer.answers.is_empty()
    };
    let mut candidates = expansion::candidates(name, &search, 1).into_iter();
    candidates.any(|candidate| found(&candidate, RecordType::A) || found(&candidate, RecordType::AAAA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_added_inside_or_outside_the_cluster_by_its_dots() {
        let names = ["kubernetes.default", "api.example.com", "queue", "db.jobs", "s3.eu.example.net"];
        let names = names.map(str::to_owned);
        let before = World::example().namespace("default");
        let is_there = |world: &World| names.each_ref().map(|name| exists(world, "default", name));
        assert_eq!(is_there(&before), [true, true, false, false, false]);
        let after = with_names(before, "default", &names).unwrap();
        assert_eq!(is_there(&after), [true; 5]);
        let failure = with_names(after, "default", &["two..dots".to_owned()]).unwrap_err();
        assert!(failure.to_string().contains("\"two..dots\": expected a domain name"), "{failure}");
    }
}
