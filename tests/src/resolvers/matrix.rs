//! One cell: a client sends a question in a pod that has just started, direct and injected.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::answers::Answer;
use super::clients::Client;
use super::questions::{Kind, Question};
use podlocal_harness::failure::Failure;
use podlocal_harness::model::cluster::Cluster;
use podlocal_harness::model::pod::Running;

/// The time to wait for queries that follow an answer.
const SETTLE: Duration = Duration::from_millis(100);

/// A client and a question, direct and injected.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The client.
    pub client: Client,
    /// The question.
    pub question: Question,
    /// The result from cluster DNS, with `ndots:5`.
    pub direct: Way,
    /// The result from the sidecar.
    pub injected: Way,
}

/// The result of one way of asking.
#[derive(Debug, Clone)]
pub struct Way {
    /// The answer that the client got.
    pub answer: Answer,
    /// Queries to cluster DNS.
    pub queries: u64,
    /// Different names among them.
    pub names: usize,
}

impl Cell {
    /// Runs the cell; `None` when the client does not support the question.
    pub async fn try_it(
        client: Client,
        question: &Question,
        [direct, injected]: [&Cluster; 2],
    ) -> Result<Option<Self>, Failure> {
        if !client.can_ask(question.kind) {
            return Ok(None);
        }
        let (direct, injected) =
            tokio::join!(try_way(client, question, direct), try_way(client, question, injected));
        Ok(Some(Self { client, question: question.clone(), direct: direct?, injected: injected? }))
    }

    /// The defect in the cell: the answer is worse than that of cluster DNS, or a search was not shortened.
    pub fn fault(&self) -> Option<String> {
        let (direct, injected) = (&self.direct, &self.injected);
        let cell = || format!("{}, {} ({})", self.client.name(), self.question.name, self.question.about);
        if !self.is_as_good() {
            return Some(format!("{}: directly {:?}, injected {:?}", cell(), direct.answer, injected.answer));
        }
        self.is_longer()
            .then(|| format!("{}: {} queries, injected {}", cell(), direct.queries, injected.queries))
    }

    /// Whether a search was not shortened.
    pub fn is_longer(&self) -> bool {
        self.direct.names > 1 && self.injected.queries >= self.direct.queries
    }

    /// | directly | injected | as good |
    /// |---|---|---|
    /// | anything | the same, or the correct answer | yes |
    /// | a failure | a failure; its text contains the address of the server | yes |
    /// | a part of the correct values | equally many of them; their order changes from answer to answer | yes |
    /// | anything | anything else | no |
    fn is_as_good(&self) -> bool {
        let [direct, injected] = [&self.direct.answer, &self.injected.answer];
        let right = |address| self.question.expected.contains(address);
        injected == direct
            || *injected == self.right()
            || match (direct, injected) {
                (Answer::Failed(_), Answer::Failed(_)) => true,
                (Answer::Found(direct), Answer::Found(injected)) => {
                    injected.len() >= direct.len() && injected.iter().all(right)
                }
                _ => false,
            }
    }

    fn right(&self) -> Answer {
        match &self.question.expected[..] {
            [] => Answer::Missing,
            expected => Answer::Found(expected.to_vec()),
        }
    }

    /// The numbers of queries, direct and injected; `+` when only the injected answer is correct, `=` when
    /// neither is.
    fn short(&self) -> String {
        let right = self.right();
        let mark = match (self.direct.answer == right, self.injected.answer == right) {
            (_, false) => " =",
            (false, true) => " +",
            (true, true) => "",
        };
        format!("{} > {}{mark}", self.direct.queries, self.injected.queries)
    }
}

async fn try_way(client: Client, question: &Question, cluster: &Cluster) -> Result<Way, Failure> {
    let running = start(cluster, json!({ "metadata": { "name": "app" } })).await?;
    cluster.dns.reset_counts();
    let answers = ask(client, &[(question.kind, question.name)], &running).await?;
    sleep(SETTLE).await;
    let counts = cluster.dns.counts();
    let names = counts.names().count();
    let answer = answers.into_iter().next().unwrap_or(Answer::Missing);
    Ok(Way { answer, queries: counts.total(), names })
}

/// Runs a pod in the namespace `default` that waits for [`ask`].
pub(super) async fn start(cluster: &Cluster, mut pod: Value) -> Result<Running, Failure> {
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["containers"] =
        json!([{ "name": "app", "image": "example/app:1", "command": ["sleep", "300"] }]);
    let running = cluster.create(pod, "default").await?;
    running.wait_until_started("app").await?;
    Ok(running)
}

/// Sends questions from a client in a pod, and returns the answers.
pub(super) async fn ask(
    client: Client,
    asked: &[(Kind, &str)],
    pod: &Running,
) -> Result<Vec<Answer>, Failure> {
    let words = client.words(asked)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    client.read(asked, &pod.execute("app", &words).await?)
}

/// A Markdown table of all cells, with a line for each question and a column for each client.
pub fn table(questions: &[Question], cells: &[Cell]) -> String {
    let clients: Vec<Client> =
        Client::ALL.into_iter().filter(|client| cells.iter().any(|cell| cell.client == *client)).collect();
    let line = |first: String, of: &dyn Fn(Client) -> String| {
        let cells: Vec<String> = clients.iter().map(|client| of(*client)).collect();
        format!("| {first} | {} |\n", cells.join(" | "))
    };
    let mut text = line("question | name".to_owned(), &|client| client.name().to_owned());
    text += &format!("|---|---|{}\n", "---|".repeat(clients.len()));
    for Question { about, name, .. } in questions {
        text += &line(format!("{about} | `{name}`"), &|client| {
            let is_it = |cell: &&Cell| (cell.client, cell.question.about) == (client, *about);
            cells.iter().find(is_it).map_or("-".to_owned(), Cell::short)
        });
    }
    text
}
