//! Messages behind their lengths, and the buffers that they are read into and written from.

use std::cell::RefCell;
use std::io;

use tokio::net::TcpStream;

/// Bytes of the length before a message.
pub(super) const LENGTH: usize = 2;

/// Holds a burst of pipelined queries.
pub(super) const READ_AT_ONCE: usize = 4096;

/// From how many bytes on answers are written, whatever else is there.
pub(super) const GATHERED: usize = 4096;

/// The largest buffer that is kept for the next answers.
pub(super) const LARGEST_KEPT: usize = 4 * GATHERED;

thread_local! {
    pub(super) static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        read: vec![0; READ_AT_ONCE],
        answers: Vec::new(),
        answer: Vec::new(),
    });
}

/// What the connections of a thread take turns with; never across an await.
pub(super) struct Buffers {
    /// What a client has sent.
    pub(super) read: Vec<u8>,
    /// Answers behind their lengths.
    pub(super) answers: Vec<u8>,
    /// One answer.
    pub(super) answer: Vec<u8>,
}

/// Adds an answer behind its length: it never has more than 65,535 bytes.
pub(super) fn push_frame(answers: &mut Vec<u8>, answer: &mut Vec<u8>) {
    answers.extend_from_slice(&(answer.len() as u16).to_be_bytes());
    answers.extend_from_slice(answer);
    if answer.capacity() > LARGEST_KEPT {
        *answer = Vec::new();
    }
}

/// Writes what there is room for, and says how much that was.
pub(super) fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(left) = bytes.get(written..).filter(|left| !left.is_empty()) {
        match stream.try_write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
