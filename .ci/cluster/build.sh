# Builds the programs of the node from Go modules and Debian packages, and the images; sourced by `cluster`.
# shellcheck shell=bash disable=SC2154

build() {
    require_toolchains
    "$repository/.ci/packages" busybox-static ca-certificates curl gcc iproute2 iptables libc6-dev libseccomp-dev musl-tools openssl pkg-config
    local stamp
    stamp=$(cd "$here" && cat go.mod go.sum coredns/main.go pause/main.go getaddr.c image.py build.sh | sha256sum)
    if [ "$(cat "$home/built" 2>/dev/null)" = "$stamp" ]; then return; fi
    mkdir -p "$home"/{bin,images}
    echo 'cluster: building Kubernetes, CoreDNS and Helm (11 minutes the first time on 2 cores)' >&2

    local kubernetes minor version=k8s.io/component-base/version programs
    kubernetes=$(cd "$here" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
    minor=$(cut -d. -f2 <<<"$kubernetes")
    local flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor"
    mapfile -t programs < <(cd "$here" && go tool | grep / | grep -v opencontainers/runc)
    (
        cd "$here"
        export GOFLAGS=-mod=readonly
        CGO_ENABLED=0 go build -trimpath -tags no_btrfs,no_devmapper,no_zfs -ldflags "$flags" -o "$home/bin/" "${programs[@]}" ./coredns ./pause
        CGO_ENABLED=1 go build -trimpath -tags seccomp -ldflags '-s -w' -o "$home/bin/" github.com/opencontainers/runc # its first part is C code
    )
    mv "$home/bin/server" "$home/bin/etcd"
    ln -sf /bin/busybox "$home/bin/busybox"
    local root
    root=$(mktemp -d)
    chmod 755 "$root"
    install -D "$home/bin/pause" "$root/pause/pause"
    install -D "$home/bin/coredns" "$root/coredns/coredns"
    "$here/image.py" "$home/images/pause.tar" "$root/pause" --name localhost/podlocal-dns/pause:test --entrypoint /pause
    "$here/image.py" "$home/images/coredns.tar" "$root/coredns" --name localhost/podlocal-dns/coredns:test --entrypoint /coredns
    rm -r "$root"
    client_images "$home/images"
    echo "$stamp" >"$home/built"
}

# client_images DIRECTORY: busybox and getaddr, once with glibc and once with musl
client_images() {
    local root libc applet library
    root=$(mktemp -d)
    chmod 755 "$root"
    for libc in glibc musl; do
        install -D /bin/busybox "$root/$libc/bin/busybox"
        mkdir -p "$root/$libc"/{etc,tmp,usr/local/bin}
        chmod 1777 "$root/$libc/tmp"
        for applet in $(/bin/busybox --list | grep -vx busybox); do ln -sf busybox "$root/$libc/bin/$applet"; done
        echo 'root:x:0:0::/:/bin/sh' >"$root/$libc/etc/passwd"
    done
    gcc -O2 -o "$root/glibc/bin/getaddr" "$here/getaddr.c"
    for library in $(ldd "$root/glibc/bin/getaddr" | grep -o '/[^ ]*'); do install -D "$library" "$root/glibc$library"; done
    musl-gcc -O2 -static -o "$root/musl/bin/getaddr" "$here/getaddr.c"
    for libc in glibc musl; do
        "$here/image.py" "$1/$libc.tar" "$root/$libc" --name "localhost/podlocal-dns/$libc:test" --argument sh
    done
    rm -r "$root"
}

# Builds both images as the Dockerfiles do, with the names in the manifests, and with a second tag
# for upgrades.
product_images() {
    local image component version images=$repository/target/images
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml" | head -1)
    for image in podlocal-sidecar podlocal-webhook; do
        component=${image#podlocal-}
        (cd "$repository" && CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target} .ci/image "$image" "$images/$image")
        "$here/image.py" "$images/$image.tar" "$images/$image" --dockerfile "$repository/Dockerfile.$component" \
            --name "ghcr.io/podlocal-dns/$component:$version" --name "ghcr.io/podlocal-dns/$component:upgrade"
    done
}

require_toolchains() {
    local missing=()
    command -v go >/dev/null || missing+=("Go $(sed -n 's/^go //p' "$here/go.mod") or newer")
    command -v python3 >/dev/null || missing+=('Python 3')
    command -v apt-get >/dev/null || missing+=("Debian's or Ubuntu's apt-get")
    if [ ${#missing[@]} = 0 ]; then return; fi
    printf 'cluster: building the node needs %s\n' "${missing[@]}" >&2
    echo 'cluster: or use another cluster: the tests run against whatever KUBECONFIG names' >&2
    exit 77
}
