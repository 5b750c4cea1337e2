//! The answers that the proxy makes itself: errors, and NXDOMAIN for names that do not exist in the cluster
//! domain.

use podlocal_dns::wire::{self, Flags, HEADER_LENGTH, Message, Rcode, Soa, TYPE_OPT};

use crate::query::{Client, Edns, Rejected};

/// The UDP payload size of the proxy, towards clients and upstreams alike: it passes every path unfragmented
/// (DNS flag day 2020; RFC 9715 section 3.1).
pub const PAYLOAD_SIZE: u16 = 1232;

/// Writes the response to bytes that are not an acceptable query; `false` when there is no response.
pub fn write_rejection(bytes: &[u8], rejected: Rejected, out: &mut Vec<u8>) -> bool {
    let (Rejected::Answer(rcode), Some(message)) = (rejected, Message::new(bytes)) else {
        return false;
    };
    let question = if message.question_count() == 1 { message.question() } else { None };
    // BADVERS needs an OPT record (RFC 6891 section 6.1.3), with DO copied (RFC 3225).
    let mut records = question.into_iter().flat_map(|question| message.records(question.len()).flatten());
    let opt = records.find(|record| record.rtype == TYPE_OPT).filter(|_| rcode == Rcode::BADVERS);
    let edns = opt.map(|opt| Edns::of(&opt));
    write(message.id(), message.flags(), question, edns, rcode, out);
    true
}

/// Writes an error response to a query. SERVFAIL to a client with EDNS carries an Extended DNS Error, to show
/// that EDNS is not the cause: otherwise another PodLocal DNS proxy would send the query again without EDNS.
pub fn write_error<'a>(client: impl Into<Client<'a>>, rcode: Rcode, out: &mut Vec<u8>) {
    let Client { id, flags, edns, question } = client.into();
    write(id, flags, Some(question), edns, rcode, out);
    if rcode == Rcode::SERVFAIL && edns.is_some() {
        wire::push_option(out, wire::OPTION_EXTENDED_ERROR, &OTHER_ERROR.to_be_bytes());
    }
}

/// "Other Error" (RFC 8914 section 4.1): the client can do nothing about the cause.
const OTHER_ERROR: u16 = 0;

/// The TTL of an NXDOMAIN that follows from the shape of a name alone: that of CoreDNS, as kubeadm configures
/// it. It could be longer; this is the TTL without the sidecar.
pub const IMPOSSIBLE_TTL: u32 = 30;

/// "Synthesized" in IANA's registry of Extended DNS Error Codes: no server was queried.
const SYNTHESIZED: u16 = 29;

/// The SOA record of the cluster domain, in the form of CoreDNS (`plugin/backend_lookup.go`, `SOA`);
/// CoreDNS's serial is the time of the last change, which the sidecar does not know.
fn soa(ttl: u32) -> Soa<'static> {
    Soa { server: b"\x02ns\x03dns", mailbox: b"\x0ahostmaster", numbers: [1, 7200, 1800, 86400, ttl] }
}

/// Writes NXDOMAIN for a name in the cluster domain, which begins at `zone_at` of the name. The answer always
/// has fewer than 512 bytes, so it is never truncated.
pub fn write_missing<'a>(client: impl Into<Client<'a>>, zone_at: usize, ttl: u32, out: &mut Vec<u8>) {
    let Client { id, flags, edns, question } = client.into();
    write(id, flags, Some(question), None, Rcode::NXDOMAIN, out);
    wire::set_flag(out, Flags::AA);
    wire::push_soa(out, HEADER_LENGTH + zone_at, ttl, &soa(ttl));
    wire::put_counts(out, 1, [0, 1, 0]);
    if let Some(edns) = edns {
        wire::push_opt_with_error(out, PAYLOAD_SIZE, edns.dnssec_ok, SYNTHESIZED);
    }
}

/// The same as an upstream's response, for names that the proxy looks up itself.
pub fn missing(question: &[u8], zone_at: usize, ttl: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write_missing(Client { id: 0, flags: Flags(0), edns: None, question }, zone_at, ttl, &mut out);
    out
}

fn write(
    id: u16,
    flags: Flags,
    question: Option<&[u8]>,
    edns: Option<Edns>,
    rcode: Rcode,
    out: &mut Vec<u8>,
) {
    let kept = flags.0 & (0xf << 11 | Flags::RD | Flags::CD);
    out.clear();
    out.resize(HEADER_LENGTH, 0);
    wire::put_header(out, id, Flags(Flags::QR | Flags::RA | kept | u16::from(rcode.0 & 0xf)));
    wire::put_counts(out, u16::from(question.is_some()), [0; 3]);
    out.extend_from_slice(question.unwrap_or_default());
    if let Some(edns) = edns {
        wire::push_opt(out, PAYLOAD_SIZE, rcode.0 >> 4, edns.dnssec_ok);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::query::tests::query_bytes;
    use hickory_proto::op::{Message as Decoded, ResponseCode};

    fn rejection(bytes: &[u8]) -> Decoded {
        let mut out = Vec::new();
        assert!(write_rejection(bytes, Query::parse(bytes).expect_err("rejected"), &mut out));
        Decoded::from_vec(&out).expect("our own answer decodes")
    }

    #[test]
    fn a_formerr_repeats_the_id_and_the_readable_question() {
        let answer = rejection(&query_bytes("a.b", 0, b"x"));
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (7, ResponseCode::FormErr));
        assert_eq!(answer.queries.len(), 1);
        let mut two_questions = query_bytes("a", 0, b"\x01b\x00\x00\x01\x00\x01");
        two_questions[5] = 2;
        assert_eq!(rejection(&two_questions).queries.len(), 0);
    }

    #[test]
    fn badvers_has_an_opt_record_of_version_zero_with_do_copied() {
        for (flags, dnssec_ok) in [([0x00, 0x00], false), ([0x80, 0x00], true), ([0xff, 0xff], true)] {
            for records_before in [0, 1] {
                let before = b"\x00\x00\x01\x00\x01\x00\x00\x80\x00\x00\x00".repeat(records_before);
                let opt = [b"\x00\x00\x29\x04\xd0\x00\x05", flags.as_slice(), b"\x00\x00"].concat();
                let bytes = query_bytes("a", records_before as u8 + 1, &[before, opt].concat());
                let answer = rejection(&bytes);
                let edns = answer.edns.as_ref().expect("an OPT record");
                assert_eq!((edns.version(), edns.rcode_high()), (0, 1));
                assert_eq!(edns.flags().dnssec_ok, dnssec_ok, "{flags:?}");
                assert_eq!(edns.flags().z, 0, "the other flags are ours");
            }
        }
    }

    #[test]
    fn nxdomain_has_the_form_of_coredns() {
        for (records, opt) in [(0, &[][..]), (1, b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00")] {
            let bytes = query_bytes("Api.example.com.Cluster.local", records, opt);
            let mut out = Vec::new();
            write_missing(&Query::parse(&bytes).expect("a query"), 16, 30, &mut out);
            let answer = Decoded::from_vec(&out).expect("decodes");
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
            assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
            assert_eq!(answer.queries[0].name().to_string(), "Api.example.com.Cluster.local.");
            assert_eq!(
                answer.authorities[0].to_string(),
                "Cluster.local. 30 IN SOA ns.dns.Cluster.local. hostmaster.Cluster.local. 1 7200 1800 86400 30"
            );
            assert_eq!(answer.edns.is_some(), records == 1);
            assert_eq!(out.ends_with(b"\x00\x0f\x00\x02\x00\x1d"), records == 1, "extended error 29");
        }
    }

    #[test]
    fn silence_writes_nothing() {
        assert!(!write_rejection(b"abc", Rejected::Silence, &mut Vec::new()));
    }

    #[test]
    fn a_servfail_repeats_the_question_and_the_clients_edns() {
        for (bytes, speaks) in [
            (query_bytes("A.b", 0, &[]), false),
            (query_bytes("A.b", 1, b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"), true),
        ] {
            let mut out = Vec::new();
            write_error(&Query::parse(&bytes).expect("a query"), Rcode::SERVFAIL, &mut out);
            let answer = Decoded::from_vec(&out).expect("decodes");
            assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
            assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
            assert_eq!(answer.queries[0].name().to_string(), "A.b.");
            assert_eq!(answer.edns.is_some(), speaks);
        }
    }
}
