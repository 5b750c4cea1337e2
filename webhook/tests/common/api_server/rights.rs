//! RBAC as the API server evaluates it (`VisitRulesFor` in `kubernetes/pkg/registry/rbac/validation`);
//! records rejected requests and used permissions.

use std::collections::BTreeSet;

use http::{Method, Uri};
use serde_json::Value;

/// The RBAC rules of the client.
#[derive(Default)]
pub(super) struct Rights {
    /// A rule, and the namespace in which it applies; `None`: all namespaces.
    rules: Vec<(Option<String>, Value)>,
    used: BTreeSet<String>,
    refused: BTreeSet<String>,
}

/// The RBAC attributes of a request.
struct Attributes {
    verb: &'static str,
    group: String,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Rights {
    /// The rules that the bindings among `objects` grant to a ServiceAccount.
    pub(super) fn of(objects: &[Value], account: &str) -> Self {
        let is_bound = |binding: &&Value| {
            let subjects = binding["subjects"].as_array().into_iter().flatten();
            binding["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding"))
                && subjects.into_iter().any(|subject| subject["name"] == account)
        };
        let roles = objects.iter().filter(is_bound).map(|binding| {
            let role = &binding["roleRef"];
            let is_role = |object: &&Value| {
                object["kind"] == role["kind"] && object["metadata"]["name"] == role["name"]
            };
            let role = objects.iter().find(is_role).expect("the role of a binding");
            let namespace = binding["metadata"]["namespace"].as_str().map(ToOwned::to_owned);
            role["rules"].as_array().expect("rules").iter().map(move |rule| (namespace.clone(), rule.clone()))
        });
        Self { rules: roles.flatten().collect(), ..Self::default() }
    }

    /// Whether the request is allowed.
    pub(super) fn allow(&mut self, method: &Method, uri: &Uri) -> bool {
        let Some(attributes) = Attributes::of(method, uri) else { return true };
        let rule = self.rules.iter().position(|(namespace, rule)| {
            (namespace.is_none() || *namespace == attributes.namespace) && attributes.are_in(rule)
        });
        match rule {
            Some(rule) => self.used.insert(format!("{} {rule}", attributes.verb)),
            None => self.refused.insert(format!("{method} {uri}")),
        };
        rule.is_some()
    }

    /// The rejected requests, then the unused verbs of each rule.
    pub(super) fn differences(&self) -> Vec<String> {
        let mut differences: Vec<_> = self.refused.iter().map(|what| format!("refused: {what}")).collect();
        for (number, (_, rule)) in self.rules.iter().enumerate() {
            let verbs = rule["verbs"].as_array().expect("verbs").iter().filter_map(Value::as_str);
            let unused = verbs.filter(|verb| !self.used.contains(&format!("{verb} {number}")));
            differences.extend(unused.map(|verb| format!("unused: {verb} of {rule}")));
        }
        differences
    }
}

impl Attributes {
    /// `None` for a non-resource path such as `/version`.
    fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let mut parts = uri.path().trim_start_matches('/').split('/').map(ToOwned::to_owned);
        let group = match parts.next()?.as_str() {
            "api" => String::new(),
            "apis" => parts.next()?,
            _ => return None,
        };
        let parts: Vec<_> = parts.skip(1).collect();
        let (namespace, parts) = match parts.as_slice() {
            [first, namespace, rest @ ..] if first == "namespaces" && !rest.is_empty() => {
                (Some(namespace.clone()), rest)
            }
            _ => (None, parts.as_slice()),
        };
        let name = parts.get(1).cloned();
        let verb = match (method.as_str(), &name) {
            ("GET", Some(_)) => "get",
            ("GET", None) if uri.query().unwrap_or_default().contains("watch=true") => "watch",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            _ => "delete",
        };
        Some(Self { verb, group, resource: parts.first()?.clone(), namespace, name })
    }

    fn are_in(&self, rule: &Value) -> bool {
        let has = |key: &str, wanted: &str| {
            rule[key].as_array().is_some_and(|values| values.iter().any(|value| value == wanted))
        };
        let is_named = rule.get("resourceNames").is_none()
            || self.name.as_ref().is_some_and(|name| has("resourceNames", name));
        has("apiGroups", &self.group)
            && has("resources", &self.resource)
            && has("verbs", self.verb)
            && is_named
    }
}
