//! DNS over TCP: two bytes of length before each message (RFC 1035 section 4.2.2), answers in any order (RFC
//! 7766 section 6.2.1.1).
//!
//! Each connection has a task. The connections of a thread share one buffer for reading and one for writing.
//! A connection has its own buffer only for a message that has arrived in part, and for answers that the
//! client does not read:
//!
//! ```text
//!   read --> hits ---------------------------> write
//!     '-----> misses: a task for each --late----^
//! ```
//!
//! The sidecar stops reading at [`limits::QUERIES_PER_CONNECTION`] queries in flight, and while the client
//! does not read its answers. It disconnects a client that is silent, or leaves a message half sent or its
//! answers half read, for [`limits::TCP_IDLE`]. [`crate::connections`] limits the memory of all connections,
//! of which each holds:
//!
//! | part | bytes |
//! |---|---|
//! | the connection itself: its task, and its socket in the kernel | [`limits::TCP_CONNECTION_BYTES`] |
//! | a message that has arrived in part | the part |
//! | answers that the client does not read | their bytes, and [`limits::TCP_KERNEL_BYTES`] for the part that the kernel holds, and for more queries |
//! | answers that wait behind those | their bytes |

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::Service;
use crate::connections::{Bounds, accept_all};
use crate::limits;
use crate::metrics::Limit;
use crate::shutdown::Drain;
use crate::upstream::Upstream;

use connection::Connection;

mod connection;
mod frames;

/// Accepts connections until the drain begins.
pub async fn serve<U: Upstream>(listener: Arc<TcpListener>, service: Arc<Service<U>>, drain: Drain) {
    let mut begun = drain.clone();
    tokio::select! {
        biased;
        () = begun.begun() => {}
        () = accept_all(&listener, |stream, source| admit(stream, source, &service, &drain)) => {}
    }
}

/// The limits of the connections of all listeners together; memory is in proportion to their number.
pub(super) fn bounds(most: usize, of_source: u32) -> Bounds {
    let bytes = (most * limits::TCP_BYTES_FOR_EACH).max(limits::TCP_BYTES_LEAST);
    Bounds {
        most: (most, Limit::TcpConnections),
        of_source: (of_source as usize, Limit::TcpConnectionsPerSource),
        bytes: (bytes, Limit::TcpMemory),
        bytes_of_each: limits::TCP_CONNECTION_BYTES,
    }
}

/// Closes a connection that exceeds a limit, or serves it in a new task.
fn admit<U: Upstream>(stream: TcpStream, source: IpAddr, service: &Arc<Service<U>>, drain: &Drain) {
    let now = Instant::now();
    if !service.sources.are_answered(source, now.into_std()) {
        return service.metrics.limits.inc(Limit::Sources);
    }
    service.sources.know(source, now.into_std());
    let Some(seat) = service.connections.admit(source, now.into_std()) else { return };
    let _ = stream.set_nodelay(true);
    let connection = Connection::new(stream, source, Arc::clone(&seat), Arc::clone(service));
    let task = tokio::spawn(connection.run(drain.clone()));
    seat.is_served_by(task.abort_handle());
}
