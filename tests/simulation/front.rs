//! What the worker has of one client connection, and the rules that every step is held to.

use super::kernel::Pipe;
use super::random::Random;
use apex::exchange::{Exchange, Outcome, Side, Step};

/// Octets that a pipe may hold, as the exchange promises.
const PIPE_HELD_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) socket: usize,
    pub(crate) exchange: Exchange,
    /// The socket of the backend connection.
    pub(crate) backend: Option<usize>,
    /// The pipes of the two directions, by the side that fills them.
    pipes: [Option<Pipe>; 2],
    /// Exchanges that were finished.
    pub(crate) place: usize,
    /// It has stopped for fairness and goes on by itself.
    pub(crate) queued: bool,
    pub(crate) closed: bool,
    /// Backend connections that this exchange has written to.
    pub(crate) written_to: usize,
    /// The connection under way was written to.
    pub(crate) wrote: bool,
    /// Some of the response was read.
    pub(crate) heard: bool,
    /// Deadlines that passed in this exchange.
    pub(crate) expired: usize,
    /// Steps that were blocked since something last moved or became ready.
    blocked: Vec<Step>,
}

impl Front {
    pub(crate) fn new(socket: usize) -> Self {
        Self {
            socket,
            exchange: Exchange::new(),
            backend: None,
            pipes: [None, None],
            place: 0,
            queued: false,
            closed: false,
            written_to: 0,
            wrote: false,
            heard: false,
            expired: 0,
            blocked: Vec::new(),
        }
    }

    /// The next exchange begins.
    pub(crate) fn next(&mut self) {
        self.place += 1;
        self.written_to = 0;
        self.wrote = false;
        self.heard = false;
        self.expired = 0;
        // A pipe with octets left in it is dropped, never used again.
        for pipe in &mut self.pipes {
            pipe.take_if(|pipe| pipe.held() > 0);
        }
    }

    pub(crate) fn pipe(&mut self, filled_by: Side, random: &mut Random) -> &mut Pipe {
        self.pipes[usize::from(filled_by == Side::Backend)].get_or_insert_with(|| Pipe::new(random))
    }

    fn held(&self, filled_by: Side) -> usize {
        self.pipes[usize::from(filled_by == Side::Backend)].as_ref().map_or(0, Pipe::held)
    }

    /// The backend connection is let go: a pipe that holds octets for it is dropped.
    pub(crate) fn drop_request_pipe(&mut self) {
        self.pipes[0].take_if(|pipe| pipe.held() > 0);
    }

    /// Something became ready.
    pub(crate) fn woken(&mut self) {
        self.blocked.clear();
    }

    /// Whether the step may be performed now.
    pub(crate) fn check_step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Read(Side::Backend)
            | Step::Peek(Side::Backend)
            | Step::Write(Side::Backend)
            | Step::Fill(Side::Backend)
                if self.backend.is_none() =>
            {
                return Err("a step for a backend that is not there".into());
            }
            // Behind the end of a response only a connection that is not clean is found; what comes goes to nobody.
            Step::Read(side) if self.held(side) > 0 && side == Side::Client => {
                return Err("memory is filled while the pipe holds older octets".into());
            }
            Step::Write(side) => {
                let pieces = self.exchange.outgoing(side);
                if pieces.iter().all(|piece| piece.is_empty()) {
                    return Err("a write of nothing".into());
                }
            }
            Step::Fill(side) => {
                let max = self.exchange.fill_max(side);
                if max == 0 || self.held(side) + max > PIPE_HELD_MAX {
                    return Err(format!("a fill of {max} into a pipe that holds {}", self.held(side)));
                }
            }
            Step::Dial { .. } if self.heard => {
                return Err("a request is sent again although some of its response was seen".into());
            }
            Step::Dial { .. } if self.backend.is_some() => {
                return Err("two backend connections at once".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes an outcome; nothing is tried again before something has changed.
    pub(crate) fn check_outcome(&mut self, step: Step, outcome: Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Blocked if self.blocked.contains(&step) => {
                return Err(format!("{step:?} is tried again and again"));
            }
            Outcome::Blocked => self.blocked.push(step),
            Outcome::Moved { .. } => {
                self.blocked.clear();
                match step {
                    Step::Write(Side::Backend) | Step::Drain(Side::Backend) if !self.wrote => {
                        self.wrote = true;
                        self.written_to += 1;
                    }
                    Step::Read(Side::Backend) | Step::Fill(Side::Backend) => self.heard = true,
                    _ => {}
                }
            }
            _ => self.blocked.clear(),
        }
        Ok(())
    }
}
