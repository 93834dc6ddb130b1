//! A world around one worker: the real worker, on a simulated kernel with clients, backends, names and a clock, edge-triggered as
//! epoll is. All that happens in it is chosen by a seed, or by the octets of a fuzzer.
#![allow(clippy::struct_excessive_bools, reason = "the independent facts of one peer, socket or plan")]

mod backend;
mod check;
mod choices;
mod client;
mod content;
mod control;
mod listener;
mod octets;
mod pace;
mod pipe;
mod polling;
mod record;
mod script;
mod sim;
mod socket;
mod system;
mod trace;
mod wire;

use apex::log::queue::Tail;
use apex::metrics::Counters;
use apex::worker::{Ownership, Setup, Turn, Worker};
use choices::Choices;
use client::Client;
use control::Control;
use record::{Book, Record};
use script::{Manner, Plan, Scene, Script};
use sim::Sim;
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// What the worker of this thread has told last.
    static REPORTED: Cell<String> = const { Cell::new(String::new()) };
}

/// Turns after which a worker that is to leave has left.
const LEAVING_TURNS_MAX: usize = 10_000;

/// One worker and everybody around it.
pub(crate) struct World {
    worker: Worker<Sim>,
    tail: Tail,
    /// Access lines.
    log: Vec<u8>,
    counters: Arc<Counters>,
}

impl World {
    /// The world of a seed.
    pub(crate) fn by_seed(seed: u64) -> Self {
        Self::new(Choices::by_seed(seed))
    }

    fn new(mut choices: Choices) -> Self {
        let scene = Scene::draw(&mut choices);
        let (control, endpoints) = Control::draw(&scene, &mut choices);
        let mut book = Book::new(scene.mood, endpoints.len());
        let clients = draw_clients(&scene, &mut book, &mut choices);
        let mailbox = control.mailbox.clone();
        let shared = Arc::clone(&control.shared);
        let mut sim = Sim::new(scene, choices, book, endpoints, control);
        sim.clients = clients;
        let listeners = vec![sim.bind(Ownership::Exclusive)];
        let (lines, tail) = Tail::pair();
        let counters = Arc::<Counters>::default();
        let setup = Setup {
            number: 0,
            listeners,
            shared,
            counters: Arc::clone(&counters),
            lines,
            report: |words| REPORTED.set(format!("{words:?}")),
        };
        Self { worker: Worker::new(sim, setup, mailbox), tail, log: Vec::new(), counters }
    }

    /// Lets everything happen.
    ///
    /// # Errors
    /// What did not hold.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        // Until nobody can do anything any more, and nothing is due.
        let left = self.turn_until(|sim| sim.rests)?;
        if !left {
            let held = self.worker.held();
            self.worker.system().check_end(held);
            self.worker.system().leave();
            self.worker.system().rests = false;
            let mut turns = 0;
            let left = self.turn_until(|_| {
                turns += 1;
                turns > LEAVING_TURNS_MAX
            })?;
            if !left {
                return Err("the worker does not leave".into());
            }
        }
        self.check_left()
    }

    /// Turns until that holds, or the worker has left. True where it has.
    fn turn_until(&mut self, mut is_over: impl FnMut(&Sim) -> bool) -> Result<bool, String> {
        loop {
            let turn = self.worker.turn();
            while let Some(batch) = self.tail.take() {
                self.log.extend_from_slice(&batch);
            }
            let held = self.worker.held();
            let sim = self.worker.system();
            sim.reap();
            sim.check_turn(held);
            if let Some(what) = sim.failure.take() {
                return Err(what);
            }
            if let Turn::Left { .. } = turn {
                return Ok(true);
            }
            if is_over(sim) {
                return Ok(false);
            }
        }
    }

    fn check_left(&mut self) -> Result<(), String> {
        let sim = self.worker.system();
        if !sim.book.leaving && !sim.book.ending {
            return Err("the worker left, and nobody told it to".into());
        }
        let counters = &self.counters;
        if counters.panics.get() > 0 {
            return Err(format!("the worker panicked while it served a client: {}", REPORTED.take()));
        }
        if counters.connections_accepted.get() != counters.connections_closed.get() {
            return Err("connections are counted that were not closed".into());
        }
        Ok(())
    }

    /// What happened last, and in what world.
    pub(crate) fn told(&mut self) -> String {
        let sim = self.worker.system();
        let mut told = format!("{:?}\n{}now {}", sim.scene, sim.trace, sim.now);
        let clients = sim.clients.iter().map(Client::told);
        for text in clients.chain(sim.backends.iter().map(backend::Backend::told)) {
            told.push_str(
                "
  ",
            );
            told.push_str(&text);
        }
        told
    }
}

fn draw_clients(scene: &Scene, book: &mut Book, choices: &mut Choices) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..choices.within(1, if scene.is_eager() { 3 } else { 6 }) {
        let count = choices.within(1, if scene.busy { 8 } else { 5 });
        let first = book.plans.len();
        for place in 0..count {
            let plan = Plan::draw(choices, first + place, scene, place + 1 == count);
            book.plans.push(plan);
            book.records.push(Record::default());
        }
        let script = Script::draw(choices, (first..first + count).collect(), scene);
        if matches!(script.manner, Manner::Drips(_)) && choices.percent(50) {
            book.plans[first..].iter_mut().for_each(Plan::expect_and_get_nothing);
        }
        clients.push(Client::new(script, scene, book, choices));
    }
    clients
}
