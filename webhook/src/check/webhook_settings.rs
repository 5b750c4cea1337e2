//! Reads the settings of the installed webhook.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::api::{Resource, Seen, Unseen, get};
use super::finding::Finding;
use crate::config::{self, Command, Common};

/// The settings of the installed webhook: the arguments of its Deployment, which has the name of its Service,
/// and the files of its ConfigMaps.
pub(super) async fn read(client: &kube::Client, namespace: &str, name: &str) -> Seen<Box<Common>> {
    let deployment = get(client, Resource::object("apps", "deployments", Some(namespace), name)).await?;
    let pod = &deployment["spec"]["template"]["spec"];
    let mut containers = pod["containers"].as_array().into_iter().flatten();
    let container = containers.find(|container| container["args"].is_array());
    let container = container.ok_or_else(|| Unseen::Failed("its Deployment has no args".to_owned()))?;
    let mut files = BTreeMap::new();
    for (mount, map) in mounts(container, pod) {
        let found = get(client, Resource::object("", "configmaps", Some(namespace), map)).await;
        let found = found.map_err(|unseen| match unseen {
            Unseen::Absent => {
                Unseen::Failed(format!("ConfigMap {map}, which its Deployment mounts, not found"))
            }
            other => other,
        })?;
        files.extend(files_of(&found, mount));
    }
    parse(container, &files)
}

/// The finding about them.
pub(super) fn finding(seen: &Seen<Box<Common>>) -> Finding {
    match seen {
        Ok(common) => {
            let defaults: Vec<_> = common
                .defaults
                .iter()
                .map(|(setting, given)| format!("{}={}", setting.name, given.text))
                .collect();
            let defaults = if defaults.is_empty() { "none".to_owned() } else { defaults.join(", ") };
            Finding::ok(format!(
                "the webhook's settings: image {}, cluster-wide defaults: {defaults}",
                common.image
            ))
        }
        Err(Unseen::Failed(why)) => Finding::problem(
            format!("the webhook's settings: {why}"),
            "correct them; this report uses the settings of the command line instead",
        ),
        Err(Unseen::Absent) => Finding::unknown(
            "the webhook's settings: no Deployment has the name of the Service",
            "pass the flags of serve to this command",
        ),
        Err(unseen @ Unseen::Forbidden(_)) => Finding::unseen("the webhook's settings", unseen),
    }
}

/// The mounts of ConfigMaps in a container, with the names of the ConfigMaps.
fn mounts<'a>(container: &'a Value, pod: &'a Value) -> impl Iterator<Item = (&'a Value, &'a str)> {
    let volumes = pod["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts.filter_map(move |mount| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"])?;
        Some((mount, volume["configMap"]["name"].as_str()?))
    })
}

/// The files of a mounted ConfigMap: all files below its path, or one file at the path (`subPath`).
fn files_of(map: &Value, mount: &Value) -> Vec<(PathBuf, String)> {
    let path = Path::new(mount["mountPath"].as_str().unwrap_or_default());
    let texts = map["data"].as_object().into_iter().flatten();
    let texts = texts.filter_map(|(key, text)| Some((key, text.as_str()?.to_owned())));
    match mount["subPath"].as_str() {
        Some(wanted) => {
            texts.filter(|(key, _)| *key == wanted).map(|(_, text)| (path.to_owned(), text)).collect()
        }
        None => texts.map(|(key, text)| (path.join(key), text)).collect(),
    }
}

/// Parses the arguments of the container, as the webhook does.
fn parse(container: &Value, files: &BTreeMap<PathBuf, String>) -> Seen<Box<Common>> {
    let arguments = container["args"].as_array().into_iter().flatten();
    let arguments = arguments.map(|argument| OsString::from(argument.as_str().unwrap_or_default()));
    let read = |file: &Path| {
        let text = files.get(file).cloned();
        text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no mounted ConfigMap contains this file"))
    };
    match config::parse(arguments, read) {
        Ok(Command::Serve(serve)) => Ok(Box::new(serve.common)),
        Ok(_) => Err(Unseen::Failed("its Deployment does not run the command serve".to_owned())),
        Err(errors) => Err(Unseen::Failed(errors.to_string().replace('\n', " "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_webhooks_settings_file_is_read_where_its_config_map_is_mounted() {
        let pod = json!({"volumes": [{"name": "s", "configMap": {"name": "settings"}}, {"name": "t", "secret": {}}]});
        let map = json!({"data": {"settings.yaml": "ndots: 3\n", "other": "x"}});
        let file = "/etc/podlocal/settings.yaml";
        for (mount, is_found) in [
            (json!({"name": "s", "mountPath": "/etc/podlocal"}), true),
            (json!({"name": "s", "mountPath": file, "subPath": "settings.yaml"}), true),
            (json!({"name": "s", "mountPath": file, "subPath": "other"}), false),
            (json!({"name": "s", "mountPath": "/etc/other"}), false),
            (json!({"name": "t", "mountPath": "/etc/podlocal"}), false),
        ] {
            let args = ["serve", "--sidecar-image=registry.example/sidecar:1", &format!("--settings={file}")];
            let container = json!({"args": args, "volumeMounts": [mount]});
            let files = mounts(&container, &pod).flat_map(|(mount, name)| {
                assert_eq!(name, "settings");
                files_of(&map, mount)
            });
            let parsed = parse(&container, &files.collect());
            assert_eq!(parsed.is_ok(), is_found, "{container}");
            if let Ok(common) = parsed {
                assert_eq!((common.image.as_str(), common.defaults.len()), ("registry.example/sidecar:1", 1));
            }
        }
    }
}
