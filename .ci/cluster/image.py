#!/usr/bin/env python3
"""Makes an image archive with one layer from a folder, for `ctr images import`, `kind load` or `podman load`."""
import argparse
import hashlib
import io
import json
import re
import tarfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("archive")
parser.add_argument("folder")
parser.add_argument("--name", action="append", required=True, help="NAME:TAG; may be repeated")
parser.add_argument("--entrypoint", help="the program to run")
parser.add_argument("--argument", action="append", help="an argument of the program, unless the pod has others; may be repeated")
parser.add_argument("--dockerfile", help="takes USER and ENTRYPOINT from the last stage of this file")
options = parser.parse_args()


def root_owned(member):
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def instruction(name):
    """The value of the last such instruction of the Dockerfile's last stage."""
    with open(options.dockerfile, encoding="utf-8") as file:
        stage = re.split(r"^FROM ", file.read(), flags=re.MULTILINE)[-1]
    return re.findall(rf"^{name} (.*)$", stage, re.MULTILINE)[-1]


user, entrypoint = "", [options.entrypoint] if options.entrypoint else None
if options.dockerfile:
    user, entrypoint = instruction("USER"), json.loads(instruction("ENTRYPOINT"))

layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    tar.add(options.folder, arcname=".", filter=root_owned)
digest = hashlib.sha256(layer.getvalue()).hexdigest()
path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
config = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [path], "User": user, "Entrypoint": entrypoint, "Cmd": options.argument},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
).encode()
manifest = json.dumps([{"Config": "config.json", "RepoTags": options.name, "Layers": ["layer.tar"]}]).encode()
with tarfile.open(options.archive, "w") as tar:
    for name, content in (("manifest.json", manifest), ("config.json", config), ("layer.tar", layer.getvalue())):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
