"""Validates manifests and pods against the schemas of Kubernetes: schema.py FILE|DIRECTORY ...

Each document must be valid, unknown fields included, in the newest version that the validator knows, and valid in
the oldest supported one. Golden cases with "unknown" in their name have fields of no version and are exempt.
"""

import pathlib
import sys

import kubernetes_validate
import yaml

OLDEST = "1.29"

# Kinds of other projects, which are not in the schema of Kubernetes. The test of the overlays checks them.
OTHERS = ("cert-manager.io/", "monitoring.coreos.com/")


def main(places):
    files = sorted(file for place in places for file in found(pathlib.Path(place)))
    problems, count = [], 0
    for file in files:
        for number, document in enumerate(yaml.safe_load_all(file.read_text()), 1):
            if not isinstance(document, dict) or not is_kubernetes(document):
                continue
            count += 1
            for version, strict in ((kubernetes_validate.latest_version(), "unknown" not in str(file)), (OLDEST, False)):
                problems += [f"{file}, document {number}, Kubernetes {version}: {e}" for e in errors(document, version, strict)]
    print("\n".join(problems))
    print(f"{count} documents in {len(files)} files: {len(problems)} problems")
    return 1 if problems or not count else 0


def found(place):
    return [place] if place.is_file() else place.rglob("*.yaml")


def is_kubernetes(document):
    # Kustomizations are read by kustomize, not by the API.
    return "apiVersion" in document and "kind" in document and not document["apiVersion"].startswith(("kustomize.", *OTHERS))


def errors(document, version, strict):
    try:
        kubernetes_validate.validate(document, version, strict=strict)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.InvalidSchemaError as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
