//! A channel between a process and its child: records of text with listening sockets attached (unix(7),
//! `SCM_RIGHTS`). The meaning of the text is defined elsewhere.

use super::Listener;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

/// Maximum number of sockets in one record: the kernel's limit (`SCM_MAX_FD`).
pub const SOCKETS_MAX: usize = 253;

/// Maximum length of the text of one record, in octets.
const WORDS_BYTES_MAX: usize = 16 * 1024;

/// One end of a channel. Records stay whole and in order; the sockets of a record arrive with its text.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// Result of waiting for a record.
#[derive(Debug)]
pub enum Received {
    /// A record.
    Record(String, Vec<Listener>),
    /// The other end is closed.
    Closed,
    /// No record arrived in time.
    Nothing,
}

impl Channel {
    /// Makes both ends: one to keep, one for the standard input of a child process. Other child processes
    /// inherit neither.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (mine, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self { socket: mine }, theirs))
    }

    /// The end that this process was started with.
    ///
    /// # Errors
    /// The standard input is not such a channel.
    pub fn from_standard_input() -> io::Result<Self> {
        let socket = fcntl_dupfd_cloexec(io::stdin(), 3)?;
        let kind = (sockopt::socket_domain(&socket)?, sockopt::socket_type(&socket)?);
        if kind != (AddressFamily::UNIX, SocketType::SEQPACKET) {
            return Err(Errno::PROTOTYPE.into());
        }
        Ok(Self { socket })
    }

    /// Sends a record. Waits at most for `patience` if the other end does not read.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` if the other end is closed; `TimedOut`; other errors of the kernel.
    pub fn send(&self, words: &str, sockets: &[Listener], patience: Duration) -> io::Result<()> {
        if !self.poll(PollFlags::OUT, Some(patience))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let borrowed: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(Errno::MSGSIZE.into());
        }
        // There is room, because only the other end removes records.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let words = [IoSlice::new(words.as_bytes())];
        retry_on_intr(|| rustix::net::sendmsg(&self.socket, &words, &mut beside, flags))?;
        Ok(())
    }

    /// Waits for a record, at most for `patience`, or without a limit.
    ///
    /// # Errors
    /// The record is too long or is not UTF-8, or the process is out of descriptors for its sockets.
    pub fn receive(&self, patience: Option<Duration>) -> io::Result<Received> {
        if !self.poll(PollFlags::IN, patience)? {
            return Ok(Received::Nothing);
        }
        let mut words = vec![0; WORDS_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| {
            rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut words)], &mut beside, flags)
        });
        let received = match received {
            // A process that ends with unread records resets the channel.
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            received => received?,
        };
        let mut sockets = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    sockets.push(Listener::adopt(descriptor)?);
                }
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(Errno::MSGSIZE.into());
        }
        if received.bytes == 0 {
            return Ok(Received::Closed);
        }
        words.truncate(received.bytes);
        let words = String::from_utf8(words).map_err(|_| Errno::ILSEQ)?;
        Ok(Received::Record(words, sockets))
    }

    /// Shuts the channel down in both directions, which wakes waiting threads at both ends.
    pub fn shut(&self) {
        // On a closed channel this has no effect.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Waits until the socket is ready or the other end is closed; false on a timeout.
    fn poll(&self, what: PollFlags, patience: Option<Duration>) -> io::Result<bool> {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut wanted = [PollFd::new(&self.socket, what)];
        Ok(retry_on_intr(|| rustix::event::poll(&mut wanted, timeout.as_ref()))? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener;
    use std::net::Ipv4Addr;

    const SOON: Duration = Duration::from_secs(10);

    fn channel() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel { socket: other })
    }

    fn listener() -> Listener {
        listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().into()
    }

    #[test]
    fn sockets_come_with_their_words() {
        let (one, other) = channel();
        let sockets = [listener(), listener()];
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.address().unwrap()).collect();
        one.send("first", &sockets[..1], SOON).unwrap();
        one.send("second", &[], SOON).unwrap();
        one.send("third", &sockets, SOON).unwrap();
        drop((one, sockets));
        for (words, expected) in
            [("first", &addresses[..1]), ("second", &addresses[..0]), ("third", &addresses[..])]
        {
            let Received::Record(said, came) = other.receive(Some(SOON)).unwrap() else { panic!("{words}") };
            let came: Vec<_> = came.iter().map(|socket| socket.address().unwrap()).collect();
            assert_eq!((said.as_str(), &came[..]), (words, expected));
        }
        assert!(matches!(other.receive(None).unwrap(), Received::Closed));
    }

    #[test]
    fn as_many_go_at_once_as_the_kernel_takes() {
        let (one, other) = channel();
        let socket = listener();
        let mut many: Vec<_> = (0..SOCKETS_MAX).map(|_| socket.try_clone().unwrap()).collect();
        one.send("many", &many, SOON).unwrap();
        let Received::Record(_, came) = other.receive(Some(SOON)).unwrap() else { panic!() };
        assert_eq!(came.len(), SOCKETS_MAX);
        many.push(socket);
        assert!(one.send("too many", &many, SOON).is_err());
    }

    #[test]
    fn nobody_waits_longer_than_he_likes() {
        let (one, other) = channel();
        assert!(matches!(other.receive(Some(Duration::from_millis(10))).unwrap(), Received::Nothing));
        let full = std::iter::repeat_with(|| one.send(&"a".repeat(9999), &[], Duration::from_millis(10)));
        let error = full.take(10_000).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_closed_channel_says_so() {
        let (one, other) = channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| other.receive(None));
            one.shut();
            assert!(matches!(waiting.join().unwrap().unwrap(), Received::Closed));
        });
        assert!(other.send("unheard", &[], SOON).is_err());
        let (one, other) = channel();
        one.send("unread", &[], SOON).unwrap();
        drop(other);
        assert!(matches!(one.receive(Some(SOON)).unwrap(), Received::Closed));
    }
}
