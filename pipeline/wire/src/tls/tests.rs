//! Only agents and appliances of one site meet, whatever their clocks say, and a refusal is in words.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use pipeline::ids::ServerId;
use rustls::{ClientConnection, ServerConnection, Stream};

use super::*;
use crate::authority::{AGENT_SECONDS, Authority, agent_request};

const SERVER: ServerId = ServerId([9; 16]);
const NOW: u64 = 1_800_000_000;

#[derive(Debug, Default)]
struct TestGate {
    now: Option<u64>,
    revoked: Mutex<Vec<Peer>>,
}

impl Gate for TestGate {
    fn now(&self) -> Option<u64> {
        self.now
    }

    fn is_revoked(&self, peer: &Peer) -> bool {
        self.revoked.lock().unwrap().contains(peer)
    }
}

fn gate(now: Option<u64>) -> Arc<TestGate> {
    Arc::new(TestGate { now, revoked: Mutex::default() })
}

fn credentials(authority: &Authority) -> Credentials {
    let (key, request) = agent_request().unwrap();
    Credentials { certificate: authority.agent(&request, SERVER, NOW).unwrap(), key }
}

/// What both sides see: the appliance of its peer, the agent of the first byte that the appliance says.
fn meet(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> (Result<Peer, rustls::Error>, Result<(), rustls::Error>) {
    fn tls(error: std::io::Error) -> rustls::Error {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<rustls::Error>().ok());
        inner.map_or(rustls::Error::General("closed".to_owned()), |error| *error)
    }
    let (near, mut far) = UnixStream::pair().unwrap();
    let appliance = std::thread::spawn(move || {
        let mut session = ServerConnection::new(server).unwrap();
        let mut stream = Stream::new(&mut session, &mut far);
        stream.write_all(b"!").and_then(|()| stream.flush()).map_err(tls)?;
        assert!(is_replication(session.alpn_protocol()));
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        peer(session.peer_certificates())
    });
    let mut session = ClientConnection::new(client, appliance_name().unwrap()).unwrap();
    let mut near = near;
    let heard = Stream::new(&mut session, &mut near).read_exact(&mut [0]).map_err(tls);
    drop(near);
    (appliance.join().unwrap(), heard)
}

#[test]
fn agents_and_appliances_of_one_site_know_each_other() {
    let authority = Authority::generate().unwrap();
    let own = credentials(&authority);
    let client = agent(&own, authority.certificate()).unwrap();
    let far_future = gate(Some(0));
    for gate in [gate(Some(NOW)), gate(None), gate(Some(NOW + AGENT_SECONDS)), far_future] {
        let credentials = authority.appliance().unwrap();
        let server = appliance(&credentials, authority.certificate(), gate).unwrap();
        let (seen, heard) = meet(Arc::clone(&client), server);
        assert_eq!(seen, Ok(Peer::of(&own.certificate).unwrap()));
        assert_eq!(seen.unwrap().server, SERVER);
        assert_eq!(heard, Ok(()));
    }
}

#[test]
fn an_ended_or_revoked_certificate_is_refused_in_words_that_say_so() {
    let authority = Authority::generate().unwrap();
    let own = credentials(&authority);
    let client = agent(&own, authority.certificate()).unwrap();
    let revoking = gate(None);
    revoking.revoked.lock().unwrap().push(Peer::of(&own.certificate).unwrap());
    for (gate, word) in [(gate(Some(NOW + AGENT_SECONDS + 1)), "ended"), (revoking, "revoked")] {
        let own = authority.appliance().unwrap();
        let server = appliance(&own, authority.certificate(), gate).unwrap();
        let (seen, heard) = meet(Arc::clone(&client), server);
        assert!(seen.is_err());
        let (words, remedy) = explain(&heard.unwrap_err());
        assert!(words.contains(word) && remedy.contains("enrol"), "{words}: {remedy}");
    }
}

#[test]
fn nobody_of_another_site_and_nobody_in_another_role_is_let_in() {
    let (ours, theirs) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    let server = |own: &Credentials| appliance(own, ours.certificate(), gate(None)).unwrap();
    let appliance_of_ours = ours.appliance().unwrap();
    // Another site's agent; an appliance that dials like an agent.
    for own in [credentials(&theirs), ours.appliance().unwrap()] {
        let client = agent(&own, ours.certificate()).unwrap();
        let (seen, heard) = meet(client, server(&appliance_of_ours));
        assert!(seen.is_err() && heard.is_err());
    }
    // Another site's appliance; an agent that answers like an appliance.
    for own in [theirs.appliance().unwrap(), credentials(&ours)] {
        let client = agent(&credentials(&ours), ours.certificate()).unwrap();
        let (_, heard) = meet(client, server(&own));
        let error = heard.unwrap_err();
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
        assert!(explain(&error).0.contains("no appliance of the site"));
    }
}

#[test]
fn foreign_protocols_are_told_apart_from_strange_sites() {
    let authority = Authority::generate().unwrap();
    let own = authority.appliance().unwrap();
    let server = appliance(&own, authority.certificate(), gate(None)).unwrap();
    // HTTPS on the replication port.
    let mut client = (*agent(&credentials(&authority), authority.certificate()).unwrap()).clone();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (seen, heard) = meet(Arc::new(client), Arc::clone(&server));
    assert!(seen.is_err());
    assert!(explain(&heard.unwrap_err()).0.contains("does not speak"));
    // Something that is not TLS at all, both ways.
    let (near, far) = UnixStream::pair().unwrap();
    (&near).write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut session = ServerConnection::new(server).unwrap();
    let error = session.complete_io(&mut &far).unwrap_err();
    assert!(error.get_ref().unwrap().is::<rustls::Error>());
    let (near, far) = UnixStream::pair().unwrap();
    (&near).write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").unwrap();
    let client = agent(&credentials(&authority), authority.certificate()).unwrap();
    let mut session = ClientConnection::new(client, appliance_name().unwrap()).unwrap();
    let error = session.complete_io(&mut &far).unwrap_err();
    let error = error.into_inner().unwrap().downcast::<rustls::Error>().unwrap();
    assert!(explain(&error).0.contains("does not speak"), "{error}");
}
