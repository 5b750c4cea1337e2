//! Examples, exit codes and further documentation: what follows the flags in a help. Each section begins with
//! a title and a colon, which is a heading in the man page.

pub(super) const PROGRAM: &str = "\
Exit codes:
  0   done
  1   cannot start, or an input cannot be read
  64  invalid arguments or settings; all of them are listed

See also:
  podlocal-sidecar(1), the sidecar
  docs/settings.md: all settings, with the reasons for their defaults
  manifests/README.md: what is installed, and why
  https://github.com/podlocal-dns/podlocal-dns";

pub(super) const SERVE: &str = "\
Examples:
  # Outside the cluster, for development; ca.crt goes into caBundle
  podlocal-webhook serve --kubeconfig config --cluster-dns 10.96.0.10 --ca-out ca.crt --dns-names host.example

Exit codes:
  0   drained after SIGTERM
  1   cannot start; the log has the reason
  2   a second signal ended the drain
  64  invalid arguments or settings; all of them are listed";

pub(super) const CERT_CONTROLLER: &str = "\
Exit codes:
  0   ended by a signal
  1   cannot start
  64  invalid arguments; all of them are listed";

pub(super) const INJECT: &str = "\
Examples:
  # The decision about a pod, and the reason
  podlocal-webhook inject -f pod.yaml --cluster-dns 10.96.0.10
  # Injection of everything that is applied, without a webhook in the cluster
  kubectl kustomize . | podlocal-webhook inject -f - --cluster-dns 10.96.0.10 | kubectl apply -f -

Exit codes:
  0   every document was printed, injected or with a reason
  1   a document cannot be read
  64  invalid arguments or settings; all of them are listed";

pub(super) const CHECK: &str = "\
Examples:
  # Documents, before they are applied
  podlocal-webhook check -f app.yaml
  # The same, with every change
  kubectl kustomize . | podlocal-webhook check -f - --verbose
  # The cluster: the installation and the opted-in workloads
  podlocal-webhook check
  # The cluster, before anything is opted in
  podlocal-webhook check --as-if-enabled
  # One namespace, in a pipeline
  podlocal-webhook check -n my-jobs --strict

Exit codes:
  0   done
  1   a document or a part of the cluster cannot be read
  3   with --strict: something is not as requested
  64  invalid arguments or settings; all of them are listed";
