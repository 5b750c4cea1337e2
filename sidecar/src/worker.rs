//! The threads that serve: each has its own sockets and its own runtime; cache, flights and bounds are common to all.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use podlocal_settings::value;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::listen::Pair;
use crate::server::datagrams::Socket;
use crate::server::{Service, tcp, udp};
use crate::shutdown::Drain;
use crate::supervise::supervised;
use crate::upstream::Upstream;

/// How many threads serve.
pub fn count(workers: value::Workers) -> usize {
    let most = usize::from(value::Workers::MOST);
    match workers {
        value::Workers::Fixed(count) => usize::from(count),
        // The cores that affinity and the cgroup's quota leave us.
        value::Workers::Auto => thread::available_parallelism().map_or(1, usize::from).min(most),
    }
}

/// The runtime of one thread. Work is never taken from one thread to another: what a socket brings is done where it
/// arrives.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Lets the process have as many descriptors as it may: every flight has a socket, and whatever starts us may give 1,024.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "cannot raise the number of descriptors");
    }
}

/// The workers beside the first, which is the thread that calls.
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
                    // Sockets of exchanges that others wait for belong to this runtime, so it goes on to the end.
                    let _ = stopped.changed().await; // fails when the sender is gone: that is the end
                });
            };
            threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(run)?);
        }
        Ok(Self { stop, threads })
    }

    /// Ends them, whatever they are doing.
    pub fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            // A panic was logged and counted when it happened.
            let _ = thread.join();
        }
    }
}

/// Serves a worker's sockets on the runtime that calls, until the drain begins.
pub fn serve<U: Upstream>(pairs: Vec<Pair>, service: &Arc<Service<U>>, drain: &Drain) -> io::Result<()> {
    for Pair { udp, tcp } in pairs {
        let (socket, listener) = (Arc::new(Socket::new(udp)?), Arc::new(TcpListener::from_std(tcp)?));
        let (by_udp, by_tcp) = ((Arc::clone(service), drain.clone()), (Arc::clone(service), drain.clone()));
        let udp = move || udp::serve(Arc::clone(&socket), Arc::clone(&by_udp.0), by_udp.1.clone());
        let tcp = move || tcp::serve(Arc::clone(&listener), Arc::clone(&by_tcp.0), by_tcp.1.clone());
        tokio::spawn(supervised("udp", udp));
        tokio::spawn(supervised("tcp", tcp));
    }
    Ok(())
}
