//! Two threads a side, both ways at once, over real TLS.

use core::time::Duration;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use pipeline::ids::ServerId;

use super::*;
use crate::authority::{Authority, Credentials, agent_request};
use crate::certificate::Peer;
use crate::connection::{Broken, Greeting, Receiver, Sender, greet};
use crate::message::{Blocks, Content, FromAgent, FromAppliance, Hello, Refused, Why};
use crate::runs::Run;
use crate::tls::{self, Gate};

const BLOCK: usize = 65_536;
const FRAMES: u64 = 64;

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
        binding: crate::message::Binding::default(),
        run: [2; 16],
        connection: 0,
        disks: Vec::new(),
    }
}

fn content(sequence: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK * 16];
    for (place, word) in block.chunks_exact_mut(8).enumerate() {
        let place = u64::try_from(place).unwrap();
        word.copy_from_slice(&(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place).to_le_bytes());
    }
    block
}

#[test]
fn both_ways_at_once_everything_arrives_in_order() {
    let (client, server) = sessions(Revokes(false));
    let (near, far) = UnixStream::pair().unwrap();
    let appliance = thread::spawn(move || {
        let (reader, writer) = answer(server, far).unwrap();
        let peer = reader.session(|session| tls::peer(session.peer_certificates())).unwrap();
        assert_eq!(peer.server, ServerId([1; 16]));
        let mut sender = Sender::new(writer);
        let says = thread::spawn(move || {
            for bytes in 0..FRAMES * 100 {
                sender.send(&FromAppliance::Credit { bytes }).unwrap();
            }
            sender.stream().close().unwrap();
        });
        let mut receiver = Receiver::new(reader, 1);
        let mut buffer = vec![0; BLOCK * 16];
        for wanted in 1..=FRAMES {
            let received = receiver.receive::<FromAgent>().unwrap().unwrap();
            let FromAgent::Blocks(Blocks { sequence, .. }) = received.message else { panic!() };
            receiver.payload(&mut buffer).unwrap();
            assert!(sequence == wanted && buffer == content(sequence));
        }
        says.join().unwrap();
    });
    let (reader, writer) = dial(client, near).unwrap();
    let mut receiver = Receiver::new(reader, 1);
    let hears = thread::spawn(move || {
        for wanted in 0..FRAMES * 100 {
            let received = receiver.receive::<FromAppliance>().unwrap().unwrap();
            assert_eq!(received.message, FromAppliance::Credit { bytes: wanted });
        }
        // Told, not cut.
        assert!(matches!(receiver.receive::<FromAppliance>(), Err(Broken::Closed)));
    });
    let mut sender = Sender::new(writer);
    for sequence in 1..=FRAMES {
        let runs = vec![Run { first: 0, blocks: 16 }];
        let said = FromAgent::Blocks(Blocks { sequence, disk: 0, content: Content::Data, runs });
        let block = content(sequence);
        let (front, back) = block.split_at(BLOCK);
        sender.send_with(&said, &[front, back]).unwrap();
    }
    hears.join().unwrap();
    appliance.join().unwrap();
}

#[test]
fn a_reader_at_rest_keeps_no_writer_waiting() {
    let (client, server) = sessions(Revokes(false));
    let (near, far) = UnixStream::pair().unwrap();
    let appliance = thread::spawn(move || answer(server, far).unwrap());
    let (reader, writer) = dial(client, near).unwrap();
    let (far_reader, mut far_writer) = appliance.join().unwrap();
    // Nothing is said to it until the agent has spoken: were it to hold the session, this would never end.
    let rests = thread::spawn(move || {
        Receiver::new(reader, 1).receive::<FromAppliance>().unwrap().unwrap().message
    });
    thread::sleep(Duration::from_millis(20));
    Sender::new(writer).send(&FromAgent::Goodbye { words: "x".to_owned() }).unwrap();
    Receiver::new(far_reader, 1).receive::<FromAgent>().unwrap().unwrap();
    Sender::new(&mut far_writer).send(&FromAppliance::Credit { bytes: 1 }).unwrap();
    assert_eq!(rests.join().unwrap(), FromAppliance::Credit { bytes: 1 });
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
            let Ok((reader, writer)) = answer(server, far) else { return };
            assert!(Receiver::new(reader, 1).receive::<FromAgent>().unwrap().is_some());
            Sender::new(writer).send(&FromAppliance::Refused(said)).unwrap();
        });
        let greeted = dial(client, near).map_err(Broken::from).and_then(|(reader, writer)| {
            greet(&mut Sender::new(writer), &mut Receiver::new(reader, 1), hello())
        });
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
fn a_connection_that_is_cut_is_never_taken_for_one_that_ended() {
    let (client, server) = sessions(Revokes(false));
    let (near, far) = UnixStream::pair().unwrap();
    let appliance = thread::spawn(move || {
        let cut = far.try_clone().unwrap();
        let halves = answer(server, far).unwrap();
        cut.shutdown(Shutdown::Both).unwrap();
        halves
    });
    let (mut reader, mut writer) = dial(client, near).unwrap();
    let (_far_reader, _far_writer) = appliance.join().unwrap();
    let error = reader.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(writer.write_all(&[0; 16]).is_err());
    assert!(writer.write_all(&[0; 16]).is_err(), "and stays so");
}
