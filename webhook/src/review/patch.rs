//! Records RFC 6902 operations while applying each to a working copy of the document.
//!
//! Each edit is applied immediately, with the library that the tests use as the receiver, so the recorded
//! operations are valid in their order; an edit that changes nothing records nothing. The API server rejects
//! an `add` whose parent is missing, so a missing parent becomes part of the value.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, MoveOperation, Patch, PatchOperation, ReplaceOperation};
use serde_json::{Map, Value};

/// An edit that is not possible: its path leads through a value that is neither an object nor an array.
#[derive(Debug, thiserror::Error)]
#[error("cannot edit the pod at {path}: {reason}")]
pub struct Error {
    path: String,
    reason: String,
}

/// A document and the operations that made it from the original.
#[derive(Debug)]
pub(crate) struct Builder {
    document: Value,
    operations: Vec<PatchOperation>,
}

impl Builder {
    pub(crate) fn new(document: &Value) -> Self {
        Self { document: document.clone(), operations: Vec::new() }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    pub(crate) fn finish(self) -> (Value, Patch) {
        (self.document, Patch(self.operations))
    }

    /// Sets the member at `path`, whose tokens are names of object members; does nothing if it already has
    /// that value.
    ///
    /// A `null` on the path counts as absent, as it does for the API server.
    pub(crate) fn set(&mut self, path: &[&str], value: Value) -> Result<(), Error> {
        let present = self.document.pointer(&pointer(path).to_string());
        if present == Some(&value) {
            return Ok(());
        }
        if present.is_some() {
            return self.record(PatchOperation::Replace(ReplaceOperation { path: pointer(path), value }));
        }
        let (path, value) = self.with_missing_parents(path, value);
        self.record(PatchOperation::Add(AddOperation { path: pointer(path), value }))
    }

    /// Inserts `item` as the first element of the array at `path`; creates the array if it is absent.
    pub(crate) fn prepend(&mut self, path: &[&str], item: Value) -> Result<(), Error> {
        self.insert(path, "0", item)
    }

    /// Appends `item` to the array at `path`; creates the array if it is absent.
    pub(crate) fn append(&mut self, path: &[&str], item: Value) -> Result<(), Error> {
        self.insert(path, "-", item)
    }

    /// Moves the element at `index` of the array at `path` to its front.
    pub(crate) fn move_to_front(&mut self, path: &[&str], index: usize) -> Result<(), Error> {
        let index = index.to_string();
        let from = pointer(&[path, &[index.as_str()]].concat());
        let path = pointer(&[path, &["0"]].concat());
        self.record(PatchOperation::Move(MoveOperation { from, path }))
    }

    fn insert(&mut self, path: &[&str], position: &str, item: Value) -> Result<(), Error> {
        match self.document.pointer(&pointer(path).to_string()) {
            None | Some(Value::Null) => self.set(path, Value::Array(vec![item])),
            Some(_) => {
                let path = pointer(&[path, &[position]].concat());
                self.record(PatchOperation::Add(AddOperation { path, value: item }))
            }
        }
    }

    /// The shortest prefix of `path` that is absent or null, and `value` wrapped in the missing objects below
    /// it.
    fn with_missing_parents<'a>(&self, path: &'a [&'a str], value: Value) -> (&'a [&'a str], Value) {
        let is_there = |prefix: &[&str]| {
            self.document.pointer(&pointer(prefix).to_string()).is_some_and(|found| !found.is_null())
        };
        let missing = (1..=path.len()).find(|length| !is_there(&path[..*length])).unwrap_or(path.len());
        let wrapped = path[missing..]
            .iter()
            .rev()
            .fold(value, |inner, name| Value::Object(Map::from_iter([((*name).to_owned(), inner)])));
        (&path[..missing], wrapped)
    }

    fn record(&mut self, operation: PatchOperation) -> Result<(), Error> {
        json_patch::patch(&mut self.document, std::slice::from_ref(&operation))
            .map_err(|error| Error { path: operation.path().to_string(), reason: error.kind.to_string() })?;
        self.operations.push(operation);
        Ok(())
    }
}

/// The JSON pointer (RFC 6901) of these tokens; escapes `~` and `/` within them.
fn pointer(tokens: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(tokens.iter().copied())
}
