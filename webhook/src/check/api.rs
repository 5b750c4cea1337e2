//! Reads single objects and lists from an API server. A missing permission is a value, not an error.

use std::time::Duration;

use http::Request;
use kube::api::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The number of objects in one page of a list: 500 pods are a few megabytes.
const PAGE: u32 = 500;

/// The pauses before further attempts at a page, because a list of 200 pages must not fail at its last one.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// The result of reading from the API server.
pub type Seen<T> = Result<T, Unseen>;

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// It does not exist.
    Absent,
    /// The user lacks this permission, in the form of `kubectl auth can-i`.
    Forbidden(String),
    /// It could not be read, for this reason.
    Failed(String),
}

/// An object or a collection of version `v1`.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the parts of its path")]
pub struct Resource<'a> {
    pub group: &'a str,
    pub plural: &'a str,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// One page of a list. Unknown fields of the items take no memory.
#[derive(Debug, Deserialize)]
struct Page<T> {
    metadata: PageMetadata,
    /// Absent or null if the list is empty: Go encodes an empty list as either.
    #[serde(default = "Option::default")]
    items: Option<Vec<T>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
    #[serde(default)]
    remaining_item_count: Option<u64>,
}

impl<'a> Resource<'a> {
    pub(super) fn object(group: &'a str, plural: &'a str, namespace: Option<&'a str>, name: &'a str) -> Self {
        Self { group, plural, namespace, name: Some(name) }
    }

    /// A collection; without a namespace, that of all namespaces.
    pub fn list(group: &'a str, plural: &'a str, namespace: Option<&'a str>) -> Self {
        Self { group, plural, namespace, name: None }
    }
}

impl Resource<'_> {
    fn path(&self) -> String {
        let mut path =
            if self.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/v1", self.group) };
        if let Some(namespace) = self.namespace {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{}", self.plural));
        if let Some(name) = self.name {
            path.push_str(&format!("/{name}"));
        }
        path
    }

    /// The permission to read it, in the form of `kubectl auth can-i`.
    fn permission(&self) -> String {
        let Self { group, plural, namespace, name } = self;
        let kind = if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
        let what = match name {
            Some(name) => format!("get {kind}/{name}"),
            None => format!("list {kind}"),
        };
        match namespace {
            Some(namespace) => format!("{what} --namespace {namespace}"),
            None if *plural == "pods" => format!("{what} --all-namespaces"),
            None => what,
        }
    }
}

/// Reads one object.
pub(crate) async fn get(client: &kube::Client, resource: Resource<'_>) -> Seen<Value> {
    let request = Request::get(resource.path()).body(Vec::new());
    let request = request.map_err(|error| Unseen::Failed(error.to_string()))?;
    client.request(request).await.map_err(|error| unseen(&error, &resource))
}

/// Reads a list to its end; `each` gets the items of a page, and the number of remaining items, if known.
/// `labels` is a label selector.
///
/// The API server keeps the state of a list for some minutes. After that, it returns a token to continue with
/// the current state (410 Gone, `inconsistentContinue`), which is sufficient for a check.
pub async fn list<T: DeserializeOwned>(
    client: &kube::Client,
    resource: Resource<'_>,
    labels: Option<&str>,
    mut each: impl FnMut(Vec<T>, Option<u64>),
) -> Seen<()> {
    let mut parameters =
        ListParams { label_selector: labels.map(str::to_owned), ..ListParams::default() }.limit(PAGE);
    let mut pauses = PAUSES.into_iter();
    loop {
        let request = kube::core::Request::new(resource.path()).list(&parameters);
        let request = request.map_err(|error| Unseen::Failed(error.to_string()))?;
        let error = match client.request::<Page<T>>(request).await {
            Ok(page) => {
                each(page.items.unwrap_or_default(), page.metadata.remaining_item_count);
                match page.metadata.next.filter(|token| !token.is_empty()) {
                    Some(token) => parameters.continue_token = Some(token),
                    None => return Ok(()),
                }
                pauses = PAUSES.into_iter();
                continue;
            }
            Err(error) => error,
        };
        let token = fresh_token(&error);
        match pauses.next().filter(|_| token.is_some() || is_passing(&error)) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(unseen(&error, &resource)),
        }
        parameters.continue_token = token.or(parameters.continue_token);
    }
}

/// The token to continue a list whose state has expired.
fn fresh_token(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if status.code == 410 => status.metadata.as_ref()?.continue_.clone(),
        _ => None,
    }
}

/// Whether a retry may succeed.
fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::SerdeError(_) => false,
        _ => true,
    }
}

fn unseen(error: &kube::Error, resource: &Resource) -> Unseen {
    match error {
        kube::Error::Api(status) if status.code == 404 => Unseen::Absent,
        kube::Error::Api(status) if status.code == 403 => Unseen::Forbidden(resource.permission()),
        other => Unseen::Failed(sentence(other)),
    }
}

/// An error with its causes, because "service error" alone is not helpful.
pub(crate) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        return format!("the API server answered {} {}", status.code, status.message);
    }
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_with_null_or_missing_items_is_empty() {
        for text in [r#"{"metadata": {}, "items": null}"#, r#"{"metadata": {}}"#] {
            let page: Page<Value> = serde_json::from_str(text).expect("a page");
            assert!(page.items.unwrap_or_default().is_empty());
        }
    }
}
