//! A bug costs one connection: a panic while a client is served closes that client, is counted, and the worker goes on.
//!
//! What the exchange holds is dropped: its buffers and its pipes go back to no pool. Its backend connection is closed. The hook that tells the operator of the place is set where the process starts.

use super::reactor::Worker;
use crate::net::System;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

impl<S: System> Worker<S> {
    /// [`Worker::serve_all`], to its end: what is left to do after a panic is done.
    ///
    /// # Panics
    /// A panic that no client is to blame for goes on: the worker cannot know what it left behind.
    pub(super) fn serve_all_despite_panics(&mut self) {
        // Unwind safe: what is shared between clients is changed in whole steps (a slot, a list, a pool), and everything that belongs to
        // the client is dropped. Each panic ends a client, so that the loop has an end.
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve_all())) {
            if self.serving.is_none() {
                resume_unwind(panic);
            }
            self.close_panicked();
        }
    }

    #[cold]
    fn close_panicked(&mut self) {
        let Some(key) = self.serving.take() else { return };
        self.resources.counters.panics.add(1);
        let exchange = self.remove_client(key).and_then(|client| client.exchange);
        // It is not stored for another client.
        let active = exchange.and_then(|exchange| self.exchanges.remove(exchange));
        if let Some(link) = active.and_then(|active| active.link) {
            self.resources.close_link(link);
        }
    }
}
