//! The manifests and the chart of a release pin every image by the digest of the built index for all
//! platforms.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const IMAGES: [&str; 2] = ["sidecar", "webhook"];
const PLATFORMS: [&str; 2] = ["amd64", "arm64"];
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn released_manifests_pin_every_image_by_index_digest() {
    let dist = dist();
    let output = pin(dist.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let digests = IMAGES.map(|image| {
        let index = pushed(dist.path(), image);
        let platforms = index["manifests"].as_array().expect("manifests").iter().map(|of| {
            let manifest = blob(dist.path(), image, &of["digest"]);
            assert_eq!((&of["size"], &of["platform"]["os"]), (&json!(manifest.len()), &json!("linux")));
            assert_eq!(
                manifest,
                format!("{image} for {}", of["platform"]["architecture"].as_str().expect("a text"))
            );
            of["platform"]["architecture"].clone()
        });
        assert_eq!(platforms.collect::<Vec<_>>(), PLATFORMS);
        top(dist.path(), image)["manifests"][0]["digest"].as_str().expect("a text").to_owned()
    });

    let manifests = unpacked(dist.path(), "-manifests.tar.gz");
    let mut named = BTreeSet::new();
    for file in files(&manifests.path().join("manifests")) {
        for line in fs::read_to_string(&file).expect("a file").lines() {
            assert!(!line.contains("newTag"), "{}: {line}", file.display());
            if let Some(digest) = line.trim().strip_prefix("digest: ") {
                named.insert(digest.to_owned());
            }
            if let Some(reference) = line.trim().strip_prefix("- --sidecar-image=") {
                assert_eq!(reference, format!("ghcr.io/podlocal-dns/sidecar:{VERSION}@{}", digests[0]));
            }
        }
    }
    assert_eq!(named, BTreeSet::from(digests.clone()));

    let chart = unpacked(dist.path(), ".tgz");
    let text = |file: &str| fs::read_to_string(chart.path().join("podlocal-dns").join(file)).expect(file);
    let values = text("values.yaml");
    for (image, digest) in IMAGES.iter().zip(&digests) {
        let image =
            values.split_once(&format!("repository: ghcr.io/podlocal-dns/{image}\n")).expect("the image").1;
        let given = image.lines().find_map(|line| line.trim().strip_prefix("digest: "));
        assert_eq!(given, Some(digest.as_str()));
    }
    // The chart contains files and not symbolic links, which a registry cannot store.
    assert!(text("objects/base/shared-tier/deployment.yaml").contains("kind: Deployment"));
}

#[test]
fn manifests_depend_only_on_the_images() {
    let archive = |dist: &TempDir| {
        assert!(pin(dist.path()).status.success());
        fs::read(dist.path().join(format!("podlocal-dns-{VERSION}-manifests.tar.gz"))).expect("an archive")
    };
    let (one, two) = (dist(), dist());
    assert_eq!(archive(&one), archive(&two));
    image(two.path(), "sidecar", "arm64", "another program");
    assert_ne!(archive(&one), archive(&two));
}

#[test]
fn missing_platform_or_wrong_digest_yields_no_manifests() {
    let file = format!("podlocal-dns-{VERSION}-manifests.tar.gz");
    let incomplete = dist();
    fs::remove_file(incomplete.path().join(format!("podlocal-webhook-{VERSION}-linux-arm64.oci.tar")))
        .expect("removes");
    let forged = dist();
    archive(forged.path(), "webhook", "arm64", &"0".repeat(64), "a program");
    for dist in [incomplete, forged] {
        assert!(!pin(dist.path()).status.success());
        assert!(!dist.path().join(&file).exists());
    }
}

/// The output of `.ci/release` that matters here.
fn dist() -> TempDir {
    let dist = TempDir::new().expect("a folder");
    for name in IMAGES {
        for platform in PLATFORMS {
            image(dist.path(), name, platform, &format!("{name} for {platform}"));
        }
    }
    dist
}

fn image(dist: &Path, image: &str, platform: &str, manifest: &str) {
    archive(dist, image, platform, &sha256(manifest), manifest);
}

/// An OCI archive of one manifest.
fn archive(dist: &Path, image: &str, platform: &str, digest: &str, manifest: &str) {
    let folder = TempDir::new().expect("a folder");
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder");
    fs::write(blobs.join(digest), manifest).expect("writes");
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{digest}"),
        "size": manifest.len(), "annotations": {"org.opencontainers.image.ref.name": VERSION},
    });
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    fs::write(folder.path().join("index.json"), format!("{index:#}")).expect("writes");
    let file = dist.join(format!("podlocal-{image}-{VERSION}-linux-{platform}.oci.tar"));
    let tar = Command::new("tar").arg("-cf").arg(file).arg("-C").arg(folder.path()).arg(".").status();
    assert!(tar.expect("tar").success());
}

fn pin(dist: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/pin");
    Command::new(script).arg(dist).env("SOURCE_DATE_EPOCH", "1700000000").output().expect("runs")
}

fn top(dist: &Path, image: &str) -> Value {
    let text = fs::read_to_string(dist.join("index").join(image).join("index.json")).expect("an index");
    serde_json::from_str(&text).expect("JSON")
}

/// The index that is pushed under the version.
fn pushed(dist: &Path, image: &str) -> Value {
    let top = top(dist, image);
    let text = blob(dist, image, &top["manifests"][0]["digest"]);
    assert_eq!(top["manifests"][0]["size"], text.len());
    serde_json::from_str(&text).expect("JSON")
}

fn blob(dist: &Path, image: &str, digest: &Value) -> String {
    let name = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    let text =
        fs::read_to_string(dist.join("index").join(image).join("blobs/sha256").join(name)).expect("a blob");
    assert_eq!(sha256(&text), name);
    text
}

fn unpacked(dist: &Path, archive: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let archive = dist.join(format!("podlocal-dns-{VERSION}{archive}"));
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(tar.expect("tar").success());
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn sha256(text: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("text");
    fs::write(&file, text).expect("writes");
    let output = Command::new("sha256sum").arg(file).output().expect("sha256sum");
    String::from_utf8(output.stdout).expect("text")[..64].to_owned()
}
