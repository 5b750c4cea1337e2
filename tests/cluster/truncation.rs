//! Compares truncation with the CoreDNS of the cluster: a client gets from the sidecar at least the records
//! that CoreDNS would have sent, and TC only when CoreDNS sets it as well.
//!
//! ```text
//! four-N, six-N     headless Services with N endpoints, IPv4 or IPv6, and a named port
//! alias-N           ExternalName of four-N
//! chain-N           ExternalName of alias-N
//! ```
//!
//! The endpoints are EndpointSlices without pods. The client is the `dig` of this machine, which is copied
//! into an injected pod together with its libraries, because no client image can send EDNS. It asks cluster
//! DNS first, and then the sidecar.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use podlocal_harness::cluster::client::{Libc, SLEEP, pod};
use podlocal_harness::cluster::coredns::CoreDns;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{eventually, kubectl_with_input, object};
use podlocal_harness::command;
use podlocal_harness::failure::{Failure, WithContext as _};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::injection::assert_injected;
use crate::runner::Context;

/// The largest number of endpoints; every number from 1 is tested.
const MOST: usize = 60;

/// Record type, the labels before the number, and the number of CNAME records at the start of the answer.
const QUESTIONS: [(&str, &str, usize); 6] = [
    ("A", "four-", 0),
    ("AAAA", "six-", 0),
    ("SRV", "_http._tcp.four-", 0),
    ("SRV", "_http._tcp.six-", 0),
    ("A", "alias-", 1),
    ("A", "chain-", 2),
];

/// The UDP size of the client, as flags of dig: 512 bytes without EDNS, and other sizes with it.
const SIZES: [&str; 4] = ["+noedns", "+bufsize=512", "+bufsize=1232", "+bufsize=4096"];

pub(crate) async fn no_answer_has_fewer_records_than_from_cluster_dns(
    context: Context,
) -> Result<(), Failure> {
    let namespace = &context.namespace;
    let cluster_dns = &CoreDns::find(&namespace.cluster).await?.address;
    let dig = async {
        let pod = namespace.run(pod("client", Libc::Glibc, &SLEEP)).await?;
        assert_injected(&namespace.pod(&pod).await?);
        Dig::copy_into(namespace, pod).await
    };
    let (dig, ()) = tokio::try_join!(dig, create_services(namespace))?;
    let whole: Vec<_> = (1..=MOST).flat_map(|number| Question::all(number, &SIZES[..1])).collect();
    eventually("cluster DNS knows all endpoints", async || {
        let replies = dig.ask("+tcp", cluster_dns, &whole).await?;
        let is_whole = |(question, reply): (&Question, &Reply)| reply.answers == question.answers();
        Ok(whole.iter().zip(&replies).all(is_whole).then_some(()))
    })
    .await?;

    // The first query for a name is a miss, so each size is the first in turn.
    let questions: Vec<_> = (1..=MOST)
        .flat_map(|number| {
            let mut sizes = SIZES;
            sizes.rotate_left(number % SIZES.len());
            Question::all(number, &sizes)
        })
        .collect();
    let direct = dig.ask("+notcp", cluster_dns, &questions).await?;
    let injected = dig.ask("+notcp", "127.0.0.1", &questions).await?;
    let replies = questions.iter().zip(&direct).zip(&injected);
    let worse = replies.filter(|((_, direct), injected)| !injected.is_no_worse_than(direct));
    let worse = worse
        .map(|((question, direct), injected)| format!("{question:?}: {injected:?}, and directly {direct:?}"));
    let worse: Vec<_> = worse.collect();
    let truncated = direct.iter().filter(|reply| reply.is_truncated).count();
    eprintln!("{} answers compared, of which cluster DNS truncates {truncated}", questions.len());
    assert!(truncated > 0 && truncated < questions.len(), "the test compares nothing");
    assert!(worse.is_empty(), "{} answers are worse:\n{}", worse.len(), worse.join("\n"));
    Ok(())
}

/// A question for dig.
#[derive(Debug, Clone, Copy)]
struct Question {
    rtype: &'static str,
    labels: &'static str,
    number: usize,
    aliases: usize,
    size: &'static str,
}

impl Question {
    fn all(number: usize, sizes: &[&'static str]) -> Vec<Self> {
        let of = |&(rtype, labels, aliases)| {
            sizes.iter().map(move |size| Self { rtype, labels, number, aliases, size })
        };
        QUESTIONS.iter().flat_map(of).collect()
    }

    /// The number of records in the complete answer section.
    fn answers(&self) -> usize {
        self.aliases + self.number
    }
}

/// The properties of a reply in the output of dig.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    is_truncated: bool,
    answers: usize,
    /// Without the OPT record.
    additionals: usize,
}

impl Reply {
    /// Reads the text after `->>HEADER<<-`.
    fn read(text: &str) -> Option<Self> {
        let (flags, counts) = text.split_once(";; flags: ")?.1.lines().next()?.split_once("; QUERY: ")?;
        let count = |section: &str| -> Option<usize> {
            let number = counts.split_once(section)?.1;
            number.split(',').next()?.parse().ok()
        };
        let opt = usize::from(text.contains("; EDNS: version"));
        Some(Self {
            is_truncated: flags.split(' ').any(|flag| flag == "tc"),
            answers: count("ANSWER: ")?,
            additionals: count("ADDITIONAL: ")?.checked_sub(opt)?,
        })
    }

    fn is_no_worse_than(&self, direct: &Self) -> bool {
        self.answers >= direct.answers
            && (direct.is_truncated || !self.is_truncated)
            && (self.answers > direct.answers || self.additionals >= direct.additionals)
    }
}

/// A dig in a pod.
struct Dig {
    namespace: Namespace,
    pod: String,
}

impl Dig {
    async fn copy_into(namespace: &Namespace, pod: String) -> Result<Self, Failure> {
        let dig = Self { namespace: namespace.clone(), pod };
        let program = on_this_machine("command -v dig").await?;
        let pack = "cp -L \"$1\" $(ldd \"$1\" | grep -o '/[^ ]*') \"$2\" && cd \"$2\" && mv ld-linux* loader \
             && tar c . | gzip -1 | base64 -w 0";
        let folder = tempfile::tempdir().with_context("creating a folder")?;
        let folder = folder.path().to_string_lossy();
        let archive = on_this_machine(&format!("set -- {} {folder}; {pack}", program.trim())).await?;
        dig.shell("mkdir /tmp/dig && base64 -d | tar xz -C /tmp/dig", &archive).await?;
        Ok(dig)
    }

    /// Sends the questions one after the other. In batch mode dig accepts `+tcp` only on the command line.
    async fn ask(
        &self,
        transport: &str,
        server: &str,
        questions: &[Question],
    ) -> Result<Vec<Reply>, Failure> {
        let line = |question: &Question| {
            let Question { rtype, labels, number, size, .. } = question;
            let name = format!("{labels}{number}.{}.svc.cluster.local.", self.namespace.name);
            format!("@{server} {name} {rtype} {size} +nocookie +ignore +noall +comments\n")
        };
        let lines: String = questions.iter().map(line).collect();
        let command =
            format!("cd /tmp/dig && cat >lines && ./loader --library-path . ./dig {transport} -f lines");
        let output = self.shell(&command, &lines).await?;
        let replies: Vec<_> = output.split("->>HEADER<<-").skip(1).filter_map(Reply::read).collect();
        if replies.len() == questions.len() {
            return Ok(replies);
        }
        let what = format!("{} replies of {server} to {} questions", replies.len(), questions.len());
        Err(Failure::new(format!("{what}: {}", output.chars().take(2000).collect::<String>())))
    }

    async fn shell(&self, command: &str, input: &str) -> Result<String, Failure> {
        let Self { namespace, pod } = self;
        let words = ["-n", &namespace.name, "exec", "-i", pod, "-c", "client", "--", "sh", "-c", command];
        kubectl_with_input(&words, input).await
    }
}

async fn on_this_machine(script: &str) -> Result<String, Failure> {
    let mut shell = Command::new("sh");
    shell.args(["-ec", script]);
    command::run(shell, "").await.with_context("dig is needed (bind9-dnsutils)")
}

async fn create_services(namespace: &Namespace) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for number in 1..=MOST {
        for (family, address_type, prefix) in [("four", "IPv4", "192.0.2."), ("six", "IPv6", "2001:db8::")] {
            let name = format!("{family}-{number}");
            let ports = json!([{ "name": "http", "port": 80 }]);
            objects.push(object("v1", "Service", &name, &json!({ "clusterIP": "None", "ports": ports })));
            let endpoints: Vec<_> = (1..=number).map(|host| endpoint(&format!("{prefix}{host}"))).collect();
            objects.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
                "addressType": address_type, "ports": ports, "endpoints": endpoints,
            }));
        }
        for (name, target) in [("alias", "four"), ("chain", "alias")] {
            let target = format!("{target}-{number}.{}.svc.cluster.local", namespace.name);
            let spec = json!({ "type": "ExternalName", "externalName": target });
            objects.push(object("v1", "Service", &format!("{name}-{number}"), &spec));
        }
    }
    let creations = stream::iter(objects).map(|object| namespace.apply(object));
    creations.buffer_unordered(16).try_for_each(async |_| Ok(())).await
}

fn endpoint(address: &str) -> Value {
    json!({ "addresses": [address], "conditions": { "ready": true } })
}
