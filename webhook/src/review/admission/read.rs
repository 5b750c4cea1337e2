//! Reads from a review the fields on which the decision depends, within a memory limit. Pure.
//!
//! A JSON tree takes up to 100 times the bytes from which it was read. So only the fields below are stored,
//! the rest is skipped, and each stored field is charged to a budget before it is allocated.

use std::fmt;

use podlocal_settings::names::{ANNOTATION_PREFIX, INJECT_LABEL};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::review::decide::{OS_LABELS, REQUIRED_AFFINITY, WINDOWS_BUILD_LABEL};
use crate::review::nested_runtime::KUBEVIRT_LABEL;

/// The memory limit for the stored fields of one review, in bytes. A pod of a hundred containers with
/// resources, ports and probes takes half of it. A pod of the largest size that consists of nothing but such
/// fields is not injected.
pub(crate) const MOST_STORED: usize = 3 << 19;

/// The bytes of an object member without its strings: a bucket of the ordered map and its index, at the
/// moment when the map grows and both the old and the new one exist.
const MEMBER: usize = 512;

/// The bytes of an array element, at that moment.
const ELEMENT: usize = 3 * size_of::<Value>();

/// The bytes of an object or array without its members, and of a string without its characters.
const CONTAINER: usize = 4 * size_of::<Value>();
const TEXT: usize = 32;

/// Which parts of a value are stored. If a value has an unexpected type, its type is stored and, for a
/// scalar, the value.
enum Stored {
    Whole,
    /// The members with these names.
    Members(&'static [(&'static str, Stored)]),
    /// The annotations that the webhook reads.
    Annotations,
    /// These parts of each element.
    Each(&'static Stored),
}

use Stored::{Annotations, Each, Members, Whole};

/// Every field that `admission` and the modules below it read. A field that is missing here is absent for
/// them: a test compares the golden pods with the whole tree, and so does the fuzz target `review`. A field
/// that a patch may replace as a whole must be stored as a whole: init containers, the `dnsConfig`, the pod's
/// security context.
const REVIEW: Stored = Members(&[
    ("apiVersion", Whole),
    ("kind", Whole),
    (
        "request",
        Members(&[
            ("uid", Whole),
            ("kind", Members(&[("kind", Whole)])),
            ("name", Whole),
            ("namespace", Whole),
            ("operation", Whole),
            ("dryRun", Whole),
            ("object", Members(&[("metadata", METADATA), ("spec", SPEC)])),
        ]),
    ),
]);

const METADATA: Stored = Members(&[
    ("name", Whole),
    ("generateName", Whole),
    ("labels", Members(&[(INJECT_LABEL, Whole), (KUBEVIRT_LABEL, Whole)])),
    ("annotations", Annotations),
    (
        "ownerReferences",
        Each(&Members(&[
            ("apiVersion", Whole),
            ("kind", Whole),
            ("name", Whole),
            ("uid", Whole),
            ("controller", Whole),
        ])),
    ),
]);

const SPEC: Stored = Members(&[
    ("containers", Each(&CONTAINER_FIELDS)),
    ("initContainers", Whole),
    ("hostNetwork", Whole),
    ("dnsPolicy", Whole),
    ("dnsConfig", Whole),
    ("resources", Whole),
    ("securityContext", Whole),
    ("os", Members(&[("name", Whole)])),
    ("nodeSelector", Members(&[(OS_LABELS[0], Whole), (OS_LABELS[1], Whole), (WINDOWS_BUILD_LABEL, Whole)])),
    ("affinity", Members(&[("nodeAffinity", Members(&[(REQUIRED_AFFINITY, REQUIRED)]))])),
]);

const REQUIRED: Stored = Members(&[(
    "nodeSelectorTerms",
    Each(&Members(&[(
        "matchExpressions",
        Each(&Members(&[("key", Whole), ("operator", Whole), ("values", Whole)])),
    )])),
)]);

const CONTAINER_FIELDS: Stored = Members(&[
    ("name", Whole),
    ("image", Whole),
    ("command", Whole),
    ("args", Whole),
    ("ports", Each(&Members(&[("containerPort", Whole)]))),
    ("resources", Whole),
    ("securityContext", Members(&[("privileged", Whole), ("windowsOptions", Whole)])),
]);

#[derive(Debug)]
pub(super) struct Read {
    /// The stored fields; after a failure, the fields before it. The API server writes the uid first.
    pub(super) review: Value,
    /// Whether the review was read to its end.
    pub(super) result: Result<(), Error>,
}

/// Why a review was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The fields to be stored take more than [`MOST_STORED`].
    #[error("the fields that the webhook needs take more than {} KiB of memory", MOST_STORED >> 10)]
    TooLarge,
}

pub(super) fn read(body: &[u8]) -> Read {
    let (mut review, mut budget) = (Value::Null, Budget { left: MOST_STORED, is_exceeded: false });
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let place = Place { stored: &REVIEW, into: &mut review, budget: &mut budget };
    let result = place.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    let result =
        result.map_err(|error| if budget.is_exceeded { Error::TooLarge } else { Error::Json(error) });
    Read { review, result }
}

struct Budget {
    left: usize,
    is_exceeded: bool,
}

impl Budget {
    fn charge<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.is_exceeded |= bytes > self.left;
        self.left = self.left.saturating_sub(bytes);
        if self.is_exceeded { Err(E::custom("too large")) } else { Ok(()) }
    }
}

/// The destination of a value, so that fields stored before a failure are kept.
struct Place<'a> {
    stored: &'static Stored,
    into: &'a mut Value,
    budget: &'a mut Budget,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        *self.into = Value::Bool(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        *self.into = Value::from(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        *self.into = Value::from(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        *self.into = Number::from_f64(value).map_or(Value::Null, Value::Number);
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.budget.charge(text.len() + TEXT)?;
        *self.into = Value::String(text.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let of_element = match self.stored {
            Whole => Some(&Whole),
            Each(stored) => Some(*stored),
            Members(_) | Annotations => None,
        };
        *self.into = Value::Array(Vec::new());
        let (Value::Array(array), Some(stored)) = (self.into, of_element) else {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        self.budget.charge(CONTAINER)?;
        loop {
            let mut element = Value::Null;
            let place = Place { stored, into: &mut element, budget: self.budget };
            if elements.next_element_seed(place)?.is_none() {
                return Ok(());
            }
            self.budget.charge(ELEMENT)?;
            array.push(element);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        *self.into = Value::Object(Map::new());
        let Value::Object(object) = self.into else { return Ok(()) };
        self.budget.charge(CONTAINER)?;
        while let Some(name) = members.next_key_seed(Name { stored: self.stored, budget: self.budget })? {
            let Some((name, stored)) = name else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            // The last of several members with the same name wins, as in every common JSON reader.
            let into = object.entry(name).or_insert(Value::Null);
            *into = Value::Null;
            members.next_value_seed(Place { stored, into, budget: self.budget })?;
        }
        Ok(())
    }
}

/// Reads the name of a member, if the member is stored.
struct Name<'a> {
    stored: &'static Stored,
    budget: &'a mut Budget,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<(String, &'static Stored)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<(String, &'static Stored)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let stored = match self.stored {
            Whole => Some(&Whole),
            Members(members) => members.iter().find(|(member, _)| *member == name).map(|(_, stored)| stored),
            Annotations if name.starts_with(ANNOTATION_PREFIX) || name == MIRROR_ANNOTATION => Some(&Whole),
            Annotations | Each(_) => None,
        };
        let Some(stored) = stored else { return Ok(None) };
        self.budget.charge(name.len() + TEXT + MEMBER)?;
        Ok(Some((name.to_owned(), stored)))
    }
}

/// The annotation of the mirror pod of a static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

#[cfg(test)]
mod tests;
