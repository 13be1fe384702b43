//! The DNS client against a small server on loopback that answers by a plan: right, wrong, cut, late, not at all.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR};

use super::*;

/// A question as the server sees it.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    pub(crate) tcp: bool,
}

/// What the server does.
pub(crate) enum Plan {
    Records(Vec<Record>),
    Code(ResponseCode),
    NoSuchName,
    /// The answer says that it is cut and holds nothing.
    Cut,
    /// A forgery comes before the answer.
    Forged(Vec<Record>),
    Silence,
}

impl Plan {
    /// 10.9.8.7 and an address of IPv6, for whatever name.
    pub(crate) fn address(question: &Served, seconds: u32) -> Self {
        Self::Records(vec![record(&question.name, question.kind, seconds)])
    }
}

fn record(name: &str, kind: RecordType, seconds: u32) -> Record {
    let data = match kind {
        RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 7))),
        _ => RData::A(A(Ipv4Addr::new(10, 9, 8, 7))),
    };
    Record::from_rdata(Name::from_ascii(name).unwrap(), seconds, data)
}

fn alias(name: &str, target: &str) -> Record {
    let target = CNAME(Name::from_ascii(target).unwrap());
    Record::from_rdata(Name::from_ascii(name).unwrap(), 60, RData::CNAME(target))
}

/// A server on loopback, UDP and TCP at one port; it ends when dropped.
pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

pub(crate) fn serve(plan: impl Fn(&Served) -> Plan + Send + Sync + 'static) -> DnsServer {
    let (udp, tcp) = (0..50)
        .find_map(|_| {
            let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
            Some((UdpSocket::bind(tcp.local_addr().ok()?).ok()?, tcp))
        })
        .expect("a port that is free for both");
    let address = tcp.local_addr().unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (stop, plan) = (Arc::new(AtomicBool::new(false)), Arc::new(plan));
    let (stopped, planned) = (Arc::clone(&stop), Arc::clone(&plan));
    let over_udp = thread::spawn(move || {
        let mut bytes = [0; 4096];
        while !stopped.load(Ordering::Acquire) {
            let Ok((length, from)) = udp.recv_from(&mut bytes) else { continue };
            for reply in replies(&bytes[..length], false, &*planned) {
                udp.send_to(&reply, from).unwrap();
            }
        }
    });
    let stopped = Arc::clone(&stop);
    let over_tcp = thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            if stopped.load(Ordering::Acquire) {
                return;
            }
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).unwrap();
            for reply in replies(&bytes, true, &*plan) {
                let length = u16::try_from(reply.len()).unwrap();
                stream.write_all(&length.to_be_bytes()).unwrap();
                stream.write_all(&reply).unwrap();
            }
        }
    });
    DnsServer { address, stop, threads: vec![over_udp, over_tcp] }
}

fn replies(bytes: &[u8], tcp: bool, plan: &dyn Fn(&Served) -> Plan) -> Vec<Vec<u8>> {
    let question = Message::from_vec(bytes).unwrap();
    assert!(question.metadata.recursion_desired);
    let query = question.queries[0].clone();
    let served = Served { name: query.name().to_ascii(), kind: query.query_type(), tcp };
    let build = |id: u16, records: Vec<Record>, code: ResponseCode, cut: bool| {
        let mut message = Message::response(id, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.truncation = cut;
        message.add_query(query.clone());
        message.add_answers(records);
        message.to_vec().unwrap()
    };
    let id = question.metadata.id;
    match plan(&served) {
        Plan::Records(records) => vec![build(id, records, ResponseCode::NoError, false)],
        Plan::Code(code) => vec![build(id, vec![], code, false)],
        Plan::NoSuchName => vec![build(id, vec![], ResponseCode::NXDomain, false)],
        Plan::Cut => vec![build(id, vec![], ResponseCode::NoError, true)],
        Plan::Forged(records) => {
            let evil = RData::A(A(Ipv4Addr::new(6, 6, 6, 6)));
            let evil = Record::from_rdata(query.name().clone(), 60, evil);
            let other_id = build(id.wrapping_add(1), vec![evil], ResponseCode::NoError, false);
            vec![b"garbage".to_vec(), other_id, build(id, records, ResponseCode::NoError, false)]
        }
        Plan::Silence => vec![],
    }
}

fn client(servers: &[SocketAddr]) -> Dns {
    let mut settings = Settings::parse("options timeout:1 attempts:2\n");
    settings.servers = servers.to_vec();
    settings.try_for = Duration::from_millis(400);
    Dns::new(settings, None)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn both_kinds_of_address_are_found_with_the_shorter_life() {
    let server = serve(|question: &Served| {
        Plan::address(question, if question.kind == RecordType::A { 30 } else { 90 })
    });
    let (found, seconds) = client(&[server.address]).addresses("host.example.", soon()).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(seconds, 30);
}

#[test]
fn aliases_are_followed_within_an_answer_and_beyond_it() {
    let server = serve(|question: &Served| match question.name.as_str() {
        "account.blob.example." => {
            let link = "account.privatelink.example.";
            Plan::Records(vec![alias(&question.name, link), record(link, question.kind, 60)])
        }
        "far.example." => Plan::Records(vec![alias("far.example.", "near.example.")]),
        "near.example." => Plan::address(question, 60),
        _ => Plan::Records(vec![alias(&question.name, "round.example.")]),
    });
    let dns = client(&[server.address]);
    assert_eq!(dns.addresses("account.blob.example.", soon()).unwrap().0.len(), 2);
    assert_eq!(dns.addresses("far.example.", soon()).unwrap().0.len(), 2);
    let error = dns.addresses("round.example.", soon()).unwrap_err();
    assert!(matches!(error, Trouble::NoAnswer(why) if why.contains("circle")));
}

#[test]
fn a_cut_answer_is_asked_for_again_over_tcp() {
    let server = serve(
        |question: &Served| {
            if question.tcp { Plan::address(question, 60) } else { Plan::Cut }
        },
    );
    let (found, _) = client(&[server.address]).addresses("large.example.", soon()).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn forged_answers_are_passed_over() {
    let server =
        serve(|question: &Served| Plan::Forged(vec![record(&question.name, question.kind, 60)]));
    let (found, _) = client(&[server.address]).addresses("host.example.", soon()).unwrap();
    assert!(found.contains(&IpAddr::from([10, 9, 8, 7])));
    assert!(!found.contains(&IpAddr::from([6, 6, 6, 6])), "{found:?}");
}

#[test]
fn the_next_server_is_asked_when_one_is_silent_or_broken() {
    let silent = serve(|_: &Served| Plan::Silence);
    let broken = serve(|_: &Served| Plan::Code(ResponseCode::ServFail));
    let good = serve(|question: &Served| Plan::address(question, 60));
    for first in [silent.address, broken.address] {
        let dns = client(&[first, good.address]);
        assert_eq!(dns.addresses("host.example.", soon()).unwrap().0.len(), 2);
    }
    let dns = client(&[silent.address, broken.address]);
    let error = dns.addresses("host.example.", soon()).unwrap_err();
    assert!(matches!(error, Trouble::NoAnswer(_)), "{error:?}");
}

#[test]
fn a_server_that_drops_one_kind_of_question_costs_little_time() {
    let server = serve(|question: &Served| {
        if question.kind == RecordType::A { Plan::address(question, 60) } else { Plan::Silence }
    });
    let mut settings = Settings::parse("");
    settings.servers = vec![server.address];
    let started = Instant::now();
    let (found, _) = Dns::new(settings, None).addresses("host.example.", soon()).unwrap();
    assert_eq!(found, [IpAddr::from([10, 9, 8, 7])]);
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
}

#[test]
fn a_deadline_bounds_everything() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let silent = serve(move |_: &Served| {
        count.fetch_add(1, Ordering::Relaxed);
        Plan::Silence
    });
    let started = Instant::now();
    let deadline = started + Duration::from_millis(150);
    let answer = client(&[silent.address; 3]).addresses("host.example.", deadline);
    assert!(matches!(answer, Err(Trouble::NoAnswer(_))));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(asked.load(Ordering::Relaxed) >= 1);
}

#[test]
fn settings_are_read_as_the_manual_page_says() {
    let text = "# comment\nnameserver 10.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\n\
        nameserver 10.0.0.3\ndomain old.example\nsearch a.example b.example.\noptions ndots:3 timeout:99 attempts:0 rotate\n";
    let settings = Settings::parse(text);
    let addresses: Vec<String> =
        settings.servers.iter().map(|server| server.ip().to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1", "::1", "10.0.0.2"]);
    assert_eq!(settings.try_for, Duration::from_secs(30));
    assert_eq!(settings.attempts, 1);
    assert_eq!(
        settings.candidates("x.y"),
        ["x.y.a.example.", "x.y.b.example.", "x.y."],
        "fewer dots than three"
    );
    assert_eq!(settings.candidates("a.b.c.d")[0], "a.b.c.d.");
    assert_eq!(Settings::parse("").servers[0].ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
}

#[test]
fn an_address_has_the_name_that_its_server_gives_and_none_where_nobody_answers() {
    let server = serve(|question: &Served| {
        if question.name != "21.2.0.192.in-addr.arpa." || question.kind != RecordType::PTR {
            return Plan::NoSuchName;
        }
        let name = RData::PTR(PTR(Name::from_ascii("web1.example.").unwrap()));
        Plan::Forged(vec![Record::from_rdata(Name::from_ascii(&question.name).unwrap(), 60, name)])
    });
    let name = |servers: &[SocketAddr], last: u8, until| {
        client(servers).name_of(Ipv4Addr::new(192, 0, 2, last).into(), until)
    };
    assert_eq!(name(&[server.address], 21, soon()).as_deref(), Some("web1.example"));
    assert_eq!(name(&[server.address], 22, soon()), None);
    let silent = serve(|_: &Served| Plan::Silence);
    let now = Instant::now();
    assert_eq!(name(&[silent.address], 21, now + Duration::from_millis(100)), None);
}
