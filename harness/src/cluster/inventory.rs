//! Every object of the cluster by name, to compare the state before an installation with the state after its
//! removal.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::discovery::{Discovery, verbs};

use super::Cluster;
use super::namespace::TEST_LABEL;
use crate::failure::{Failure, WithContext as _};

/// Kinds whose objects controllers create and delete at any time.
const VOLATILE_KINDS: [&str; 6] =
    ["Event", "Lease", "Endpoints", "EndpointSlice", "ControllerRevision", "CertificateSigningRequest"];

/// The number of lists that are read in parallel.
const PARALLEL: usize = 8;

/// An object. Its display form names its kind and namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    kind: String,
    namespace: String,
    name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        let separator = if namespace.is_empty() { "" } else { "/" };
        write!(formatter, "{kind} {namespace}{separator}{name}")
    }
}

impl Cluster {
    /// The objects of every kind that can be listed, except those of other running tests, and those of
    /// [`VOLATILE_KINDS`].
    pub async fn inventory(&self) -> Result<BTreeSet<Item>, Failure> {
        let discovery =
            Discovery::new(self.client.clone()).run().await.with_context("discovering the kinds")?;
        let kinds = discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
        let kinds = kinds.filter(|(kind, capabilities)| {
            capabilities.supports_operation(verbs::LIST) && !VOLATILE_KINDS.contains(&kind.kind.as_str())
        });
        let kinds: Vec<_> = kinds.map(|(kind, _)| kind).collect();
        let lists = stream::iter(kinds).map(|kind| self.objects_of(kind)).buffer_unordered(PARALLEL);
        let objects = lists.try_collect::<Vec<Vec<(Item, bool)>>>().await?.concat();
        let of_tests = objects.iter().filter(|(item, has_label)| *has_label && item.kind == "Namespace");
        let tests: BTreeSet<String> = of_tests.map(|(item, _)| item.name.clone()).collect();
        let is_other = |(item, has_label): &(Item, bool)| !has_label && !tests.contains(&item.namespace);
        Ok(objects.into_iter().filter(is_other).map(|(item, _)| item).collect())
    }

    /// The objects of a kind, and whether each has the label of tests.
    async fn objects_of(&self, kind: ApiResource) -> Result<Vec<(Item, bool)>, Failure> {
        let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let listed = objects.list_metadata(&ListParams::default()).await;
        let listed = listed.with_context(|| format!("listing {}", kind.plural))?;
        let item = |object: PartialObjectMeta<DynamicObject>| {
            let metadata = object.metadata;
            let has_label = metadata.labels.is_some_and(|labels| labels.contains_key(TEST_LABEL));
            let namespace = metadata.namespace.unwrap_or_default();
            (Item { kind: kind.kind.clone(), namespace, name: metadata.name.unwrap_or_default() }, has_label)
        };
        Ok(listed.items.into_iter().map(item).collect())
    }
}
