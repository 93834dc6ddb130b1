//! The thread that writes the access log, the only place in Apex that sleeps and polls.
//!
//! It polls the queue fifty times a second, less often the longer it stays empty, so that no worker makes a
//! system call to wake it. An output that fails or blocks costs lines, which are counted and reported; it
//! never costs an exchange, and delays the exit of the process by at most `STOP_WAIT`.

use super::queue::{Lines, Order, Shared};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The writer's sleep after a poll that found lines. Each wake takes CPU time from a worker, and readers of a
/// log do not notice the delay: at 60,000 lines a second, sleeps of 5 ms cost half of the writer's CPU time.
const NAP_MIN: Duration = Duration::from_millis(20);

/// The writer's sleep if its output has no room: with it, a pipe of 64 KiB passes 13 MB a second.
const NAP_BLOCKED: Duration = Duration::from_millis(5);

/// The longest sleep while the queue stays empty; each sleep is twice the one before. Ten polls a second have
/// no measurable cost, and this bounds the delay of a line.
const NAP_MAX: Duration = Duration::from_millis(100);

/// Batches in one `writev`.
const GATHER_BATCHES_MAX: usize = 64;

/// The shortest time between two reports of dropped lines.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// The time that [`Writer::stop`] waits for an output that blocks.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// How a writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All queued lines were written, or dropped and reported.
    Drained,
    /// The output blocked for `STOP_WAIT`; the queued lines are lost.
    Abandoned,
}

/// The thread that writes the access log.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Nothing is ever sent: it is disconnected when the thread ends.
    ended: mpsc::Receiver<()>,
}

impl Writer {
    /// Starts the thread. It writes lines to `out` (unbuffered: a file, not `Stdout`) and its own errors to
    /// `complaints`.
    ///
    /// # Errors
    /// The system refused a thread.
    pub fn spawn(
        out: impl Write + Send + 'static,
        complaints: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new());
        let (end, ended) = mpsc::channel();
        let mut scribe = Scribe {
            shared: Arc::clone(&shared),
            out,
            complaints,
            batches: Vec::with_capacity(GATHER_BATCHES_MAX),
            line_open: false,
            kinds_said: Vec::new(),
            reported: 0,
            reported_at: None,
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            scribe.run();
            drop(end);
        })?;
        Ok(Self { shared, thread: Some(thread), ended })
    }

    /// A worker's end; one for each worker.
    pub fn lines(&self) -> Lines {
        Lines::new(Arc::clone(&self.shared))
    }

    /// Lines lost since the start, because the queue was full or the output failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Ends the thread after it has written the queued lines (drop every [`Lines`] first, because they hold
    /// lines too), or after `STOP_WAIT` if the output blocks. In that case the thread is left running,
    /// because a blocked write cannot be ended.
    pub fn stop(mut self) -> Stopped {
        self.tell(Order::Drain);
        match self.ended.recv_timeout(STOP_WAIT) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                // The thread has finished its last write, so this does not wait.
                if let Some(thread) = self.thread.take() {
                    let _ = thread.join();
                }
                Stopped::Drained
            }
            Err(RecvTimeoutError::Timeout) => {
                self.tell(Order::Abandon);
                self.thread = None;
                Stopped::Abandoned
            }
        }
    }

    fn tell(&self, order: Order) {
        // The thread reads the order after its sleep, at most NAP_MAX later.
        self.shared.set_order(order);
    }
}

impl Drop for Writer {
    /// A writer that was not stopped writes what is queued and ends; no thread waits for it.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.tell(Order::Drain);
        }
    }
}

/// The result of a poll of the queue.
#[derive(PartialEq, Eq)]
enum Look {
    Lines,
    Nothing,
}

/// Sleeps. No thread wakes the writer, so that no worker pays for a wake-up.
#[expect(clippy::disallowed_methods, reason = "the writer is the one that waits by sleeping")]
fn doze(nap: Duration) {
    thread::sleep(nap);
}

/// The state of the thread.
struct Scribe<O, C> {
    shared: Arc<Shared>,
    out: O,
    complaints: C,
    batches: Vec<Vec<u8>>,
    /// A write failed within a line, whose end is missing in the output.
    line_open: bool,
    /// The kinds of errors already reported; each is reported once.
    kinds_said: Vec<ErrorKind>,
    /// Dropped lines already reported, and the time of the last report.
    reported: u64,
    reported_at: Option<Instant>,
}

impl<O: Write, C: Write> Scribe<O, C> {
    fn run(&mut self) {
        let mut nap = NAP_MIN;
        loop {
            // Read before the poll, so that the poll sees all lines queued before the order.
            let order = self.shared.order();
            let found = self.look();
            match (order, found) {
                (Order::Run, Look::Lines) => nap = NAP_MIN,
                (Order::Run, Look::Nothing) => nap = (nap * 2).min(NAP_MAX),
                (Order::Drain, Look::Lines) => continue,
                (Order::Drain, Look::Nothing) | (Order::Abandon, _) => break,
            }
            self.report_dropped();
            doze(nap);
        }
        self.reported_at = None;
        self.report_dropped();
        let _ = self.out.flush();
    }

    /// Writes what is queued, in as few writes as possible.
    fn look(&mut self) -> Look {
        let mut found = Look::Nothing;
        // Bounded by the size of the queue, so that orders and reports are handled while the workers are
        // busy.
        for _ in 0..super::queue::QUEUE_BATCHES_MAX.div_ceil(GATHER_BATCHES_MAX) {
            while self.batches.len() < GATHER_BATCHES_MAX {
                let Some(batch) = self.shared.take() else { break };
                self.batches.push(batch);
            }
            if self.batches.is_empty() {
                break;
            }
            found = Look::Lines;
            self.write_gathered();
            for batch in self.batches.drain(..) {
                self.shared.give_back(batch);
            }
        }
        found
    }

    fn write_gathered(&mut self) {
        let open = self.line_open;
        let mut slices = [IoSlice::new(&[]); GATHER_BATCHES_MAX + 1];
        // First the end of a line that a failed write tore; otherwise the next line would be appended to its
        // front part.
        slices[0] = IoSlice::new(if open { b"\n" } else { b"" });
        for (slice, batch) in slices[1..].iter_mut().zip(&self.batches) {
            *slice = IoSlice::new(batch);
        }
        let mut left = &mut slices[..=self.batches.len()];
        IoSlice::advance_slices(&mut left, 0);
        let result = write_all(&mut self.out, left, &self.shared);
        let Err((written, error)) = result else {
            self.line_open = false;
            return;
        };
        self.count_lost(written, open);
        self.say_once(&error);
    }

    /// Counts the lines of the gathered batches that were not written completely, after `written` octets
    /// were.
    fn count_lost(&mut self, written: usize, open: bool) {
        // The line end in front does not belong to the batches.
        let Some(mut skip) = written.checked_sub(usize::from(open)) else {
            self.shared.count_dropped(self.batches.iter().map(|batch| line_ends(batch)).sum());
            return;
        };
        self.line_open = false;
        let mut lost = 0;
        for batch in &self.batches {
            let gone = skip.min(batch.len());
            skip -= gone;
            lost += line_ends(&batch[gone..]);
            if gone > 0 {
                self.line_open = batch[gone - 1] != b'\n';
            }
        }
        self.shared.count_dropped(lost);
    }

    /// Reports an error, once for each kind: a disk that is full for a day makes one line here.
    fn say_once(&mut self, error: &io::Error) {
        if !self.kinds_said.contains(&error.kind()) {
            self.kinds_said.push(error.kind());
            let _ = writeln!(
                self.complaints,
                "apex: access log: {error}; its lines are dropped until it goes again"
            );
        }
    }

    /// Reports lines lost since the last report, unless that was less than [`REPORT_PAUSE`] ago.
    fn report_dropped(&mut self) {
        let lost = self.shared.dropped() - self.reported;
        if lost == 0 {
            return;
        }
        let now = now();
        if self.reported_at.is_some_and(|then| now.duration_since(then) < REPORT_PAUSE) {
            return;
        }
        self.reported += lost;
        self.reported_at = Some(now);
        let plural = if lost == 1 { "" } else { "s" };
        let _ = writeln!(self.complaints, "apex: access log: {lost} line{plural} dropped");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the writer has no turns; it reads the clock only when lines were lost"
)]
fn now() -> Instant {
    Instant::now()
}

fn line_ends(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).map(|_| 1).sum()
}

/// Writes all of `slices`; on failure, returns how many octets were written before.
fn write_all<O: Write>(
    out: &mut O,
    mut slices: &mut [IoSlice<'_>],
    shared: &Shared,
) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while !slices.is_empty() {
        match out.write_vectored(slices) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(count) => {
                written += count;
                IoSlice::advance_slices(&mut slices, count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another program made this output, which is often shared, non-blocking: its reader is slow, not
            // gone.
            Err(error) if error.kind() == ErrorKind::WouldBlock && shared.order() != Order::Abandon => {
                doze(NAP_BLOCKED);
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender};

    /// An output that sends its input to the test and follows a plan for each write: the most octets to take,
    /// or the error to return. Without a plan, it takes everything.
    struct Told {
        plan: std::vec::IntoIter<Result<usize, ErrorKind>>,
        to: Sender<Vec<u8>>,
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.plan.next().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            let _ = self.to.send(bytes[..count].to_vec());
            Ok(count)
        }
        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.write(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(plan: Vec<Result<usize, ErrorKind>>) -> (Told, Receiver<Vec<u8>>) {
        let (to, from) = mpsc::channel();
        (Told { plan: plan.into_iter(), to }, from)
    }

    fn text(from: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(from.iter().flatten().collect()).unwrap()
    }

    #[test]
    fn lines_of_all_workers_come_out_whole_and_in_order() {
        const LINES: usize = 20_000;
        let (out, from) =
            told(vec![Ok(3), Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock), Ok(1), Ok(70_000)]);
        let (complaints, complained) = told(vec![]);
        let writer = Writer::spawn(out, complaints).unwrap();
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let mut lines = writer.lines();
                thread::spawn(move || {
                    for number in 0..LINES {
                        writeln!(lines.line(), "{worker} {number}").unwrap();
                        if number % 7 == 0 {
                            lines.flush();
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(writer.dropped(), 0);
        assert_eq!(writer.stop(), Stopped::Drained);
        let text = text(&from);
        for worker in ["0 ", "1 ", "2 "] {
            let numbers = text.lines().filter_map(|line| line.strip_prefix(worker));
            assert!(numbers.map(|number| number.parse::<usize>().unwrap()).eq(0..LINES));
        }
        assert_eq!(self::text(&complained), "");
    }

    #[test]
    fn a_line_comes_without_a_stop() {
        let (out, from) = told(vec![]);
        let writer = Writer::spawn(out, io::sink()).unwrap();
        let mut lines = writer.lines();
        for _ in 0..2 {
            lines.line().extend_from_slice(b"now\n");
            lines.flush();
            assert_eq!(from.recv_timeout(Duration::from_secs(10)).unwrap(), b"now\n");
        }
    }

    /// Runs the scribe in the test's thread, so that it is known which lines are written together.
    fn scribe(plan: Vec<Result<usize, ErrorKind>>) -> (Scribe<Told, Vec<u8>>, Lines, Receiver<Vec<u8>>) {
        let shared = Arc::new(Shared::new());
        let lines = Lines::new(Arc::clone(&shared));
        let (out, from) = told(plan);
        let scribe = Scribe {
            shared,
            out,
            complaints: Vec::new(),
            batches: Vec::new(),
            line_open: false,
            kinds_said: Vec::new(),
            reported: 0,
            reported_at: None,
        };
        (scribe, lines, from)
    }

    fn log(lines: &mut Lines, text: &[&str]) {
        for line in text {
            lines.line().extend_from_slice(line.as_bytes());
            lines.flush();
        }
    }

    #[test]
    fn batches_go_out_with_one_write() {
        let (mut scribe, mut lines, from) = scribe(vec![]);
        log(&mut lines, &["a\n", "b\n", "c\n"]);
        assert!(scribe.look() == Look::Lines);
        assert_eq!(from.try_recv().unwrap(), b"a\nb\nc\n");
        assert!(scribe.look() == Look::Nothing);
        assert!(from.try_recv().is_err());
    }

    #[test]
    fn a_failing_output_costs_its_lines_and_is_said_once() {
        let full = ErrorKind::StorageFull;
        // The first write takes a line and a half, then the disk is full twice, then the pipe breaks, then
        // writes succeed.
        let (mut scribe, mut lines, from) =
            scribe(vec![Ok(6), Err(full), Err(full), Ok(1), Ok(2), Err(ErrorKind::BrokenPipe)]);
        log(&mut lines, &["one\n", "two\n", "three\n"]);
        scribe.look();
        assert_eq!((scribe.shared.dropped(), scribe.line_open), (2, true));
        log(&mut lines, &["four\n"]);
        scribe.look();
        assert_eq!((scribe.shared.dropped(), scribe.line_open), (3, true));
        log(&mut lines, &["five\n", "six\n"]);
        scribe.look();
        assert_eq!((scribe.shared.dropped(), scribe.line_open), (5, true));
        log(&mut lines, &["seven\n"]);
        scribe.look();
        assert_eq!((scribe.shared.dropped(), scribe.line_open), (5, false));
        scribe.report_dropped();
        scribe.report_dropped();
        scribe.shared.count_dropped(1);
        scribe.report_dropped();
        let said = String::from_utf8(scribe.complaints).unwrap();
        assert_eq!(said.matches("dropped until").count(), 2, "{said}");
        assert_eq!(said.matches("5 lines dropped").count(), 1, "{said}");
        assert_eq!(said.lines().count(), 3, "the second report waits for its second: {said}");
        drop(scribe.out);
        assert_eq!(text(&from), "one\ntw\nfi\nseven\n");
    }

    #[test]
    fn all_drops_are_reported_by_the_end() {
        let (out, _from) = told(vec![Err(ErrorKind::BrokenPipe), Ok(0)]);
        let (complaints, complained) = told(vec![]);
        let writer = Writer::spawn(out, complaints).unwrap();
        let mut lines = writer.lines();
        log(&mut lines, &["a\n"]);
        drop(lines);
        assert_eq!(writer.stop(), Stopped::Drained);
        assert!(text(&complained).contains("1 line dropped"));
    }

    #[test]
    fn an_output_that_blocks_does_not_block_the_end() {
        struct Blocked(Receiver<()>);
        impl Write for Blocked {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, blocked) = mpsc::channel();
        let writer = Writer::spawn(Blocked(blocked), io::sink()).unwrap();
        let mut lines = writer.lines();
        log(&mut lines, &["a\n"]);
        let begun = now();
        assert_eq!(writer.stop(), Stopped::Abandoned);
        assert!(now() - begun < STOP_WAIT * 5);
        drop(release);
    }
}
