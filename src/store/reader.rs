//! The thread that reads, on a connection that cannot write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::StoreError;

/// Queries that may wait at a time.
const QUERIES_MAX: usize = 1024;

type Query = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the reader.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    /// A thread, which ends when the last way to it is dropped.
    Thread(SyncSender<Query>),
    /// Whoever asks reads: for simulations, where nothing happens on another thread.
    Here(Arc<Mutex<Connection>>),
}

impl Reader {
    pub(super) fn start(connection: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (send, receive) = sync_channel(QUERIES_MAX);
        let thread =
            std::thread::Builder::new().name("store-reader".into()).spawn(move || read(connection, &receive))?;
        Ok((Self::Thread(send), thread))
    }

    /// Ask something; everything asked in one query is of one moment.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            // Nobody may be waiting any more.
            drop(reply.send(at_one_moment(connection, query)));
        });
        match self {
            Self::Thread(send) => send.try_send(query).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Closed,
            })?,
            Self::Here(connection) => query(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)),
        }
        // The thread answers everything that it was sent, even while the store closes, unless a query panics.
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Unreadable("a query broke off, by a fault of potluck's".into())))
    }
}

/// Run a query inside a read transaction.
pub(super) fn at_one_moment<T>(
    connection: &mut Connection,
    query: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction()?;
    let answer = query(&transaction)?;
    transaction.finish()?;
    Ok(answer)
}

fn read(mut connection: Connection, queries: &Receiver<Query>) {
    while let Ok(query) = queries.recv() {
        // A transaction that is dropped is rolled back, so the connection is good for the next query.
        if catch_unwind(AssertUnwindSafe(|| query(&mut connection))).is_err() {
            tracing::error!("a query of the store panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_query_that_panics_fails_alone() {
        let connection = Connection::open_in_memory().expect("memory");
        let (reader, thread) = Reader::start(connection).expect("started");
        for _ in 0..2 {
            let broken = reader.ask::<()>(|_| panic!("by this test, on purpose")).await;
            assert!(matches!(&broken, Err(StoreError::Unreadable(why)) if why.contains("potluck")), "{broken:?}");
            let answer = reader.ask(|c| Ok(c.query_row("SELECT 42", [], |row| row.get::<_, i64>(0))?)).await;
            assert_eq!(answer.expect("answered"), 42);
        }
        drop(reader);
        thread.join().expect("it ended in order");
    }
}
