//! The source for which a query is sent: that of the leader of the flight, whose task makes the exchange. It
//! is a task-local, so that the caches, rules and flights between the client and the exchange need not pass
//! it on.

tokio::task_local! {
    static SOURCE: Option<u16>;
}

/// Runs a future whose queries are sent for that source, by its number ([`crate::sources::Sources::number`]).
pub async fn with_source<T>(source: Option<u16>, future: impl Future<Output = T>) -> T {
    SOURCE.scope(source, future).await
}

/// The source of the current task; `None`: no source in particular.
pub fn current() -> Option<u16> {
    SOURCE.try_get().ok().flatten()
}
