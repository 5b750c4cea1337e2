//! Imports go in one direction: between the crates of the workspace, and between the modules of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use podlocal_harness::repository::root;
use serde_json::Value;

use super::sources;

/// The crates by layer, the lowest first. A crate depends only on crates of lower layers, never on one of its
/// own: there is no edge between sidecar, inspect and webhook.
const LAYERS: [&[&str]; 6] = [
    &["podlocal-settings"],
    &["podlocal-dns", "podlocal-telemetry"],
    &["podlocal-inspect", "podlocal-sidecar", "podlocal-webhook"],
    &["podlocal-harness"],
    &["podlocal-experiments", "podlocal-release", "podlocal-tests"],
    &["podlocal-cluster-tests"],
];

/// The path of a module or an item, from the root of its crate.
type ModulePath = Vec<String>;

/// An import between two modules with the same parent, and a file in which it occurs.
type Imports = BTreeMap<(ModulePath, String), BTreeMap<String, String>>;

#[test]
fn crates_depend_only_on_lower_layers() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        let own = layer(name).unwrap_or_else(|| panic!("{name} is in no layer: add it to LAYERS"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let dependency = dependency["name"].as_str().expect("a name");
            if let Some(other) = layer(dependency) {
                assert!(other < own, "{name} depends on {dependency}, which is not in a lower layer");
            }
        }
    }
}

#[test]
fn modules_of_a_crate_form_no_import_cycle() {
    let mut cycles = Vec::new();
    let root = root().canonicalize().expect("a folder");
    for package in packages() {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let folder = Path::new(manifest).parent().and_then(|folder| folder.strip_prefix(&root).ok());
        let folder = folder.expect("a folder of the workspace").to_str().expect("UTF-8");
        if !root.join(folder).join("src/lib.rs").exists() {
            continue;
        }
        let modules = library(folder);
        assert!(modules.len() > 1, "no modules in {folder}");
        cycles.extend(cyclic(imports(&modules)).iter().map(|cycle| format!("{folder}: {cycle}")));
    }
    assert!(cycles.is_empty(), "modules import each other:\n{}", cycles.join("\n"));
}

/// The packages of the workspace, with their direct dependencies.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The modules of a library, each with its code, without tests and comments.
fn library(folder: &str) -> BTreeMap<ModulePath, String> {
    let prefix = format!("{folder}/src/");
    let files = sources(folder).into_iter().filter_map(|(path, code)| {
        let path = path.strip_prefix(&prefix)?.strip_suffix(".rs")?;
        let is_program = path == "main" || path.starts_with("bin/");
        let module = if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() };
        (!is_program).then_some((module, code))
    });
    files.collect()
}

/// Every import between modules with the same parent. The imports between a module and its own parts are not
/// restricted: together they are one module.
fn imports(modules: &BTreeMap<ModulePath, String>) -> Imports {
    let mut imports = Imports::new();
    for (module, code) in modules {
        for target in paths(code).iter().filter_map(|path| absolute(module, path)) {
            let common = module.iter().zip(&target).take_while(|(one, other)| one == other).count();
            let is_module = |path: &[String]| modules.contains_key(path);
            if let (Some(from), Some(to)) = (module.get(common), target.get(common))
                && is_module(&target[..=common])
            {
                let from = (module[..common].to_vec(), from.clone());
                imports.entry(from).or_default().insert(to.clone(), module.join("/"));
            }
        }
    }
    imports
}

/// The paths that begin with `crate` or `super` in the code; those of `use` with braces one by one.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_inside =
                code[..at].ends_with(|before: char| is_of_name(before) || before == ':' || before == '$');
            if !is_inside {
                expand("", &mut code[at..].chars().peekable(), &mut paths);
            }
        }
    }
    paths
}

/// Reads one tree of paths, such as `crate::a::{b, c::d}`, up to the character that ends it.
fn expand(prefix: &str, rest: &mut std::iter::Peekable<std::str::Chars<'_>>, paths: &mut Vec<String>) {
    let mut path = prefix.to_owned();
    while let Some(next) = rest.next_if(|next| is_of_name(*next) || *next == ':' || next.is_whitespace()) {
        if next.is_whitespace() && !path.ends_with("::") {
            break;
        }
        if !next.is_whitespace() {
            path.push(next);
        }
    }
    if rest.next_if_eq(&'{').is_none() {
        paths.push(path);
        return;
    }
    while rest.next_if_eq(&'}').is_none() && rest.peek().is_some() {
        while rest.next_if(|next| next.is_whitespace() || *next == ',').is_some() {}
        if rest.peek() != Some(&'}') {
            expand(&path, rest, paths);
            // Skips the rest up to the next name: `as _`, `*`.
            while rest.next_if(|next| !matches!(next, ',' | '}')).is_some() {}
        }
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The path from the root of the crate, of a path that `module` uses.
fn absolute(module: &[String], path: &str) -> Option<ModulePath> {
    let names: Vec<_> = path.split("::").filter(|name| !name.is_empty()).collect();
    let above = names.iter().take_while(|name| **name == "super").count();
    let (start, rest) = match names.first() {
        Some(&"crate") => (&module[..0], &names[1..]),
        _ => (&module[..module.len().checked_sub(above)?], &names[above..]),
    };
    Some(start.iter().cloned().chain(rest.iter().map(|name| (*name).to_owned())).collect())
}

/// The imports on a cycle, or on the way to one: those that remain when modules without imports are removed
/// again and again.
fn cyclic(mut imports: Imports) -> Vec<String> {
    loop {
        let importers: BTreeSet<_> = imports.keys().cloned().collect();
        for ((parent, _), targets) in &mut imports {
            targets.retain(|target, _| importers.contains(&(parent.clone(), target.clone())));
        }
        imports.retain(|_, targets| !targets.is_empty());
        if imports.len() == importers.len() {
            let of_module = |((parent, from), targets): (&(ModulePath, String), &BTreeMap<_, _>)| {
                let full = |name: &String| [&parent[..], std::slice::from_ref(name)].concat().join("/");
                let line =
                    |(to, file): (&String, &String)| format!("{} -> {} (in {file})", full(from), full(to));
                targets.iter().map(line).collect::<Vec<_>>()
            };
            return imports.iter().flat_map(of_module).collect();
        }
    }
}

#[test]
fn import_cycles_are_found_and_named() {
    let module = |path: &str, code: &str| {
        (path.split('/').map(str::to_owned).collect::<ModulePath>(), code.to_owned())
    };
    let modules = BTreeMap::from([
        module("a", "use crate::{b::B, Item};\nuse super::c as other;\n"),
        module("a/part", "use super::A;\nfn f() { crate::a::g(); super::super::c::h() }\n"),
        module("b", "pub use crate::c::{\n    self, C as _,\n};\n"),
        module("c", "fn f() -> my_crate::a::A { $crate::a::A }\n"),
    ]);
    assert_eq!(cyclic(imports(&modules)), [""; 0]);
    let mut modules = modules;
    modules.insert(vec!["c".to_owned(), "part".to_owned()], "let x = crate::a::part::f();".to_owned());
    assert_eq!(
        cyclic(imports(&modules)),
        ["a -> b (in a)", "a -> c (in a/part)", "b -> c (in b)", "c -> a (in c/part)"]
    );
}
