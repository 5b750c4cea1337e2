//! For whom a question is asked: the leader of its flight, whose task makes the exchange. Between the client and the exchange lie
//! caches, rules and flights, which need not know.

tokio::task_local! {
    static SOURCE: Option<u16>;
}

/// What is asked by this future is asked for that source, by its number ([`crate::sources::Sources::number`]).
pub async fn asking_for<T>(source: Option<u16>, future: impl Future<Output = T>) -> T {
    SOURCE.scope(source, future).await
}

/// For whom this task asks; `None`: for nobody in particular.
pub fn current() -> Option<u16> {
    SOURCE.try_get().ok().flatten()
}
