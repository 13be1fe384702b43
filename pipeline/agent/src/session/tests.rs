//! What stands directly behind Welcome is heard, however it arrives.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use pipeline::ids::PointId;
use pipeline::seal::SecretKey;
use pipeline_wire::authority::{Authority, agent_request};
use pipeline_wire::certificate::Peer;
use pipeline_wire::frame;
use pipeline_wire::message::Binding;
use pipeline_wire::policy::Policy;
use pipeline_wire::tls::{Gate, appliance};
use rustls::{ServerConnection, StreamOwned};

use super::*;

const SERVER: ServerId = ServerId([3; 16]);

#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn now(&self) -> Option<u64> {
        None
    }

    fn is_revoked(&self, _: &Peer) -> bool {
        false
    }
}

fn party(authority: &Authority, address: SocketAddr) -> Party {
    let (key, request) = agent_request().unwrap();
    let enrolment = Enrolment {
        server: SERVER,
        name: "web1".to_owned(),
        addresses: vec![address.to_string()],
        authority: authority.certificate().to_vec(),
        certificate: authority.agent(&request, SERVER, 0).unwrap(),
        key: key.to_vec(),
    };
    Party {
        addresses: vec![address],
        renewal: Arc::new(Renewal::new(&enrolment).unwrap()),
        server: SERVER,
        host: "web1".to_owned(),
        kernel: "6.1".to_owned(),
    }
}

/// An appliance that says Welcome and what it owes in one breath.
fn answer(listener: &TcpListener, authority: &Authority, owed: &[FromAppliance]) {
    let config =
        appliance(&authority.appliance().unwrap(), authority.certificate(), Arc::new(Open));
    let (socket, _) = listener.accept().unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config.unwrap()).unwrap(), socket);
    let mut head = [0; frame::HEAD_BYTES];
    stream.read_exact(&mut head).unwrap();
    let mut hello = vec![0; frame::head(head).unwrap().body];
    stream.read_exact(&mut hello).unwrap();
    let welcome = Welcome {
        version: VERSION,
        appliance: "1".to_owned(),
        fingerprint_key: SecretKey::from_bytes([1; 32]),
        policy: Policy::default(),
        spooled: 7,
        vaulted_epoch: 2,
        spooled_epoch: 3,
        known_disks: Vec::new(),
        credit_bytes: 1 << 20,
    };
    let mut bytes = frame::emit(&FromAppliance::Welcome(Box::new(welcome)), 0).unwrap();
    for said in owed {
        bytes.extend(frame::emit(said, 0).unwrap());
    }
    stream.write_all(&bytes).unwrap();
    stream.flush().unwrap();
    // Until the agent is gone.
    let _ = stream.read(&mut [0]);
}

#[test]
fn what_is_owed_and_arrives_with_welcome_is_heard_next() {
    let authority = Authority::generate().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let party = party(&authority, listener.local_addr().unwrap());
    let owed = [
        FromAppliance::Spooled { sequence: 7 },
        FromAppliance::Vaulted { epoch: 2, point: PointId([4; 16]) },
    ];
    thread::scope(|scope| {
        scope.spawn(|| answer(&listener, &authority, &owed));
        let introduction =
            Introduction { run: [5; 16], binding: Binding::default(), disks: Vec::new() };
        let (mut link, welcome) =
            greet(&party, party.addresses[0], &introduction, 0).expect("it is welcomed");
        assert_eq!(welcome.unwrap().spooled, 7);
        let (waker, _nobody) = UnixStream::pair().unwrap();
        waker.set_nonblocking(true).unwrap();
        let (mut heard, until) = (Vec::new(), Instant::now() + WELCOME);
        while heard.len() < owed.len() && Instant::now() < until {
            heard.extend(link.read().unwrap());
            if heard.len() < owed.len() {
                link.wait(&waker, Duration::from_millis(100)).unwrap();
            }
        }
        assert_eq!(heard, owed);
    });
}
