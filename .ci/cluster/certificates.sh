# Certificates and kubeconfig files of the node's programs; sourced by `cluster`.
# shellcheck shell=bash disable=SC2154

certificates() {
    rm -rf "$home/pki"
    mkdir -p "$home/pki"
    cd "$home/pki"
    authority ca
    certificate apiserver /CN=kube-apiserver serverAuth "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$node"
    certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
    certificate webhooks /CN=kube-apiserver-webhook-client clientAuth
    certificate admin /O=system:masters/CN=kubernetes-admin clientAuth
    certificate controller-manager /CN=system:kube-controller-manager clientAuth
    certificate scheduler /CN=system:kube-scheduler clientAuth
    certificate proxy /CN=system:kube-proxy clientAuth
    certificate kubelet /O=system:nodes/CN=system:node:node clientAuth
    certificate kubelet-serving /O=system:nodes/CN=system:node:node serverAuth "DNS:node,IP:$node"
    openssl genrsa -out sa.key 2048 2>/dev/null
    openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
    local name
    for name in controller-manager scheduler proxy kubelet; do kubeconfig "$name.conf" "$name"; done
    kubeconfig "$home/admin.conf" admin
    webhook_caller
    cd - >/dev/null
}

# The API server presents this client certificate to every webhook that requests one, as docs/security.md
# tells operators to configure it. The address of a webhook is in its configuration. The path must be
# absolute.
webhook_caller() {
    cat >webhooks.conf <<CONFIG
apiVersion: v1
kind: Config
users: [{name: '*', user: {client-certificate-data: $(base64 -w0 webhooks.crt), client-key-data: $(base64 -w0 webhooks.key)}}]
CONFIG
    cat >admission.yaml <<CONFIG
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: MutatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: $home/pki/webhooks.conf}
CONFIG
}

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" \
        -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
}

# certificate FILE SUBJECT USAGE [NAMES]
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" 2>/dev/null \
        -extfile <(echo keyUsage=critical,digitalSignature; echo "extendedKeyUsage=$3"; if [ -n "${4:-}" ]; then echo "subjectAltName=$4"; fi)
    rm "$1.csr"
}

# kubeconfig FILE CERTIFICATE
kubeconfig() {
    cat >"$1" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: podlocal-dns-test, cluster: {server: "https://$node:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $2, user: {client-certificate-data: $(base64 -w0 "$2.crt"), client-key-data: $(base64 -w0 "$2.key")}}]
contexts: [{name: podlocal-dns-test, context: {cluster: podlocal-dns-test, user: $2}}]
current-context: podlocal-dns-test
CONFIG
}
