//! Lists and watches of the objects directly below a path, by label.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{Objects, is_below, reply, status};

/// A change that watches receive.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) path: String,
    /// The object before and after the change; `None` if there is none.
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

pub(super) fn list_or_watch(state: &Arc<Mutex<Objects>>, objects: &mut Objects, uri: &Uri) -> Response {
    let collection = uri.path().to_owned();
    if objects.forbidden.contains(&collection) {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    let query = uri.query().unwrap_or_default();
    let selector = Selector::of(query);
    if !query.contains("watch=true") {
        return list(objects, &collection, query, &selector);
    }
    let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok());
    let next = objects.history.partition_point(|(version, _)| *version <= from.unwrap_or(0));
    let watch = (state.clone(), objects.changed.subscribe(), next, collection, selector);
    let events = stream::unfold(watch, |(state, mut changed, mut next, collection, selector)| async move {
        loop {
            let change = state.lock().expect("the lock").history.get(next).cloned();
            let Some((_, change)) = change else {
                changed.changed().await.ok()?;
                continue;
            };
            next += 1;
            if let Some(event) = event(&change, &collection, &selector) {
                let line = Ok::<_, std::io::Error>(format!("{event}\n"));
                return Some((line, (state, changed, next, collection, selector)));
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(events)).into_response()
}

/// A page of the list: `limit` objects, starting at the one that the token names, and the token for the next
/// page.
fn list(objects: &mut Objects, collection: &str, query: &str, selector: &Selector) -> Response {
    let number = |key: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse::<usize>().ok())
    };
    let (limit, from) = (number("limit").unwrap_or(usize::MAX), number("continue"));
    if let Some(from) = from
        && objects.to_expire > 0
    {
        objects.to_expire -= 1;
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
            "message": "The provided continue parameter is too old", "metadata": {"continue": from.to_string()},
        });
        return reply(StatusCode::GONE, &status);
    }
    let mut items = objects.below(collection);
    items.retain(|object| selector.selects(object));
    let mut items = items.split_off(from.unwrap_or(0).min(items.len()));
    let rest = items.split_off(limit.min(items.len()));
    let mut metadata = json!({"resourceVersion": objects.version.to_string()});
    if !rest.is_empty() {
        metadata["continue"] = json!((from.unwrap_or(0) + limit).to_string());
        // Absent if a selector is given (`k8s.io/apimachinery/pkg/apis/meta/v1`, ListMeta).
        if selector.0.is_none() {
            metadata["remainingItemCount"] = json!(rest.len());
        }
    }
    reply(StatusCode::OK, &json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items}))
}

/// The event of a change for a watch of `collection`; an object that is not selected does not exist for it.
fn event(change: &Change, collection: &str, selector: &Selector) -> Option<Value> {
    if !is_below(&change.path, collection) {
        return None;
    }
    let selected = |object: &Option<Value>| object.clone().filter(|object| selector.selects(object));
    let (kind, object) = match (selected(&change.before), selected(&change.after)) {
        (None, Some(object)) => ("ADDED", object),
        (Some(_), Some(object)) => ("MODIFIED", object),
        (Some(object), None) => ("DELETED", object),
        (None, None) => return None,
    };
    Some(json!({"type": kind, "object": object}))
}

/// A label that objects must have with that value; `None` selects all.
struct Selector(Option<(String, String)>);

impl Selector {
    fn of(query: &str) -> Self {
        let text = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="));
        let text = text.map(|text| text.replace("%2F", "/").replace("%3D", "="));
        Self(text.map(|text| {
            let (label, value) = text.split_once('=').expect("label=value");
            (label.to_owned(), value.to_owned())
        }))
    }

    fn selects(&self, object: &Value) -> bool {
        let Self(wanted) = self;
        wanted.as_ref().is_none_or(|(label, value)| object["metadata"]["labels"][label] == **value)
    }
}
