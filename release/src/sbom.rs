//! The contents of a program, as a CycloneDX 1.5 bill of materials (<https://cyclonedx.org/docs/1.5/json/>).

use serde_json::{Value, json};

use crate::contents::{Contents, Crate, Id};

/// The SBOM document. It has no serial number and no time, which are optional in the specification, so the
/// same program has the same document.
pub(crate) fn json(contents: &Contents) -> String {
    let (root, others): (Vec<_>, Vec<_>) = contents.crates.iter().partition(|(id, _)| **id == contents.root);
    let mut components: Vec<_> = others.into_iter().map(|(id, of)| component(id, of, "library")).collect();
    components.extend(runtime(contents));
    let dependencies: Vec<_> = contents
        .needs
        .iter()
        .map(|(id, needs)| {
            let reference = |id: &Id| contents.crates.get(id).map(|of| purl(id, of));
            json!({ "ref": reference(id), "dependsOn": needs.iter().filter_map(reference).collect::<Vec<_>>() })
        })
        .collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "component": root.first().map(|(id, of)| component(id, of, "application")),
        },
        "components": components,
        "dependencies": dependencies,
    });
    format!("{document}\n")
}

fn component((name, version): &Id, of: &Crate, kind: &str) -> Value {
    let purl = purl(&(name.clone(), version.clone()), of);
    let mut component =
        json!({ "type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl });
    let optional = [
        ("description", of.description.as_ref().map(|text| json!(one_line(text)))),
        ("licenses", of.license.as_ref().map(|license| json!([{ "expression": spdx(license) }]))),
        ("hashes", of.checksum.as_ref().map(|sum| json!([{ "alg": "SHA-256", "content": sum }]))),
        ("externalReferences", of.repository.as_ref().map(|url| json!([{ "type": "vcs", "url": url }]))),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            component[key] = value;
        }
    }
    component
}

/// The Rust standard library and the C library.
fn runtime(contents: &Contents) -> [Value; 2] {
    let library = |name: &str, version: &str, license: &str| {
        let purl = format!("pkg:generic/{name}@{version}");
        json!({
            "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "licenses": [{ "expression": license }],
        })
    };
    [
        library("rust-std", &contents.rust, "MIT OR Apache-2.0"),
        library("glibc", &contents.glibc, "LGPL-2.1-or-later"),
    ]
}

/// The package URL. A crate of this workspace is on no registry, where a crate of that name could have
/// another owner.
fn purl((name, version): &Id, of: &Crate) -> String {
    match (&of.source, &of.repository) {
        (None, Some(repository)) if repository.starts_with("https://github.com/") => {
            let place = repository.trim_start_matches("https://github.com/");
            let folder = name.trim_start_matches("podlocal-");
            format!("pkg:github/{place}@v{version}#{folder}")
        }
        (None, _) => format!("pkg:generic/{name}@{version}"),
        (Some(_), _) => format!("pkg:cargo/{name}@{version}"),
    }
}

/// Cargo accepted a slash for OR before it used SPDX.
fn spdx(license: &str) -> String {
    license.replace('/', " OR ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
