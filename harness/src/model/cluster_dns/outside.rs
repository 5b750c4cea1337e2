//! Outside names, as the resolver to which CoreDNS forwards would answer them.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::world::World;

/// The length of the longest chain of CNAMEs that is followed.
const LONGEST_CHAIN: usize = 8;

/// Records from the table; NODATA or NXDOMAIN with the SOA of the responsible zone.
pub(super) fn answer(world: &World, question: &Query) -> Message {
    let mut answer = Message::query();
    answer.metadata.recursion_available = true;
    let mut name = question.name().clone();
    for _ in 0..LONGEST_CHAIN {
        let Some(records) = world.outside.get(&name.to_lowercase().to_ascii()) else {
            // RFC 6604: the RCODE is that of the last name in the chain.
            if !has_names_below(world, &name) {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            answer.authorities.push(soa(world, &name));
            return answer;
        };
        let of_type = |wanted: RecordType| {
            let is_it = move |data: &RData| wanted == RecordType::ANY || data.record_type() == wanted;
            let matching = records.iter().filter(move |(data, _)| is_it(data));
            matching.map(|(data, ttl)| Record::from_rdata(name.clone(), *ttl, data.clone()))
        };
        let found: Vec<Record> = of_type(question.query_type()).collect();
        if !found.is_empty() {
            answer.answers.extend(found);
            return answer;
        }
        let Some(alias) = of_type(RecordType::CNAME).next() else {
            answer.authorities.push(soa(world, &name));
            return answer;
        };
        let RData::CNAME(target) = &alias.data else { return answer };
        let target = target.0.clone();
        answer.answers.push(alias);
        name = target;
    }
    answer
}

/// A name without records exists if a name below it exists (RFC 8020); zones exist as well.
fn has_names_below(world: &World, name: &Name) -> bool {
    let is_below = |other: &Name| name.zone_of(other);
    world.outside_zones.iter().any(|(zone, _)| is_below(zone))
        || world.outside.keys().filter_map(|key| Name::from_ascii(key).ok()).any(|key| is_below(&key))
}

fn soa(world: &World, name: &Name) -> Record {
    let enclosing = world.outside_zones.iter().filter(|(zone, _)| zone.zone_of(name));
    let (zone, ttl) = enclosing
        .max_by_key(|(zone, _)| zone.num_labels())
        .map_or_else(|| (Name::root(), 900), |(zone, ttl)| (zone.clone(), *ttl));
    let of_zone = |label: &str| zone.prepend_label(label).unwrap_or_else(|_| zone.clone());
    let data = SOA::new(of_zone("ns"), of_zone("hostmaster"), 2026, 7200, 900, 1_209_600, ttl);
    Record::from_rdata(zone.clone(), ttl, RData::SOA(data))
}
