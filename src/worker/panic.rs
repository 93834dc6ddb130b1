//! A bug costs one connection: a panic while a client is served closes that client and is counted; the worker
//! continues.
//!
//! The exchange is dropped with its buffers and pipes; none of them goes back to a pool. Its backend
//! connection is closed. The hook that reports the place of the panic to the operator is set at the start of
//! the process.

use super::reactor::Worker;
use crate::net::System;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

impl<S: System> Worker<S> {
    /// Calls [`Worker::serve_all`] until it returns: after a panic, the remaining work is done.
    ///
    /// # Panics
    /// A panic outside the service of a client is propagated: the state of the worker is unknown.
    pub(super) fn serve_all_despite_panics(&mut self) {
        // Unwind safe: state shared between clients changes in whole steps (a slot, a list, a pool), and all
        // state of the client is dropped. Each panic removes a client, so the loop ends.
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
        // It is not reused for another client.
        let active = exchange.and_then(|exchange| self.exchanges.remove(exchange));
        if let Some(link) = active.and_then(|active| active.link) {
            self.resources.close_link(link);
        }
    }
}
