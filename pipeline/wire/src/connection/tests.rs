//! Messages and payloads arrive whole, in whatever pieces they come, or the connection is over.

use core::time::Duration;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;

use std::sync::Arc;
use std::thread;

use pipeline::ids::ServerId;
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::*;
use crate::authority::{Authority, Credentials, agent_request};
use crate::certificate::Peer;
use crate::message::{Binding, Blocks, Content, Why};
use crate::runs::Run;
use crate::tls::Gate;

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

#[derive(Debug)]
struct Revokes(bool);

impl Gate for Revokes {
    fn now(&self) -> Option<u64> {
        None
    }

    fn is_revoked(&self, _: &Peer) -> bool {
        self.0
    }
}

fn sessions(gate: Revokes) -> (ClientConnection, ServerConnection) {
    let authority = Authority::generate().unwrap();
    let (key, request) = agent_request().unwrap();
    let certificate = authority.agent(&request, ServerId([1; 16]), 0).unwrap();
    let own = Credentials { certificate, key };
    let client = tls::agent(&own, authority.certificate()).unwrap();
    let own = authority.appliance().unwrap();
    let server = tls::appliance(&own, authority.certificate(), Arc::new(gate)).unwrap();
    let client = ClientConnection::new(client, tls::appliance_name().unwrap()).unwrap();
    (client, ServerConnection::new(server).unwrap())
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        agent: "0.1.0".to_owned(),
        host: "web1".to_owned(),
        kernel: "6.1".to_owned(),
        server: ServerId([1; 16]),
        binding: Binding::default(),
        run: [2; 16],
        connection: 0,
        disks: Vec::new(),
    }
}

#[test]
fn a_refusal_reaches_the_agent_in_words_from_the_protocol_and_from_tls() {
    let refused = Refused {
        why: Why::Later,
        words: "the vault is not there".to_owned(),
        remedy: "plug it in".to_owned(),
    };
    for revoke in [false, true] {
        let (client, server) = sessions(Revokes(revoke));
        let (near, far) = UnixStream::pair().unwrap();
        let said = refused.clone();
        let appliance = thread::spawn(move || {
            let mut connection = Connection::new(StreamOwned::new(server, far), 1);
            if let Ok(Some(received)) = connection.receive::<FromAgent>() {
                assert!(matches!(received.message, FromAgent::Hello(_)));
                connection.send(&FromAppliance::Refused(said)).unwrap();
            }
        });
        let mut connection = Connection::new(StreamOwned::new(client, near), 1);
        let greeted = greet(&mut connection, hello());
        appliance.join().unwrap();
        match greeted {
            Ok(Greeting::Refused(heard)) => assert!(!revoke && heard == refused),
            Err(error) => {
                assert!(revoke && error.to_string().contains("revoked"), "{error}");
                assert!(error.remedy().contains("enrol"));
            }
            Ok(Greeting::Welcome(_)) => panic!("welcome"),
        }
    }
}

#[test]
fn payloads_cross_tls_whole() {
    let (client, server) = sessions(Revokes(false));
    let (near, far) = UnixStream::pair().unwrap();
    let appliance = thread::spawn(move || {
        let mut connection = Connection::new(StreamOwned::new(server, far), 1);
        let mut sum = 0;
        let mut buffer = vec![0; 16 * BLOCK];
        while let Ok(Some(received)) = connection.receive::<FromAgent>() {
            let FromAgent::Blocks(blocks) = received.message else { panic!("blocks") };
            connection.payload(&mut buffer).unwrap();
            let low = u8::try_from(blocks.sequence).unwrap();
            assert!(buffer.iter().all(|byte| *byte == low));
            sum += blocks.sequence;
        }
        sum
    });
    let mut stream = StreamOwned::new(client, near);
    for sequence in 1..=20_u8 {
        let block = vec![sequence; 8 * BLOCK];
        let said = blocks(u64::from(sequence), 16);
        Sender::new(&mut stream).send_with(&said, &[&block, &block]).unwrap();
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    drop(stream);
    assert_eq!(appliance.join().unwrap(), 210);
}
