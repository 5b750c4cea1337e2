//! The seeds of the fuzzers: messages as clients, CoreDNS and attackers send them, one file each. The files
//! are committed, so that findings of a fuzzer can be added to them; this code makes them, so that a reader
//! can see their contents.

use std::path::PathBuf;
use std::{env, fs};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// One seed: the target, the file name, the bytes.
type Seed = (&'static str, String, Vec<u8>);

/// If the variable `SEEDS` names a directory, writes the seeds into one directory per target there, and ends
/// the program. Every fuzz program calls this first, because a program without libFuzzer cannot be linked
/// with its instrumentation.
pub fn write_if_asked() {
    let Some(directory) = env::var_os("SEEDS").map(PathBuf::from) else { return };
    for (target, name, bytes) in all() {
        let directory = directory.join(target);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(name), bytes).expect("a file");
    }
    std::process::exit(0);
}

fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, bytes) in queries() {
        seeds.push(("query", name.to_owned(), bytes));
    }
    for (name, bytes) in answers() {
        // A client without EDNS and one with EDNS; the whole answer, and a truncated one.
        for (client, parameters) in [("plain", PLAIN), ("edns", EDNS), ("small", SMALL), ("stale", STALE)] {
            seeds.push(("reply", format!("{name}-{client}"), [&parameters[..], &bytes].concat()));
        }
        // The answer to the query of the sidecar, and to one for the same name with another type.
        seeds.push(("upstream", name.to_owned(), [&[0, 0, 0][..], &bytes].concat()));
        let type_at = (bytes.iter().skip(12).position(|byte| *byte == 0).unwrap_or(0) + 2) as u8;
        seeds.push(("upstream", format!("{name}-other-type"), [&[0, type_at, 0x20][..], &bytes].concat()));
        let two_questions = [&[0; 3], &bytes[..5], &[2], &bytes[6..]].concat();
        seeds.push(("upstream", format!("{name}-two-questions"), two_questions));
    }
    for (name, bytes) in repeated() {
        seeds.push(("work", name.to_owned(), bytes));
    }
    for (name, body) in reviews() {
        seeds.push(("review", name.to_owned(), body.into_bytes()));
    }
    for (name, lines) in settings() {
        seeds.push(("settings", name.to_owned(), lines.into_bytes()));
    }
    // The input for `Answer` has no format: any bytes are valid, and the fuzzer varies them.
    for index in 1..=4_u32 {
        let mut noise = index;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .take(400)
        .collect();
        let built = |parameters: [u8; 16]| [&[1][..], &parameters[1..], &bytes].concat();
        seeds.push(("reply", format!("built-{index}"), built(if index % 2 == 0 { EDNS } else { PLAIN })));
        seeds.push(("session", format!("built-{index}"), bytes.clone()));
        seeds.push(("upstream", format!("built-{index}"), [&[1, 0, 0][..], &bytes].concat()));
    }
    seeds
}

/// The bodies of reviews, valid ones as the API server sends them, and invalid ones.
fn reviews() -> Vec<(&'static str, String)> {
    let of = |object: &str| {
        format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1","kind":{{"kind":"Pod"}},"namespace":"web","operation":"CREATE","object":{object},"dryRun":false}}}}"#
        )
    };
    let metadata = r#""metadata":{"generateName":"web-","labels":{"podlocal-dns.io/inject":"enabled"},"annotations":{"podlocal-dns.io/ndots":"3","podlocal-dns.io/x":"\n","other":"1"},"ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"train","uid":"u-9","controller":true}]}"#;
    let resources = r#""resources":{"limits":{"cpu":"1","memory":"1Gi"}}"#;
    let ours =
        r#"{"name":"podlocal-dns","restartPolicy":"Always","env":[{"name":"PODLOCAL_NDOTS","value":"2"}]}"#;
    let config = r#""dnsConfig":{"nameservers":["127.0.0.1"],"searches":["a.example"],"options":[{"name":"ndots","value":"5"}]}"#;
    vec![
        ("smallest", of(r#"{"spec":{"containers":[]}}"#)),
        (
            "usual",
            of(&format!(
                r#"{{{metadata},"spec":{{"containers":[{{"name":"app","image":"a:1","env":[{{"name":"A"}}],"ports":[{{"containerPort":80}}],{resources}}}],"volumes":[{{}}],"securityContext":{{"sysctls":[{{"name":"net.ipv4.ip_unprivileged_port_start","value":"0"}}]}}}}}}"#
            )),
        ),
        (
            "again",
            of(&format!(
                r#"{{{metadata},"spec":{{"dnsPolicy":"None",{config},"initContainers":[{{"name":"a"}},{ours}],"containers":[]}}}}"#
            )),
        ),
        (
            "own-servers",
            of(&format!(r#"{{{metadata},"spec":{{"dnsPolicy":"None",{config},"containers":[]}}}}"#)),
        ),
        (
            "left-alone",
            of(r#"{"spec":{"containers":[],"hostNetwork":true,"os":{"name":"windows"},"nodeSelector":{}}}"#),
        ),
        (
            "odd-shapes",
            of(
                r#"{"metadata":[],"spec":{"containers":[1,{}],"initContainers":{"0":1},"dnsConfig":[],"dnsPolicy":null}}"#,
            ),
        ),
        ("twice", of(r#"{"spec":1,"spec":{"containers":1,"containers":[]}}"#)),
        ("deep", of(&format!(r#"{{"spec":{{"containers":[],"dnsConfig":{}}}}}"#, "[".repeat(200)))),
        ("cut-off", of("{").replace("}}", "")),
        ("an-update", of("{}").replace("CREATE", "UPDATE")),
    ]
}

/// Lines of `NAME=TEXT`, valid and invalid.
fn settings() -> Vec<(&'static str, String)> {
    let many: Vec<_> = ('a'..='p').map(|zone| format!("{zone}=1.1.1.1+1.1.1.2")).collect();
    let seeds = [
        ("forward-zones", "forward-zones=consul=10.0.0.53,corp.example=10.1.0.1+10.1.0.2"),
        ("blanks", "forward-zones= Consul.=[fd00::a]:5353 , _x.10.in-addr.arpa = 10.0.0.1 + fd00::b"),
        (
            "cluster-domain",
            "cluster-domain=k8s.corp.example\nforward-zones=corp.example=10.1.0.1,a.corp.example=127.0.0.1:8600",
        ),
        ("many-zones", &format!("forward-zones={}", many.join(","))),
        ("long-server", &format!("forward-zones=a={}", "\u{1}".repeat(1900))),
        (
            "bad-zones",
            "forward-zones=consul,.=10.0.0.1,*.a=10.0.0.1,svc=10.0.0.1,x.cluster.local=10.0.0.1,a..b=x,c=127.0.0.1,\n\
             forward-zones=consul=10.0.0.53,CONSUL.=10.0.0.54,a=10.0.0.1+10.0.0.1:53,b=10.0.0.1:0\n\
             forward-zones=consul=10.0.0.53",
        ),
        (
            "all",
            "cache-size=64Ki\nmax-ttl=7d\nmin-ttl=1h\nmax-negative-ttl=3h\nserve-stale=0s\nrefresh-ahead=false\n\
             upstream=10.96.0.10,[fd00::a]:5353\nbackup-upstream=192.0.2.53\nupstream-transport=tcp\ncluster-domain=a.b\n\
             admin-port=1\nlog-level=trace\nquery-log=true\nready-timeout=0s\nndots=5\nlocal-nxdomain=impossible\n\
             prefetch-names=db.prod,www.example.com.\nwait-for-names=*.workers,rank-0.ps\nwait-timeout=2s",
        ),
        (
            "bad-together",
            "min-ttl=2h\nmax-ttl=1h\nadmin-port=53\nupstream=127.0.0.1\nbackup-upstream=0.0.0.0,10.0.0.1",
        ),
    ];
    seeds.map(|(name, lines)| (name, lines.to_owned())).into()
}

/// See `reply`: switches, flags and EDNS of the client, its UDP payload size, the limit, the age, the letter
/// case, the TTLs.
const PLAIN: [u8; 16] = [0, 1, 0, 0, 2, 0, 0, 5, 0, 0, 0, 0, 0, 60, 0, 7];
const EDNS: [u8; 16] = [0, 31, 4, 208, 4, 208, 0, 20, 255, 255, 255, 255, 5, 60, 0, 7];
const SMALL: [u8; 16] = [0, 9, 0, 0, 0, 80, 0, 1, 85, 85, 85, 85, 0, 1, 0, 7];
const STALE: [u8; 16] = [0, 41, 4, 208, 4, 208, 0, 90, 0, 0, 0, 0, 5, 60, 0, 7];

fn queries() -> Vec<(&'static str, Vec<u8>)> {
    let plain = query("Api.Example.COM", RecordType::A, false);
    let edns = query("api.default.svc.cluster.local", RecordType::AAAA, true);
    let changed = |place: usize, value: u8| {
        let mut bytes = edns.clone();
        bytes[place] = value;
        bytes
    };
    let (version_at, kind_at) = (edns.len() - 5, edns.len() - 11 - 3);
    vec![
        ("marked", {
            let mut bytes = edns.clone();
            *bytes.last_mut().expect("an OPT record's length") = 12;
            [&bytes[..], b"\xff\x49\x00\x08podlocal"].concat()
        }),
        ("sig0", {
            let mut bytes = plain.clone();
            bytes[11] = 1;
            [&bytes[..], b"\x00\x00\x18\x00\xff\x00\x00\x00\x00\x00\x04sign"].concat()
        }),
        ("reply", changed(2, 0x81)),
        ("notify", changed(2, 4 << 3)),
        ("two-questions", changed(5, 2)),
        ("an-answer", changed(7, 1)),
        ("two-opt-records", changed(11, 2)),
        ("edns-version-1", changed(version_at, 1)),
        ("axfr", changed(kind_at, 252)),
        ("tsig", changed(edns.len() - 9, 250)),
        ("compressed-question", changed(12, 0xc0)),
        ("cut-off", edns[..30].to_vec()),
        ("bytes-behind", [&plain[..], b"x"].concat()),
        ("root", query(".", RecordType::NS, true)),
        ("plain", plain),
        ("edns", edns),
    ]
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let (host, alias) = ("api.default.svc.cluster.local", "www.example.com");
    let a = |last| record(host, 30, RData::A(A::new(10, 0, 0, last)));
    let soa =
        SOA::new(name("ns.dns.cluster.local"), name("hostmaster.cluster.local"), 1, 7200, 1800, 86400, 5);
    let srv = |peer| record("_mpi._tcp.gang.local", 5, RData::SRV(SRV::new(0, 50, 2222, name(peer))));
    let chain = vec![
        record(alias, 300, RData::CNAME(CNAME(name("edge.cdn.example.com")))),
        record("edge.cdn.example.com", 20, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
    ];
    let mail = vec![
        record("example.com", 60, RData::MX(MX::new(10, name("mail.example.com")))),
        record("example.com", 60, RData::NS(NS(name("ns.example.com")))),
        record("example.com", 60, RData::TXT(TXT::new(vec!["v=spf1 -all".to_owned()]))),
    ];
    let reverse = record("1.0.0.10.in-addr.arpa", 30, RData::PTR(PTR(name(host))));
    let peers = vec![srv("gang-0.gang.local"), srv("gang-1.gang.local")];
    let mut gone = answer(host, RecordType::A, vec![]);
    gone.metadata.response_code = ResponseCode::NXDomain;
    gone.insert_authorities(vec![record("cluster.local", 30, RData::SOA(soa))]);
    let mut no_edns = answer(host, RecordType::A, vec![]);
    no_edns.metadata.response_code = ResponseCode::FormErr;
    no_edns.edns = None;
    let mut bad_cookie = answer(host, RecordType::A, vec![]);
    bad_cookie.edns.get_or_insert_default().set_rcode_high(1);
    [
        ("addresses", answer(host, RecordType::A, (1..=5).map(a).collect())),
        ("alias", answer(alias, RecordType::AAAA, chain)),
        ("mail", answer("Example.com", RecordType::ANY, mail)),
        ("service", answer("_mpi._tcp.gang.local", RecordType::SRV, peers)),
        ("reverse", answer("1.0.0.10.in-addr.arpa", RecordType::PTR, vec![reverse])),
        ("https", answer(alias, RecordType::HTTPS, vec![])),
        ("nxdomain", gone),
        ("formerr", no_edns),
        ("extended-rcode", bad_cookie),
    ]
    .into_iter()
    .map(|(what, message)| (what, message.to_vec().expect("encodes")))
    .collect()
}

/// See `work`: a part that is present once, and a part that is repeated. The question takes 29 bytes.
fn repeated() -> Vec<(&'static str, Vec<u8>)> {
    let deep: Vec<u8> = (0..118).flat_map(|number| [1, b'a' + number % 26]).chain([0]).collect();
    let once = [&deep[..], b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00"].concat();
    let tail = b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01".as_slice();
    let owner = |place: u8| [&[0xc0, place], tail].concat();
    let seed = |shape: u8, once: &[u8], repeated: &[u8]| {
        [&[shape, once.len() as u8, 0][..], once, repeated].concat()
    };
    let alias = b"\x01a\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01b\xc0\x0c".as_slice();
    vec![
        ("addresses", seed(8, &[], &owner(12))),
        ("deep-owners", seed(8, &once, &owner(33))),
        ("deep-owners-in-turns", seed(8, &once, &[owner(33), owner(35)].concat())),
        ("aliases", seed(8, &[], alias)),
        ("root-owners", seed(8, &[], b"\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00")),
    ]
}

fn query(of: &str, kind: RecordType, speaks_edns: bool) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(of), kind));
    if speaks_edns {
        message.set_edns(Edns::new());
    }
    message.to_vec().expect("encodes")
}

fn answer(of: &str, kind: RecordType, answers: Vec<Record>) -> Message {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.authentic_data = true;
    message.add_query(Query::query(name(of), kind));
    message.insert_answers(answers);
    message.set_edns(Edns::new());
    message
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}
