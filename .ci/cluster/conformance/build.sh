# Builds Kubernetes' end-to-end tests from Go modules, and their images; sourced by `run`.
# shellcheck shell=bash disable=SC2154

build() {
    local stamp
    stamp=$(cd "$here" && cat go.mod go.sum build.sh ../go.mod ../coredns/main.go ../image.py | sha256sum)
    if [ "$(cat "$programs/built" 2>/dev/null)" = "$stamp" ]; then return; fi
    "$cluster" build
    echo "conformance: building Kubernetes' end-to-end tests (7 minutes the first time on 2 cores)" >&2
    mkdir -p "$programs/images"
    build_programs
    build_images
    # A running node may have older images.
    rm -f "$programs/loaded"
    echo "$stamp" >"$programs/built"
}

build_programs() {
    local kubernetes of_the_node minor version=k8s.io/component-base/version
    kubernetes=$(version_in "$here")
    of_the_node=$(version_in "$here/..")
    if [ "$kubernetes" != "$of_the_node" ]; then
        echo "conformance: the tests are of Kubernetes $kubernetes (conformance/go.mod), the node is $of_the_node (go.mod): they must agree" >&2
        exit 65
    fi
    minor=$(cut -d. -f2 <<<"$kubernetes")
    local flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor"
    (
        cd "$here"
        export GOFLAGS=-mod=readonly CGO_ENABLED=0
        go test -c -trimpath -ldflags "$flags" -o "$programs/e2e.test" k8s.io/kubernetes/test/e2e
        go build -trimpath -ldflags '-s -w' -o "$programs/" github.com/onsi/ginkgo/v2/ginkgo k8s.io/kubernetes/test/images/agnhost
    )
}

version_in() {
    (cd "$1" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
}

# A Debian image with dig and a shell replaces both images of the DNS tests: agnhost and the image with glibc.
build_images() {
    local root sources
    "$here/../../packages" debian-archive-keyring debootstrap
    root=$(mktemp -d)
    chmod 755 "$root"
    debootstrap --variant=minbase --include=bind9-dnsutils,curl,iproute2,iputils-ping,netcat-openbsd \
        bookworm "$root" >"$programs/debootstrap.log"
    rm -rf "${root:?}"/{var/cache,var/lib/apt,usr/share/doc,usr/share/man,usr/share/locale,etc/resolv.conf}
    find "$root/dev" -mindepth 1 -delete
    # As in agnhost's Dockerfile: tests run CoreDNS from it, fetch these files, write to /uploads, and know
    # this user.
    sources=$(cd "$here" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
    install -m 644 "$sources"/test/images/agnhost/porter/localhost.{crt,key} "$root/"
    cp "$programs/agnhost" "$home/bin/coredns" "$root/"
    ln -s agnhost "$root/agnhost-2"
    mkdir "$root/uploads"
    printf 'user-defined-in-image:x:1000:1000::/:/bin/sh\n' >>"$root/etc/passwd"
    printf 'user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n' >>"$root/etc/group"
    # shellcheck disable=SC2046 # each word is an argument
    "$here/../image.py" "$programs/images/agnhost.tar" "$root" --entrypoint /agnhost --argument pause \
        $(names_of e2e-test-images/agnhost | sed 's/^/--name /')
    # shellcheck disable=SC2046
    "$here/../image.py" "$programs/images/glibc.tar" "$root" $(names_of glibc-dns-testing | sed 's/^/--name /')
    rm -r "$root"
}

# names_of PART: the images of the tests whose names contain PART
names_of() {
    "$programs/e2e.test" --list-images 2>/dev/null | grep -F "$1"
}
