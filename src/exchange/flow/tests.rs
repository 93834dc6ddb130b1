//! A flow alone: its output for each input, however the input is split.

use super::super::buffer::{BUFFER_BYTES, LARGE_BYTES};
use super::{
    ANY_BYTES, Body, Buffers, Encoding, FAST_BYTES, Flow, GATHER_BYTES, HeadLimits, Move, PIPE_HELD_MAX,
    SPLICE_RUN_MIN,
};
use crate::http::chunked::Decoder;

const LIMITS: HeadLimits = HeadLimits::DEFAULT;

/// A flow whose source and sink are ready.
fn flow(body: Body, encoding: Encoding) -> Flow {
    let mut flow = Flow { body, encoding, ..Flow::new() };
    flow.source.ready = true;
    flow.sink.ready = true;
    flow
}

fn receive(flow: &mut Flow, bytes: &[u8], buffers: &mut Buffers) {
    let incoming = flow.incoming.open_for_read(buffers, LIMITS.head_bytes_max + 1);
    incoming.extend_from_slice(bytes);
    flow.read(false);
    flow.source.ready = true;
    flow.advance(&LIMITS, buffers).expect("well-formed");
}

/// Takes up to `count` octets of what the flow holds for the sink.
fn give(flow: &mut Flow, count: usize, buffers: &mut Buffers) -> Vec<u8> {
    let mut taken = flow.memory().concat();
    taken.truncate(count);
    flow.wrote(taken.len(), buffers);
    flow.advance(&LIMITS, buffers).expect("well-formed");
    taken
}

/// The whole output for `pieces`, written in parts of `step` octets; `ends`: the source ends after them.
fn pass(mut flow: Flow, pieces: &[&[u8]], step: usize, ends: bool) -> Vec<u8> {
    let mut buffers = Buffers::default();
    let mut out = Vec::new();
    for piece in pieces {
        receive(&mut flow, piece, &mut buffers);
        while flow.has_memory() {
            out.extend(give(&mut flow, step, &mut buffers));
        }
    }
    if ends {
        flow.source_ended(&mut buffers).expect("complete");
        while flow.has_memory() {
            out.extend(give(&mut flow, step, &mut buffers));
        }
    }
    assert!(flow.is_delivered());
    out
}

fn chunked() -> Body {
    Body::Chunked(Decoder::new())
}

#[test]
fn chunks_are_written_anew_wherever_they_are_split() {
    let wire = b"5;ext=\"a\"\r\nhello\r\n00A\r\n, wor\r\nld!\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n";
    let expected = b"5\r\nhello\r\na\r\n, wor\r\nld!\r\n0\r\nX-Sum: 1\r\n\r\n";
    for at in 0..=wire.len() {
        let (front, back) = wire.split_at(at);
        for step in [1, 7, 1_000] {
            let out = pass(flow(chunked(), Encoding::Chunked), &[front, back], step, false);
            assert_eq!(out, expected, "split at {at}, written by {step}");
        }
    }
}

#[test]
fn chunks_are_taken_off_for_a_client_of_1_0() {
    let wire = b"5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";
    for at in 0..=wire.len() {
        let (front, back) = wire.split_at(at);
        assert_eq!(
            pass(flow(chunked(), Encoding::AsIs), &[front, back], 3, false),
            b"hello!",
            "split at {at}"
        );
    }
}

#[test]
fn a_read_without_framing_becomes_a_chunk() {
    let out = pass(flow(Body::UntilClose, Encoding::Chunked), &[b"hello", b"!"], 4, true);
    assert_eq!(out, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n");
}

#[test]
fn the_end_of_a_long_chunk_leaves_with_it() {
    let content = vec![b'x'; 9_000];
    let mut flow = flow(Body::UntilClose, Encoding::Chunked);
    let mut buffers = Buffers::default();
    receive(&mut flow, &content, &mut buffers);
    let expected = [b"2328\r\n", &content[..], b"\r\n"].concat();
    assert_eq!(flow.memory().concat(), expected);
    // The socket may take any part of it.
    for step in [1, 4, 6, 9_005, 9_006, 9_007, 9_008] {
        let ended = [&expected[..], b"0\r\n\r\n"].concat();
        assert_eq!(pass(self::flow(Body::UntilClose, Encoding::Chunked), &[&content], step, true), ended);
    }
}

#[test]
fn bytes_behind_a_body_stay() {
    let mut flow = flow(Body::Length(5), Encoding::AsIs);
    let mut buffers = Buffers::default();
    receive(&mut flow, b"helloGET /", &mut buffers);
    assert_eq!(give(&mut flow, 100, &mut buffers), b"hello");
    assert!(flow.is_delivered());
    assert!(flow.has_surplus());
    assert_eq!(flow.incoming.unread(), b"GET /");
}

#[test]
fn what_was_copied_can_be_sent_again() {
    let mut flow = flow(Body::Length(5), Encoding::AsIs);
    let mut buffers = Buffers::default();
    flow.rewindable = true;
    flow.outgoing.open(&mut buffers).extend_from_slice(b"HEAD");
    receive(&mut flow, b"hel", &mut buffers);
    assert_eq!(give(&mut flow, 6, &mut buffers), b"HEADhe");
    assert_eq!(give(&mut flow, 9, &mut buffers), b"l");
    flow.settle(&mut buffers);
    flow.outgoing.rewind();
    receive(&mut flow, b"lo", &mut buffers);
    assert!(flow.rewindable);
    assert_eq!(give(&mut flow, 9, &mut buffers), b"HEADhello");
}

#[test]
fn what_is_long_cannot_be_sent_again() {
    let mut flow = flow(Body::Length(20_000), Encoding::AsIs);
    let mut buffers = Buffers::default();
    flow.rewindable = true;
    flow.outgoing.open(&mut buffers).extend_from_slice(b"HEAD");
    receive(&mut flow, &[b'x'; 9_000], &mut buffers);
    // Only the head was written: everything can still be sent again.
    assert_eq!(give(&mut flow, 4, &mut buffers), b"HEAD");
    assert!(flow.rewindable);
    assert_eq!(give(&mut flow, 1, &mut buffers), b"x");
    assert!(!flow.rewindable);
}

#[test]
fn memory_that_is_full_ends_the_possibility_to_send_again() {
    let mut flow = flow(Body::Length(100_000), Encoding::AsIs);
    let mut buffers = Buffers::default();
    flow.rewindable = true;
    let mut pieces = 0;
    while flow.rewindable {
        receive(&mut flow, &[b'x'; 1_000], &mut buffers);
        assert_eq!(give(&mut flow, 9_999, &mut buffers).len(), 1_000);
        pieces += 1;
    }
    assert_eq!(pieces, 17, "16 KiB hold 16 pieces of 1000 octets");
}

#[test]
fn nothing_is_read_into_memory_while_the_pipe_holds_older_octets() {
    let run = SPLICE_RUN_MIN;
    let mut flow = flow(Body::Length(run), Encoding::AsIs);
    let mut buffers = Buffers::default();
    flow.advance(&LIMITS, &mut buffers).expect("well-formed");
    assert_eq!(flow.move_from_source(), Some(Move::Fill));
    let half = usize::try_from(run / 2).expect("it fits");
    flow.filled(half);
    assert_eq!(flow.move_to_sink(), Some(Move::Drain));
    // The pipe may be full, or the source empty: only a drain decides.
    flow.fill_blocked();
    assert_eq!(flow.move_from_source(), None);
    assert!(flow.source.ready);
    flow.drained(1);
    assert_eq!(flow.move_from_source(), Some(Move::Fill));
    flow.drained(half - 1);
    flow.fill_blocked();
    assert!(!flow.source.ready);
}

#[test]
fn the_framing_behind_a_spliced_chunk_waits_for_the_pipe() {
    let mut flow = flow(chunked(), Encoding::Chunked);
    let mut buffers = Buffers::default();
    receive(&mut flow, b"40000\r\n", &mut buffers);
    assert_eq!(give(&mut flow, 100, &mut buffers), b"40000\r\n");
    assert_eq!(flow.move_from_source(), Some(Move::Fill));
    assert_eq!(flow.fill_max(), 0x40000);
    flow.filled(0x40000);
    assert_eq!(flow.move_from_source(), None);
    flow.drained(0x40000);
    assert!(!flow.is_delivered());
    assert_eq!(flow.move_from_source(), Some(Move::Read));
    receive(&mut flow, b"\r\n0\r\n\r\n", &mut buffers);
    assert_eq!(give(&mut flow, 100, &mut buffers), b"\r\n0\r\n\r\n");
    assert!(flow.is_delivered());
}

#[test]
fn the_pipe_holds_no_more_than_it_may() {
    let mut flow = flow(Body::Length(u64::MAX), Encoding::AsIs);
    flow.advance(&LIMITS, &mut Buffers::default()).expect("well-formed");
    assert_eq!(flow.fill_max(), PIPE_HELD_MAX);
    flow.filled(PIPE_HELD_MAX);
    assert_eq!(flow.move_from_source(), None);
}

#[test]
fn a_body_that_ends_early_is_not_complete() {
    for body in [Body::Length(1), chunked(), Body::Trailers] {
        let mut flow = flow(body, Encoding::AsIs);
        assert!(flow.source_ended(&mut Buffers::default()).is_err(), "{body:?}");
    }
}

#[test]
fn what_is_thrown_away_ends_where_it_would() {
    let mut flow = flow(chunked(), Encoding::Chunked);
    let mut buffers = Buffers::default();
    receive(&mut flow, b"5\r\nhel", &mut buffers);
    flow.discard();
    assert!(!flow.has_memory());
    receive(&mut flow, b"lo\r\n0\r\n\r\nGET /", &mut buffers);
    assert!(flow.is_delivered());
    assert_eq!(flow.incoming.unread(), b"GET /");
}

/// Chunks of `size` octets and the last chunk, with these size lines.
fn in_chunks(lines: &[&str], size: usize, end: &str) -> Vec<u8> {
    let chunk = |line: &&str| [line.as_bytes(), b"\r\n", &vec![b'x'; size], b"\r\n"].concat();
    lines.iter().map(chunk).collect::<Vec<_>>().concat().into_iter().chain(end.bytes()).collect()
}

#[test]
fn chunks_framed_as_they_would_be_written_leave_in_one_write() {
    let plain = in_chunks(&["bb8"; 5], 3_000, "0\r\n\r\n");
    let mut buffers = Buffers::default();
    let mut flow = flow(chunked(), Encoding::Chunked);
    flow.outgoing.open(&mut buffers).extend_from_slice(b"HEAD");
    receive(&mut flow, &[&plain[..], b"GET /"].concat(), &mut buffers);
    assert_eq!(flow.memory(), [b"HEAD", &plain[..], b""]);
    assert_eq!((flow.content_bytes, flow.content_given()), (15_000, 0));
    assert_eq!(give(&mut flow, usize::MAX, &mut buffers).len(), 4 + plain.len());
    assert!(flow.is_delivered());
    assert_eq!(flow.content_given(), 15_000);
    assert_eq!(flow.incoming.unread(), b"GET /");
}

#[test]
fn chunks_framed_otherwise_are_written_anew_among_those_that_are_not() {
    let size = 3_000;
    let expected = in_chunks(&["bb8"; 4], size, "0\r\n\r\n");
    for odd in ["0bb8", "BB8", "bb8;a=b"] {
        for at in 0..4 {
            let mut lines = ["bb8"; 4];
            lines[at] = odd;
            let wire = in_chunks(&lines, size, "0\r\n\r\n");
            for split in
                [0, 1, 5, 3_000, 3_004, 3_005, 3_006, 3_007, 3_010, 6_011, wire.len() - 6, wire.len() - 1]
            {
                let (front, back) = wire.split_at(split);
                let out = pass(flow(chunked(), Encoding::Chunked), &[front, back], 4_000, false);
                assert_eq!(out, expected, "{odd} at {at}, split at {split}");
            }
        }
    }
    for end in ["0\r\nX-Sum: 1\r\nHost: h\r\n\r\n", "000\r\nX-Sum:1\r\n\r\n"] {
        let wire = in_chunks(&["bb8"; 4], size, end);
        let out = pass(flow(chunked(), Encoding::Chunked), &[&wire], 4_000, false);
        assert_eq!(out, in_chunks(&["bb8"; 4], size, "0\r\nX-Sum: 1\r\n\r\n"), "{end:?}");
    }
}

#[test]
fn broken_framing_behind_whole_chunks_is_met_when_they_have_left() {
    let mut buffers = Buffers::default();
    let mut flow = flow(chunked(), Encoding::Chunked);
    let whole = in_chunks(&["bb8"; 2], 3_000, "");
    receive(&mut flow, &[&whole[..], b"0x5\r\n"].concat(), &mut buffers);
    let waits = flow.memory().concat();
    assert_eq!(waits, whole[..whole.len() - 2], "the last CRLF is read with the line behind it");
    flow.wrote(waits.len(), &mut buffers);
    assert!(flow.advance(&LIMITS, &mut buffers).is_err());
}

#[test]
fn a_larger_buffer_is_taken_only_where_one_was_filled() {
    let mut buffers = Buffers::default();
    let mut flow = flow(Body::UntilClose, Encoding::Chunked);
    for (full, capacity) in
        [(false, BUFFER_BYTES), (true, BUFFER_BYTES), (false, LARGE_BYTES), (true, LARGE_BYTES)]
    {
        let incoming = flow.open_for_read(&mut buffers, LIMITS.head_bytes_max + 1);
        assert_eq!(incoming.capacity(), capacity);
        incoming.extend_from_slice(b"hello");
        flow.read(full);
        flow.advance(&LIMITS, &mut buffers).expect("well-formed");
        while flow.has_memory() {
            give(&mut flow, 100, &mut buffers);
        }
        flow.settle(&mut buffers);
    }
    assert_eq!(flow.content_bytes, 20);
}

#[test]
fn chunks_are_read_into_buffers_of_the_usual_size() {
    let mut buffers = Buffers::default();
    let mut flow = flow(chunked(), Encoding::Chunked);
    flow.large_reads = true;
    assert_eq!(flow.open_for_read(&mut buffers, LIMITS.head_bytes_max + 1).capacity(), BUFFER_BYTES);
}

#[test]
fn a_larger_buffer_is_not_taken_in_place_of_one_that_holds_octets() {
    let mut buffers = Buffers::default();
    let mut flow = flow(chunked(), Encoding::Chunked);
    // The read that filled its buffer ends within the trailers, which are read as a whole.
    receive(&mut flow, b"5\r\nhello\r\n0\r\nX-Su", &mut buffers);
    flow.read(true);
    assert_eq!(give(&mut flow, 100, &mut buffers), b"5\r\nhello\r\n");
    flow.open_for_read(&mut buffers, LIMITS.head_bytes_max + 1).extend_from_slice(b"m: 1\r\n\r\n");
    flow.advance(&LIMITS, &mut buffers).expect("well-formed");
    assert_eq!(give(&mut flow, 100, &mut buffers), b"0\r\nX-Sum: 1\r\n\r\n");
}

/// A flow that has passed `burst` octets of a long body through its pipe, and found nothing more to read.
fn waiting(body: Body, burst: usize) -> Flow {
    let mut flow = flow(body, Encoding::AsIs);
    flow.splices = true;
    flow.filled(burst);
    flow.drained(burst);
    flow.fill_blocked();
    flow
}

#[test]
fn much_is_waited_for_where_it_came_fast_and_is_to_come() {
    let much = 2 * GATHER_BYTES as u64;
    for (left, burst, expected) in [
        (much, FAST_BYTES, GATHER_BYTES),
        (much, FAST_BYTES - 1, ANY_BYTES),
        (much - 1, FAST_BYTES, ANY_BYTES),
    ] {
        let mut flow = waiting(Body::Length(left + burst as u64), burst);
        assert_eq!(flow.waits_for(ANY_BYTES), Some(expected), "{left} to come behind {burst}");
    }
    // A source that declares no length may pause at any octet.
    assert_eq!(waiting(Body::UntilClose, 1 << 20).waits_for(ANY_BYTES), Some(ANY_BYTES));
}

#[test]
fn a_wait_for_much_goes_on_until_the_source_was_asked() {
    let mut flow = waiting(Body::Length(10 << 20), FAST_BYTES);
    assert_eq!(flow.waits_for(ANY_BYTES), Some(GATHER_BYTES));
    // An event of the sink alone.
    assert_eq!(flow.waits_for(GATHER_BYTES), Some(GATHER_BYTES));
    // After the wait: nothing arrived, or little.
    flow.source.ready = true;
    flow.fill_blocked();
    assert_eq!(flow.waits_for(GATHER_BYTES), Some(ANY_BYTES));
    assert_eq!(flow.waits_for(ANY_BYTES), Some(ANY_BYTES));
    flow.filled(FAST_BYTES - 1);
    flow.drained(FAST_BYTES - 1);
    assert_eq!(flow.waits_for(ANY_BYTES), Some(ANY_BYTES));
}

#[test]
fn a_sink_that_takes_nothing_is_no_wait_for_the_source() {
    let mut flow = flow(Body::Length(10 << 20), Encoding::AsIs);
    flow.splices = true;
    flow.filled(PIPE_HELD_MAX);
    flow.sink.ready = false;
    assert_eq!((flow.waits_for(ANY_BYTES), flow.waits_for(GATHER_BYTES)), (None, None));
}

#[test]
fn more_follows_where_a_long_run_is_there_for_all_that_is_known() {
    for (left, ready, encoding, expected) in [
        (SPLICE_RUN_MIN, true, Encoding::AsIs, true),
        (SPLICE_RUN_MIN - 1, true, Encoding::AsIs, false),
        // A short read: nothing more to read for now.
        (SPLICE_RUN_MIN, false, Encoding::AsIs, false),
        (SPLICE_RUN_MIN, true, Encoding::Discard, false),
    ] {
        let mut flow = flow(Body::Length(left), encoding);
        flow.source.ready = ready;
        assert_eq!(flow.more_follows(), expected, "{left} {ready} {encoding:?}");
        flow.goes_without_pipe();
        assert!(!flow.more_follows());
    }
    assert!(!flow(Body::UntilClose, Encoding::AsIs).more_follows());
    let mut closing = flow(Body::Length(SPLICE_RUN_MIN), Encoding::AsIs);
    closing.source.closing = true;
    assert!(!closing.more_follows(), "its end is read for whatever is there");
}
