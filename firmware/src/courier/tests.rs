//! Requests over lanes, to a courier in a thread of its own and to one that lies. Its jail is tried in `tests/tests/hardening/courier.rs`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use firmware_web::api::views::alerts::{MailTls, SyslogBy};
use pipeline_azure::address::Origin;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::transport::carrier::Carrier as _;
use pipeline_azure::transport::proxy::ProxyChoice;
use pipeline_azure::transport::{Transport, TransportOptions};

use super::client::Requests;
use super::errand::{Came, Errand, Letter, Task};
use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// A keeper whose courier is at the other end of a line.
fn keeper(courier: impl FnOnce(Line) + Send + 'static) -> Arc<Courier> {
    let (line, theirs) = Line::pair().unwrap();
    std::thread::spawn(move || courier(Line::of(theirs).unwrap()));
    let ports = (0..=u16::MAX).collect();
    let state = State { work: Some(Arc::new(Work::new(None, line, ports))), ..State::default() };
    let keeper = Courier::new(Keeper::default());
    *keeper.lock() = state;
    Arc::new(keeper)
}

fn honest() -> Arc<Courier> {
    keeper(|line| apart::run(line, crate::services::line::Handed::default()).unwrap())
}

fn client(courier: &Arc<Courier>, options: TransportOptions) -> Arc<dyn Transport> {
    let options = TransportOptions { proxy: ProxyChoice::Never, ..options };
    Requests(Arc::clone(courier)).open(&options).unwrap()
}

/// A server that answers each body with itself.
fn echo() -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while echo_once(&stream).is_some() {});
        }
    });
    Origin { https: false, authority }
}

fn echo_once(mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Odd: yes\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

/// Answers whatever it hears in plain words, and stays until nobody is there any more.
fn plain() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut part = [0; 16 * 1024];
            while let Ok(1..) = stream.read(&mut part) {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
        }
    });
    authority
}

#[test]
fn many_at_once_have_each_its_own_answer_and_lanes_are_used_again() {
    let (courier, origin) = (honest(), echo());
    let client = client(&courier, TransportOptions::default());
    std::thread::scope(|scope| {
        for thread in 0..16_u8 {
            let (client, origin) = (&client, &origin);
            scope.spawn(move || {
                for bytes in [0, 1, 65_536, 65_537, 3_000_000] {
                    let body = vec![thread; bytes];
                    let request = Request::new(Method::Put, "/a?b=c").with_body(&body[..]);
                    let mut reply = client.send(origin, &request, PATIENCE).unwrap();
                    assert_eq!((reply.head.status, reply.head.header("x-odd")), (200, Some("yes")));
                    let mut into = vec![0; bytes];
                    assert_eq!(reply.read_into(&mut into), (bytes, None));
                    assert_eq!(into, body);
                }
            });
        }
    });
    let state = courier.lock();
    assert_eq!(state.in_use, 0);
    assert!((1..=16).contains(&state.idle.len()), "{} lanes", state.idle.len());
}

#[test]
fn whoever_reads_an_answer_in_part_leaves_nobody_else_its_rest() {
    let (courier, origin) = (honest(), echo());
    let client = client(&courier, TransportOptions::default());
    for round in 0..20_u8 {
        let body = vec![round; 500_000];
        let request = Request::new(Method::Put, "/").with_body(&body[..]);
        let mut reply = client.send(&origin, &request, PATIENCE).unwrap();
        let mut into = [0; 1000];
        assert_eq!(reply.read_into(&mut into), (1000, None));
        assert_eq!(into, [round; 1000]);
    }
    assert_eq!(courier.lock().in_use, 0);
}

#[test]
fn failures_keep_their_kinds_and_words() {
    let (courier, origin) = (honest(), echo());
    let client = client(&courier, TransportOptions::default());
    let sent = |origin: &Origin| {
        let request = Request::new(Method::Get, "/");
        client.send(origin, &request, PATIENCE).err().unwrap()
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let refused = sent(&Origin { https: false, authority: closed });
    assert_eq!(refused.kind, Kind::Connect);
    assert!(refused.what.ends_with("refuses the connection"), "{}", refused.what);
    let no_tls = sent(&Origin { https: true, authority: plain() });
    assert_eq!(no_tls.kind, Kind::Tls, "{}", no_tls.what);
    // One that failed is no reason for the next to.
    assert!(client.send(&origin, &Request::new(Method::Get, "/"), PATIENCE).is_ok());
}

/// Takes lanes, hears what is asked on each, and says this.
fn liar(says: &'static [u8], ends: bool) -> Arc<Courier> {
    keeper(move |line| {
        let mut held = Vec::new();
        while let Ok(Some(handed)) = line.receive(LANE.len()) {
            for file in handed.files {
                let mut stream = UnixStream::from(file);
                let _: Result<words::Begins<'_>, _> =
                    words::hear(&mut stream, words::ORDER_BYTES_MAX);
                let _ = stream.write_all(says);
                if !ends {
                    held.push(stream);
                }
            }
        }
    })
}

/// The last says nothing: it is `Over` that does not wait for it for an hour.
#[test]
fn a_courier_that_lies_or_stalls_is_an_error_in_time_and_is_not_asked_again() {
    let noise = [0xA5; 5000];
    let noise: &'static [u8] = Box::leak(Box::new(noise));
    for (says, ends, kind) in [
        (noise, false, Kind::Broken),
        (&[][..], true, Kind::Broken),
        (&[1, 0, 0, 0][..], true, Kind::Broken),
        (&[0xFF; 4][..], false, Kind::Broken),
        (&[][..], false, Kind::Timeout),
    ] {
        let courier = liar(says, ends);
        let none = Duration::ZERO;
        let options = TransportOptions {
            connect: none,
            idle: none,
            answer: none,
            ..TransportOptions::default()
        };
        let client = client(&courier, options);
        let origin = Origin { https: false, authority: "127.0.0.1:9".to_owned() };
        let body = vec![1; 1000];
        let request = Request::new(Method::Put, "/").with_body(&body[..]);
        // Longer than the silence that is borne.
        let failure = client.send(&origin, &request, Duration::from_secs(3600)).err().unwrap();
        assert_eq!(failure.kind, kind, "{says:?}: {}", failure.what);
        assert!(failure.is_passing());
        let state = courier.lock();
        assert!(state.work.is_none() && state.rests_until.is_some() && state.in_use == 0);
    }
}

fn errand<'a>(task: Task<'a>) -> Errand<'a> {
    Errand { task, patience: Duration::from_secs(20), authorities: Vec::new().into() }
}

fn record(port: u16, by: SyslogBy) -> Task<'static> {
    Task::Syslog { host: "localhost".into(), port, by, record: b"<14>1 - box"[..].into() }
}

fn letter(port: u16) -> Task<'static> {
    let letter = Letter {
        tls: MailTls::None,
        user: None,
        password: None,
        from: "box@example.com".into(),
        to: vec!["a@example.com".to_owned()].into(),
        mail: b"Subject: x\r\n\r\n"[..].into(),
    };
    Task::Mail { host: "127.0.0.1".into(), port, letter }
}

/// A listener that says this to whoever comes, and tells what it heard to the end.
fn says(text: &'static [u8]) -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(text);
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            let _ = tell.send(heard);
        }
    });
    (port, told)
}

#[test]
fn a_courier_hands_over_records_and_mail_and_says_how_it_went() {
    let courier = honest();
    let (log, logged) = says(b"");
    let taken = client::run(&courier, &errand(record(log, SyslogBy::Tcp)));
    let words = format!("localhost:{log} was sent it, and did not refuse");
    assert_eq!(taken, Ok(Came::Said(Ok(words))));
    assert_eq!(logged.recv_timeout(PATIENCE).unwrap(), b"11 <14>1 - box");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let sent = client::run(&courier, &errand(record(port, SyslogBy::Udp)));
    assert!(matches!(sent, Ok(Came::Said(Ok(_)))), "{sent:?}");
    let mut datagram = [0; 64];
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = socket.recv(&mut datagram).unwrap();
    assert_eq!(&datagram[..length], b"<14>1 - box");
    // All that a server says in one go: each answer is taken for the next command.
    let all =
        b"220 box\r\n250 hello\r\n250 fine\r\n250 fine\r\n354 go on\r\n250 queued\r\n221 bye\r\n";
    let (mail, mailed) = says(all);
    let taken = client::run(&courier, &errand(letter(mail)));
    assert_eq!(taken, Ok(Came::Said(Ok("127.0.0.1 took it for 1 of 1".to_owned()))));
    let heard = String::from_utf8(mailed.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert!(heard.contains("RCPT TO:<a@example.com>\r\n") && heard.contains("Subject: x"));
    let (busy, _) = says(b"421 \x1b[2Jtoo busy\r\n");
    let Ok(Came::Said(Err(words))) = client::run(&courier, &errand(letter(busy))) else {
        panic!("it was taken")
    };
    assert!(words.contains("421 \u{FFFD}[2Jtoo busy"), "{words}");
    assert_eq!(courier.lock().in_use, 0);
}

#[test]
fn a_courier_that_lies_about_an_errand_is_an_error_and_is_not_asked_again() {
    let noise = [0xA5; 5000];
    let noise: &'static [u8] = Box::leak(Box::new(noise));
    for (says, ends) in [(noise, false), (&[][..], true), (&[1, 0, 0, 0][..], true)] {
        let courier = liar(says, ends);
        let why = client::run(&courier, &errand(letter(9))).unwrap_err();
        assert_eq!(why, "the service that asks 127.0.0.1 ended");
        let state = courier.lock();
        assert!(state.work.is_none() && state.rests_until.is_some() && state.in_use == 0);
    }
}

/// `Wants::lanes_max` is what gives it one; that was not taken out yet to see this fail.
#[test]
fn where_requests_have_all_lanes_an_errand_has_one() {
    let courier = honest();
    let soon = Instant::now() + PATIENCE;
    let requests = |at: usize| courier.lane(Wants::Requests(at as u64), &[], soon).ok().unwrap();
    let held: Vec<Lane> = (0..LANES_MAX).map(requests).collect();
    assert!(courier.lane(Wants::Requests(1000), &[], Instant::now()).is_err());
    let (log, logged) = says(b"");
    let taken = client::run(&courier, &errand(record(log, SyslogBy::Tcp)));
    assert!(matches!(taken, Ok(Came::Said(Ok(_)))), "{taken:?}");
    assert_eq!(logged.recv_timeout(PATIENCE).unwrap(), b"11 <14>1 - box");
    drop(held);
}
