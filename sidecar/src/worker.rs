//! The worker threads: each has its own sockets and its own runtime; all share the cache, the flights and the
//! limits.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use podlocal_settings::value;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::datagrams::BatchSocket;
use crate::listen::Pair;
use crate::server::{Service, tcp, udp};
use crate::shutdown::Drain;
use crate::supervise::supervised;
use crate::upstream::Upstream;

/// The number of worker threads, at least 1.
pub fn count(workers: value::Workers) -> usize {
    let max = usize::from(value::Workers::MAX);
    match workers {
        value::Workers::Fixed(count) => usize::from(count),
        // The cores that the CPU affinity and the quota of the cgroup allow.
        value::Workers::Auto => thread::available_parallelism().map_or(1, usize::from).min(max),
    }
}

/// The runtime of one worker. Work never moves to another thread: a query is answered where it arrives.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Raises the soft limit of open files to the hard limit: every flight has a socket, and the soft limit is
/// often 1,024.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// All workers but the first, which runs on the calling thread.
#[derive(Debug)]
pub struct Others {
    stop: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    /// Starts a thread for each worker's sockets.
    pub fn start<U: Upstream>(
        sockets: Vec<Vec<Pair>>,
        service: &Arc<Service<U>>,
        drain: &Drain,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(());
        let mut threads = Vec::with_capacity(sockets.len());
        for (number, pairs) in (2..).zip(sockets) {
            let (runtime, mut stopped) = (runtime()?, stopped.clone());
            let (service, drain) = (Arc::clone(service), drain.clone());
            let run = move || {
                runtime.block_on(async {
                    if let Err(error) = serve(pairs, &service, &drain) {
                        tracing::error!(%error, number, "worker cannot serve");
                    }
                    drop((service, drain));
                    // Sockets of exchanges that other workers wait for belong to this runtime, so it runs
                    // until `stop`.
                    let _ = stopped.changed().await; // fails when the sender is dropped: `stop` was called
                });
            };
            threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(run)?);
        }
        Ok(Self { stop, threads })
    }

    /// Stops the workers and waits for their threads; work in progress is dropped.
    pub fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            // The panic hook has already logged and counted a panic.
            let _ = thread.join();
        }
    }
}

/// Serves the sockets of a worker on the calling runtime, until the drain begins.
pub fn serve<U: Upstream>(pairs: Vec<Pair>, service: &Arc<Service<U>>, drain: &Drain) -> io::Result<()> {
    for Pair { udp, tcp } in pairs {
        let (socket, listener) = (Arc::new(BatchSocket::new(udp)?), Arc::new(TcpListener::from_std(tcp)?));
        let (by_udp, by_tcp) = ((Arc::clone(service), drain.clone()), (Arc::clone(service), drain.clone()));
        let udp = move || udp::serve(Arc::clone(&socket), Arc::clone(&by_udp.0), by_udp.1.clone());
        let tcp = move || tcp::serve(Arc::clone(&listener), Arc::clone(&by_tcp.0), by_tcp.1.clone());
        tokio::spawn(supervised("udp", udp));
        tokio::spawn(supervised("tcp", tcp));
    }
    Ok(())
}
