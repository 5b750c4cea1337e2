//! The same names in pods with every `ndots`, direct and injected: the results of a client must not change.
//!
//! Each pod looks up all names, so that later answers come from a proxy with a filled cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use hickory_proto::rr::RecordType;
use podlocal_settings::table;
use serde_json::{Value, json};

use super::answers::Answer;
use super::clients::Client;
use super::matrix::{ask, start};
use super::names::{ADDRESSES, NAMES, SEARCH, TYPES};
use super::questions::Kind;
use podlocal_harness::failure::Failure;
use podlocal_harness::model::cluster::Cluster;

/// The number of pods of one client that run at the same time.
const AT_ONCE: usize = 2;

/// The `ndots` of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ndots {
    /// The pod does not set it: 5, or the default after injection.
    Usual,
    /// The pod's dnsConfig sets it.
    Own(u8),
    /// The pod does not set it; its annotation sets the injected value.
    Annotated(u8),
}

impl Ndots {
    const ALL: [Self; 9] = {
        use Ndots::{Annotated, Own, Usual};
        [Usual, Own(1), Own(2), Own(3), Own(4), Own(5), Annotated(1), Annotated(3), Annotated(4)]
    };

    /// The value without injection.
    fn original(self) -> u8 {
        if let Self::Own(number) = self { number } else { 5 }
    }

    /// The value with injection.
    fn injected(self) -> u8 {
        match self {
            Self::Usual => 2,
            Self::Own(number) | Self::Annotated(number) => number,
        }
    }

    fn pod(self) -> Value {
        let mut pod =
            json!({ "metadata": { "name": "app" }, "spec": { "dnsConfig": { "searches": [SEARCH[3]] } } });
        match self {
            Self::Usual => {}
            Self::Own(number) => {
                pod["spec"]["dnsConfig"]["options"] =
                    json!([{ "name": "ndots", "value": number.to_string() }]);
            }
            Self::Annotated(number) => {
                let annotation = table::NDOTS.annotation();
                pod["metadata"]["annotations"] = json!({ annotation: number.to_string() });
            }
        }
        pod
    }
}

impl fmt::Display for Ndots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ndots {} > {}", self.original(), self.injected())
    }
}

/// The expected differences when injection lowers `ndots`. Then the proxy does the search expansion instead
/// of the client, and does not know how the client would have done it: `docs/limits.md`, `docs/resolvers.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// On the wire a name with a final dot looks like any other, so it is completed as well.
    FinalDot,
    /// The first candidate that exists ends the search, as with musl; other clients continue to the next
    /// candidate that has the type.
    FirstThatExists,
    /// CoreDNS answers TXT queries for names that do not exist with NODATA; the proxy answers NXDOMAIN.
    TxtOfNothing,
    /// The answer to ANY includes the CNAME record to the found name.
    AnyShowsAlias,
}

/// The results of a client, as numbers of cells.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The client.
    pub client: Client,
    /// The answers are the same, direct and injected.
    pub same: usize,
    /// Only the injected answer is correct.
    pub better: usize,
    /// The answers differ for this documented reason.
    pub documented: BTreeMap<Reason, usize>,
    /// One line for each other difference.
    pub faults: Vec<String>,
}

/// Sends all questions that a client supports, in every pod.
pub async fn compare(client: Client, [direct, injected]: [&Cluster; 2]) -> Result<Outcome, Failure> {
    let asked = questions(client);
    let names: BTreeSet<String> =
        NAMES.split(' ').flat_map(|name| search_candidates(name.trim_end_matches('.'), 0)).collect();
    let mut absolute: Vec<(Kind, &str)> =
        kinds(client).flat_map(|kind| names.iter().map(move |name| (kind, name.as_str()))).collect();
    absolute.extend(addresses());
    let known = answers(client, direct, Ndots::Own(1), &absolute).await?;
    let known = Known { client, answers: absolute.into_iter().zip(known).collect() };

    let own: Vec<_> = (1..=5).map(Ndots::Own).collect();
    let directly = in_pods(client, direct, &own, &asked).await?;
    let through = in_pods(client, injected, &Ndots::ALL, &asked).await?;
    let mut outcome = Outcome { client, same: 0, better: 0, documented: BTreeMap::new(), faults: Vec::new() };
    for (ndots, through) in Ndots::ALL.into_iter().zip(&through) {
        let directly = &directly[usize::from(ndots.original()) - 1];
        for (question, answers) in asked.iter().zip(directly.iter().zip(through)) {
            outcome.count(ndots, *question, answers.into(), &known);
        }
    }
    Ok(outcome)
}

impl Outcome {
    /// | directly and injected | |
    /// |---|---|
    /// | are the same | as good |
    /// | differ, and the injected is what a client that searches as glibc finds with the pod's own `ndots` | as good |
    /// | differ for a [`Reason`], which only a lowered `ndots` is | documented |
    /// | anything else | a fault |
    fn count(
        &mut self,
        ndots: Ndots,
        (kind, name): (Kind, &str),
        [direct, injected]: [&Answer; 2],
        known: &Known,
    ) {
        let right = known.right(kind, name, ndots.original());
        if direct == injected {
            self.same += 1;
        } else if Some(injected) == right.as_ref() {
            self.better += 1;
        } else if let Some(reason) =
            (ndots.injected() < ndots.original()).then(|| known.reason(kind, name, injected)).flatten()
        {
            *self.documented.entry(reason).or_default() += 1;
        } else {
            let (client, kind) = (self.client.name(), kind.word());
            self.faults.push(format!(
                "{client}, {ndots}, {kind} {name}: directly {direct:?}, injected {injected:?}, right {right:?}"
            ));
        }
    }
}

/// The answers of a client for absolute names.
struct Known<'a> {
    client: Client,
    answers: BTreeMap<(Kind, &'a str), Answer>,
}

impl Known<'_> {
    /// The answer that a search like glibc's should find: that of the first candidate with such records.
    fn right(&self, kind: Kind, name: &str, ndots: u8) -> Option<Answer> {
        let search_candidates =
            if kind == Kind::Reverse { vec![name.to_owned()] } else { search_candidates(name, ndots) };
        let answers: Vec<_> =
            search_candidates.iter().filter_map(|name| self.answers.get(&(kind, name.as_str()))).collect();
        let found = answers.iter().find(|answer| matches!(answer, Answer::Found(_)));
        let empty = || answers.iter().find(|answer| ***answer == Answer::Empty);
        found.or_else(empty).or(answers.first()).map(|answer| (*answer).clone())
    }

    /// The documented reason for the answer `injected` in a pod that has `ndots:5` without injection.
    fn reason(&self, kind: Kind, name: &str, injected: &Answer) -> Option<Reason> {
        let search_candidates = search_candidates(name.trim_end_matches('.'), 5);
        let exists = |name: &&String| {
            let found = |kind| matches!(self.answers.get(&(kind, name.as_str())), Some(Answer::Found(_)));
            kinds(self.client).any(found)
        };
        let first =
            search_candidates.iter().find(exists).and_then(|first| self.answers.get(&(kind, first.as_str())));
        match first {
            _ if first.unwrap_or(&Answer::Missing) == injected => Some(match first {
                _ if name.ends_with('.') => Reason::FinalDot,
                Some(_) => Reason::FirstThatExists,
                None if kind == Kind::Type(RecordType::TXT) => Reason::TxtOfNothing,
                None => return None,
            }),
            Some(Answer::Found(first)) if kind == Kind::Type(RecordType::ANY) => {
                let Answer::Found(injected) = injected else { return None };
                let is_alias = |line: &&String| !first.contains(*line);
                (injected.iter().filter(is_alias).count() == 1).then_some(Reason::AnyShowsAlias)
            }
            _ => None,
        }
    }
}

/// The kinds of questions of the client. dig queries one type at a time; busybox runs a process for each
/// question and queries three types.
fn kinds(client: Client) -> impl Iterator<Item = Kind> {
    let kinds = TYPES.map(Kind::Type).into_iter().chain([Kind::Address]);
    let is_asked = move |kind: &Kind| match (client, kind) {
        (Client::Dig, Kind::Address) => false,
        (Client::Busybox, Kind::Type(rtype)) => [RecordType::SRV, RecordType::TXT].contains(rtype),
        _ => client.can_ask(*kind),
    };
    kinds.filter(is_asked)
}

/// All questions: every name with every kind, and the addresses.
fn questions(client: Client) -> Vec<(Kind, &'static str)> {
    let names = kinds(client).flat_map(|kind| NAMES.split(' ').map(move |name| (kind, name)));
    names.chain(addresses()).collect()
}

fn addresses<'a>() -> [(Kind, &'a str); 4] {
    ADDRESSES.map(|address| (Kind::Reverse, address))
}

/// The candidates of glibc in order, as absolute names (resolv.conf(5)).
fn search_candidates(name: &str, ndots: u8) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let mut search_candidates: Vec<_> = SEARCH.iter().map(|domain| format!("{name}.{domain}.")).collect();
    let is_first = name.matches('.').count() >= usize::from(ndots);
    search_candidates.insert(if is_first { 0 } else { search_candidates.len() }, format!("{name}."));
    search_candidates
}

async fn in_pods(
    client: Client,
    cluster: &Cluster,
    pods: &[Ndots],
    asked: &[(Kind, &str)],
) -> Result<Vec<Vec<Answer>>, Failure> {
    let answers = pods.iter().map(|ndots| answers(client, cluster, *ndots, asked));
    stream::iter(answers).buffered(AT_ONCE).try_collect().await
}

async fn answers(
    client: Client,
    cluster: &Cluster,
    ndots: Ndots,
    asked: &[(Kind, &str)],
) -> Result<Vec<Answer>, Failure> {
    let pod = start(cluster, ndots.pod()).await?;
    let is_injected = cluster.webhook().is_some();
    let number = if is_injected { ndots.injected() } else { ndots.original() };
    let file = pod.execute("app", &["cat", "/etc/resolv.conf"]).await?.stdout;
    if !file.contains(&format!("ndots:{number}\n")) || file.contains("127.0.0.1") != is_injected {
        return Err(Failure::new(format!("a pod with {ndots} has {file}")));
    }
    ask(client, asked, &pod).await
}

/// A Markdown table with a line for each client.
pub fn table(outcomes: &[Outcome]) -> String {
    let reasons = [Reason::FinalDot, Reason::FirstThatExists, Reason::TxtOfNothing, Reason::AnyShowsAlias];
    let mut text = "| resolver | cells | the same | only injected right | final dot | first that exists | TXT of nothing | ANY |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for Outcome { client, same, better, documented, faults } in outcomes {
        let counts = reasons.map(|reason| documented.get(&reason).copied().unwrap_or_default());
        let all = same + better + counts.iter().sum::<usize>() + faults.len();
        let counts = counts.map(|count| count.to_string()).join(" | ");
        text += &format!("| {} | {all} | {same} | {better} | {counts} |\n", client.name());
    }
    text
}
