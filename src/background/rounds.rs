//! How background work goes on: bounded, and until told to stop.

use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;

/// Do `work` until it ends or the server shuts down.
pub(super) async fn until_stopped(mut shutdown: ShutdownWatch, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// Do `work` for every item, `limit` of them at a time. What comes of it, in the order it is done; a panic loses its
/// own item only.
pub(super) async fn at_most<T, R, F>(limit: usize, items: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut results = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        while running.len() < limit.max(1)
            && let Some(item) = items.next()
        {
            running.spawn(work(item));
        }
        match running.join_next().await {
            Some(Ok(result)) => results.push(result),
            Some(Err(_)) => tracing::error!("background work on one item panicked"),
            None => return results,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn never_more_than_the_limit_and_every_item_once() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |item: usize| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                assert!(item != 7, "one of them panics");
                item
            }
        };
        let mut done = at_most(3, (0..20).collect(), work).await;
        done.sort_unstable();
        assert_eq!(done, (0..20).filter(|item| *item != 7).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn work_stops_with_the_server() {
        let (stop, shutdown) = tokio::sync::watch::channel(false);
        let work = tokio::spawn(until_stopped(shutdown, std::future::pending()));
        stop.send(true).expect("somebody listens");
        work.await.expect("it stops");
    }
}
