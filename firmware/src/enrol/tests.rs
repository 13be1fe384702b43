//! Servers at the door with good tokens, used ones, wrong ones and nonsense.

use core::net::SocketAddr;
use std::net::TcpStream;

use hal_sim::clock::SimClock;
use pipeline_wire::authority::{Authority, agent_request};
use pipeline_wire::certificate::Peer;
use pipeline_wire::enrol::Token;
use pipeline_wire::enrol::http::ask;
use pipeline_wire::message::Binding;
use pipeline_wire::tls;
use rustls::{ClientConnection, StreamOwned};

use super::tokens::{Redeemed, Tokens};
use super::*;
use crate::serve::identity::Identity;
use crate::serve::listen::{Door, Teller};

const NOW: u64 = 1_800_000_000;

/// A registry that forgets everything at its end.
struct Memory {
    authority: Authority,
    tokens: Mutex<Tokens>,
    enrolled: Mutex<Vec<(Grant, Binding)>>,
}

impl Memory {
    fn new() -> Arc<Self> {
        let authority = Authority::generate().unwrap();
        Arc::new(Self { authority, tokens: Mutex::default(), enrolled: Mutex::default() })
    }

    fn token(&self, identity: &Identity, address: SocketAddr) -> Token {
        let pin = digest(identity.certificate());
        let token = Token::generate(vec![address.to_string()], pin, NOW + 3600).unwrap();
        let mut tokens = self.tokens.lock().unwrap();
        tokens.add(token.secret_hash(), token.ends_at, None, NOW).unwrap();
        token
    }
}

impl Registry for Memory {
    fn enrol(&self, attempt: &Attempt, request: &Request) -> Result<Enrolled, Denied> {
        let count = u8::try_from(self.enrolled.lock().unwrap().len()).unwrap();
        let fresh = Grant { server: ServerId([count + 1; 16]), name: attempt.host.clone() };
        let redeemed = self.tokens.lock().unwrap().redeem(attempt, Some(NOW), fresh);
        let (Redeemed::Now(grant) | Redeemed::Before(grant)) = redeemed.map_err(Denied::of)?;
        let certificate = self.authority.agent(&request.request, grant.server, NOW).unwrap();
        self.enrolled.lock().unwrap().push((grant.clone(), request.binding.clone()));
        Ok(Enrolled {
            server: grant.server,
            name: grant.name.clone(),
            certificate,
            authority: self.authority.certificate().to_vec(),
            addresses: vec!["192.0.2.7:9443".to_owned()],
        })
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

fn request(token: &Token) -> Request {
    Request {
        version: VERSION,
        secret: token.secret,
        request: agent_request().unwrap().1,
        binding: Binding { machine: [1; 16], disks: vec![[2; 16]] },
        host: "web1".to_owned(),
        kernel: "6.1".to_owned(),
        agent: "0.1.0".to_owned(),
        disks: Vec::new(),
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

struct Bed {
    registry: Arc<Memory>,
    enrolment: Enrolment,
    token: Token,
    clock: Arc<SimClock>,
}

impl Bed {
    fn new() -> Self {
        let registry = Memory::new();
        let clock = Arc::new(SimClock::default());
        let token = registry.token(&Identity::generate("bed").unwrap(), local());
        let enrolment = Enrolment::new(Arc::clone(&registry) as _, Arc::clone(&clock) as _);
        Self { registry, enrolment, token, clock }
    }

    fn answer(&self, request: &Request) -> Answer {
        self.enrolment.respond(&emit(request).unwrap(), local().ip())
    }

    fn denied(&self, bytes: &[u8]) -> Denied {
        match self.enrolment.respond(bytes, local().ip()) {
            Answer::Denied(denied) => denied,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_token_is_good_once_and_its_server_may_ask_again() {
    let bed = Bed::new();
    let asks = request(&bed.token);
    let Answer::Enrolled(first) = bed.answer(&asks) else { panic!("denied") };
    assert_eq!(Peer::of(&first.certificate).unwrap().server, first.server);
    assert_eq!(first.name, "web1");
    let Answer::Enrolled(again) = bed.answer(&asks) else { panic!("denied") };
    assert_eq!(again.server, first.server);
    let other = emit(&request(&bed.token)).unwrap();
    let denied = bed.denied(&other);
    assert_eq!(denied.why, Why::Used);
    assert!(denied.to_string().contains("another server has used this token"));
    assert_eq!(bed.registry.enrolled.lock().unwrap().len(), 2);
}

#[test]
fn a_request_that_makes_no_sense_uses_up_no_token() {
    let bed = Bed::new();
    let good = request(&bed.token);
    let foreign = Request { request: vec![0x30, 0], ..good.clone() };
    assert_eq!(bed.denied(&emit(&foreign).unwrap()).why, Why::Nonsense);
    let newer = Request { version: VERSION + 1, ..good.clone() };
    let words = bed.denied(&emit(&newer).unwrap()).words;
    assert!(words.contains("version 2") && words.contains("version 1"), "{words}");
    assert_eq!(bed.denied(b"").why, Why::Nonsense);
    assert_eq!(bed.denied(b"{\"token\": 1}").why, Why::Nonsense);
    assert!(matches!(bed.answer(&good), Answer::Enrolled(_)));
}

#[test]
fn whoever_tries_too_often_waits_a_minute_and_nobody_else() {
    let bed = Bed::new();
    let wrong = Request { secret: [9; 16], ..request(&bed.token) };
    for _ in 0..10 {
        assert_eq!(bed.denied(&emit(&wrong).unwrap()).why, Why::Unknown);
    }
    let good = request(&bed.token);
    let late = bed.denied(&emit(&good).unwrap());
    assert!(late.why == Why::Later && late.words.contains("too often"), "{late}");
    let elsewhere = "192.0.2.9".parse().unwrap();
    let answer = bed.enrolment.respond(&emit(&good).unwrap(), elsewhere);
    assert!(matches!(answer, Answer::Enrolled(_)));
    bed.clock.advance(60_000);
    assert!(matches!(bed.answer(&good), Answer::Enrolled(_)));
}

#[test]
fn hostile_bodies_end_in_an_answer_and_never_in_a_panic() {
    let seed = std::env::var("LIFEBOAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = seed.unwrap_or(0x5eed_0001);
    println!("LIFEBOAT_SEED={state}");
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let bed = Bed::new();
    let whole = emit(&request(&bed.token)).unwrap();
    for round in 0..2000_u32 {
        let mut bytes = whole.clone();
        for _ in 0..=next() % 4 {
            let at = usize::try_from(next()).unwrap() % bytes.len();
            bytes[at] = u8::try_from(next() & 255).unwrap();
        }
        bytes.truncate(usize::try_from(next()).unwrap() % (bytes.len() + 1));
        let address = IpAddr::from(round.to_be_bytes());
        let answer = bed.enrolment.respond(&bytes, address);
        assert!(matches!(answer, Answer::Denied(_)) || bytes.len() == whole.len());
    }
}

#[test]
fn a_server_enrols_over_the_pages_door_with_its_certificate_pinned() {
    let identity = Identity::generate("bed").unwrap();
    let registry = Memory::new();
    let teller: Teller = Arc::new(firmware_web::Status::default);
    let door = smol::block_on(Door::open(local(), &identity, teller)).unwrap();
    let address = door.address().unwrap();
    let clock = Arc::new(SimClock::default());
    let enrolment = Enrolment::new(Arc::clone(&registry) as _, clock);
    let door = door.with(vec![Arc::new(enrolment)]);
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let serves = std::thread::spawn(move || {
        smol::block_on(smol::future::or(door.serve(), async {
            let _ = stopped.recv().await;
        }));
    });
    let token = registry.token(&identity, address);
    let asks = request(&token);
    let asked = |pin: [u8; 32], asks: &Request| {
        let config = tls::pinned(pin).unwrap();
        let session = ClientConnection::new(config, tls::appliance_name().unwrap()).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        ask(&mut StreamOwned::new(session, stream), &address.to_string(), asks)
    };
    // Somebody in between, who would like the secret.
    assert!(asked([0; 32], &asks).is_err());
    assert_eq!(registry.tokens.lock().unwrap().open(NOW), 1);
    let Ok(Answer::Enrolled(enrolled)) = asked(token.pin, &asks) else { panic!("denied") };
    assert_eq!(enrolled.authority, registry.authority.certificate());
    let Ok(Answer::Denied(denied)) = asked(token.pin, &request(&token)) else { panic!("enrolled") };
    assert_eq!(denied.why, Why::Used);
    drop(stop);
    serves.join().unwrap();
}
