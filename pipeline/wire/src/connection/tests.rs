//! Messages and payloads arrive whole, in whatever pieces they come, or the connection is over.

use core::time::Duration;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;

use super::*;
use crate::message::{Blocks, Content};
use crate::runs::Run;

const BLOCK: usize = 65_536;

/// Gives what it has in pieces of one size, and times out between any two.
struct Pieces {
    bytes: VecDeque<u8>,
    piece: usize,
    is_late: bool,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.is_late = !self.is_late;
        if self.is_late {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = self.piece.min(into.len()).min(self.bytes.len());
        for (place, byte) in into.iter_mut().zip(self.bytes.drain(..length)) {
            *place = byte;
        }
        Ok(length)
    }
}

/// Takes little at a time.
#[derive(Default)]
struct Narrow(Vec<u8>);

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(7);
        self.0.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocks(sequence: u64, count: u32) -> FromAgent {
    let runs = vec![Run { first: 3, blocks: count }];
    FromAgent::Blocks(Blocks { sequence, disk: 0, content: Content::Data, runs })
}

fn goodbye() -> FromAgent {
    FromAgent::Goodbye { words: "done".to_owned() }
}

#[test]
fn whatever_the_pieces_everything_arrives_whole() {
    let block: Vec<u8> = (0..=u8::MAX).cycle().take(BLOCK).collect();
    let mut sender = Sender::new(Narrow::default());
    sender.send_with(&blocks(1, 2), &[&block, &[], &block]).unwrap();
    sender.send_with(&blocks(2, 1), &[&block]).unwrap();
    sender.send(&goodbye()).unwrap();
    for piece in [1, 3, 8, 4096, 1 << 20] {
        let bytes = VecDeque::from(sender.stream().0.clone());
        let mut receiver = Receiver::new(Pieces { bytes, piece, is_late: false }, 2);
        let mut next = || loop {
            if let Some(received) = receiver.receive::<FromAgent>().unwrap() {
                break received;
            }
        };
        assert_eq!(next(), Received { message: blocks(1, 2), payload: 2 * BLOCK });
        // The first payload is taken in two parts, the second by nobody.
        let mut taken = vec![0; 2 * BLOCK];
        let (first, second) = taken.split_at_mut(BLOCK - 5);
        receiver.payload(first).unwrap();
        receiver.payload(second).unwrap();
        assert_eq!(taken, [block.as_slice(), &block].concat());
        assert!(matches!(receiver.payload(&mut [0]), Err(Broken::Frame(FrameError::Payload))));
        let mut next = || loop {
            if let Some(received) = receiver.receive::<FromAgent>().unwrap() {
                break received.message;
            }
        };
        assert_eq!(next(), blocks(2, 1));
        assert_eq!(next(), goodbye());
        let end = loop {
            match receiver.receive::<FromAgent>() {
                Ok(None) => {}
                other => break other,
            }
        };
        assert!(matches!(end, Err(Broken::Closed)));
    }
}

#[test]
fn a_payload_that_is_not_what_the_message_says_is_neither_sent_nor_taken() {
    let mut sender = Sender::new(Vec::new());
    for (message, bytes) in [
        (blocks(1, 1), 0),
        (blocks(1, 1), BLOCK - 1),
        (blocks(1, 2), BLOCK),
        (blocks(1, 17), 17 * BLOCK),
        (blocks(1, u32::MAX), BLOCK),
        (goodbye(), 1),
        (FromAgent::Fingerprints { question: 1, disk: 0, first: 0 }, 0),
        (FromAgent::Fingerprints { question: 1, disk: 0, first: 0 }, 17),
        (FromAgent::Fingerprints { question: 1, disk: 0, first: 0 }, 4096 + 16),
    ] {
        let payload = vec![0; bytes];
        let error = sender.send_with(&message, &[&payload]).unwrap_err();
        assert!(matches!(error, Broken::Frame(FrameError::Payload)), "{message:?} {bytes}");
        let Ok(head) = frame::emit(&message, bytes) else { continue };
        let bytes = VecDeque::from([head, payload].concat());
        let mut receiver = Receiver::new(Pieces { bytes, piece: 1 << 20, is_late: true }, 9);
        let error = loop {
            match receiver.receive::<FromAgent>() {
                Ok(None) => {}
                other => break other.unwrap_err(),
            }
        };
        assert!(matches!(error, Broken::Frame(FrameError::Payload)), "{message:?}");
    }
    assert!(sender.stream().is_empty());
}

#[test]
fn silence_ends_a_connection_and_a_byte_now_and_then_does_not() {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut receiver = Receiver::new(&far, 3);
    let frame = frame::emit(&goodbye(), 0).unwrap();
    for byte in &frame[..frame.len() - 1] {
        (&near).write_all(&[*byte]).unwrap();
        assert!(receiver.receive::<FromAgent>().unwrap().is_none());
    }
    assert!(receiver.receive::<FromAgent>().unwrap().is_none());
    assert!(matches!(receiver.receive::<FromAgent>(), Err(Broken::Silent)));
}

#[test]
fn one_stream_serves_both_ways() {
    let (near, far) = UnixStream::pair().unwrap();
    let (mut near, mut far) = (Connection::new(near, 1), Connection::new(far, 1));
    near.send(&goodbye()).unwrap();
    assert_eq!(far.receive::<FromAgent>().unwrap().unwrap().message, goodbye());
    far.send(&FromAppliance::Credit { bytes: 5 }).unwrap();
    let received = near.receive::<FromAppliance>().unwrap().unwrap();
    assert_eq!(received.message, FromAppliance::Credit { bytes: 5 });
    drop(far);
    assert!(matches!(near.receive::<FromAppliance>(), Err(Broken::Closed)));
}
