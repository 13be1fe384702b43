//! Alerts to real receivers over real sockets: good ones, and those that are down, slow or lying.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver as Inbox, channel};

use firmware_web::api::alarm::Alarm as _;
use firmware_web::api::site::Role;
use firmware_web::api::views::alerts::ChannelSet;
use pipeline_azure::encode::base64_decode;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::admin::keep::MemoryKeep;
use receivers::{OK, http, listen, smtp, within_tls};
use rules::{Kind, Level};

/// Who is told.
mod receivers;

const WAIT: Duration = Duration::from_secs(60);

/// A certificate for `localhost`, and the file that makes it trusted.
struct Trust {
    server: Arc<ServerConfig>,
    file: PathBuf,
}

impl Trust {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let file =
            std::env::temp_dir().join(format!("lifeboat-alerts-{name}-{}.pem", std::process::id()));
        let body = pipeline_azure::encode::base64(made.cert.der());
        std::fs::write(
            &file,
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
        )
        .unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { server: Arc::new(server), file }
    }

    fn machine(&self) -> Machine {
        let file = self.file.display().to_string();
        Machine::with_table(vec![("LIFEBOAT_CA_FILE".to_owned(), file)])
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn webhook(name: &str, port: u16) -> ChannelSet {
    let way = Way::Webhook { url: format!("https://localhost:{port}/alert?team=7") };
    ChannelSet {
        name: name.to_owned(),
        way,
        secret: Some("correct horse".to_owned()),
        at_least: None,
    }
}

fn syslog(name: &str, port: u16, by: SyslogBy) -> ChannelSet {
    let way = Way::Syslog { host: format!("localhost:{port}"), by };
    ChannelSet { name: name.to_owned(), way, ..ChannelSet::default() }
}

fn mail(name: &str, port: u16, tls: MailTls, user: Option<&str>, to: &[&str]) -> ChannelSet {
    let way = Way::Mail {
        host: format!("localhost:{port}"),
        tls,
        user: user.map(str::to_owned),
        from: "box@example.com".to_owned(),
        to: to.iter().map(|one| (*one).to_owned()).collect(),
    };
    let secret = user.map(|_| "correct horse".to_owned());
    ChannelSet { name: name.to_owned(), way, secret, at_least: None }
}

fn by() -> Caller {
    Caller { name: "ann".to_owned(), role: Role::Administrator }
}

fn open(trust: &Trust, keep: &Arc<MemoryKeep>, patience: Duration) -> Arc<Alerts> {
    Alerts::open_with(Arc::clone(keep) as Arc<dyn Keep>, &trust.machine(), "box", patience).unwrap()
}

fn set(alerts: &Alerts, channels: Vec<ChannelSet>) {
    alerts.set_alerts(&by(), &AlertsSet { channels, ..AlertsSet::default() }).unwrap();
}

fn failed_drill(object: &str, level: Level) -> Reading {
    Reading {
        kind: Kind::DrillFailed,
        object: object.to_owned(),
        level,
        health: Health::Bad,
        words: format!("{object} did not come up"),
        remedy: "read the report",
        raise_millis: 0,
        over_millis: 0,
    }
}

/// A record of RFC 5424, taken to pieces strictly: priority, message ID, text.
fn record(bytes: &[u8]) -> (u8, String, String) {
    let text = core::str::from_utf8(bytes).unwrap();
    let (priority, rest) = text.strip_prefix('<').unwrap().split_once('>').unwrap();
    let mut words = rest.splitn(7, ' ');
    let mut word = || words.next().unwrap();
    assert_eq!(word(), "1");
    assert!(pipeline_azure::date::parse_iso_date(word()).is_some());
    assert_eq!((word(), word()), ("box", "lifeboat"));
    assert!(word().parse::<u32>().is_ok());
    let kind = word().to_owned();
    let (origin, text) = word().split_once("] \u{feff}").unwrap();
    assert!(origin.starts_with("[origin software=\"lifeboat\""));
    (priority.parse().unwrap(), kind, text.to_owned())
}

/// What a receiver heard, and by which way.
type Heard = Inbox<(&'static str, Vec<u8>)>;

/// A receiver for each way but mail: their ports for HTTPS, UDP, TCP and TLS.
fn receivers(trust: &Trust) -> ([u16; 4], Heard) {
    let (tell, told) = channel();
    let (config, hook) = (Arc::clone(&trust.server), tell.clone());
    let https = listen(move |stream| {
        let (head, body) = http(within_tls(stream, &config), OK).unwrap();
        assert!(head.starts_with("POST /alert?team=7 HTTP/1.1\r\n"), "{head}");
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let signature = header("x-lifeboat-signature: ");
        let seconds: u64 = signature[2..].split(',').next().unwrap().parse().unwrap();
        assert_eq!(signature, webhook::signature("correct horse", seconds, &body));
        let _ = hook.send(("webhook", body));
    });
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (datagrams, udp_tell) = (udp.local_addr().unwrap().port(), tell.clone());
    std::thread::spawn(move || {
        loop {
            let mut bytes = vec![0; 4096];
            let length = udp.recv(&mut bytes).unwrap();
            let _ = udp_tell.send(("udp", bytes[..length].to_vec()));
        }
    });
    let counted = |mut stream: Box<dyn Read>| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let blank = all.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = core::str::from_utf8(&all[..blank]).unwrap().parse().unwrap();
        assert_eq!(all.len(), blank + 1 + length, "octets are counted");
        all[blank + 1..].to_vec()
    };
    let tcp_tell = tell.clone();
    let tcp = listen(move |stream| drop(tcp_tell.send(("tcp", counted(Box::new(stream))))));
    let (config, tls_tell) = (Arc::clone(&trust.server), tell);
    let tls = listen(move |stream| {
        drop(tls_tell.send(("tls", counted(Box::new(within_tls(stream, &config))))))
    });
    ([https, datagrams, tcp, tls], told)
}

#[test]
fn every_way_tells_an_alert_and_its_end_and_the_webhook_is_signed() {
    let trust = Trust::new("ways");
    let ([https, datagrams, tcp, tls], told) = receivers(&trust);
    let keep = Arc::new(MemoryKeep::default());
    let alerts = open(&trust, &keep, PATIENCE);
    set(
        &alerts,
        vec![
            webhook("hook", https),
            syslog("udp", datagrams, SyslogBy::Udp),
            syslog("tcp", tcp, SyslogBy::Tcp),
            syslog("tls", tls, SyslogBy::Tls),
        ],
    );
    for (level, event, priority, begin) in [
        (Level::Raise, "raised", 27, "server web1: server web1 did not come up; read the report"),
        (Level::Clear, "over", 29, "server web1: Over: server web1 did not come up"),
    ] {
        alerts.take(&[failed_drill("server web1", level)]);
        let mut ways = Vec::new();
        for _ in 0..4 {
            let (way, bytes) = told.recv_timeout(WAIT).unwrap();
            ways.push(way);
            if way == "webhook" {
                let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(
                    (value["event"].as_str(), value["kind"].as_str()),
                    (Some(event), Some("drill_failed"))
                );
            } else {
                assert_eq!(
                    record(&bytes),
                    (priority, "drill_failed".to_owned(), begin.to_owned()),
                    "{way}"
                );
            }
        }
        ways.sort_unstable();
        assert_eq!(ways, ["tcp", "tls", "udp", "webhook"]);
    }
    let view = serde_json::to_string(&alerts.alerts().unwrap()).unwrap();
    assert!(!view.contains("correct horse") && view.contains("\"set\":true"), "{view}");
    alerts.post.end();
}

/// A mail server on a port, with TLS from the first byte or by STARTTLS; what was said to it.
fn mail_server(trust: &Trust, tls: MailTls, auth: &'static str) -> (u16, Inbox<String>) {
    let (tell, told) = channel();
    let config = Arc::clone(&trust.server);
    let port = listen(move |mut stream| {
        let note = |said: String| drop(tell.send(said));
        if tls == MailTls::Tls {
            let mut stream = within_tls(stream, &config);
            stream.write_all(b"220 box\r\n").unwrap();
            smtp(stream, auth, note);
            return;
        }
        stream.write_all(b"220-box\r\n220 ESMTP\r\n").unwrap();
        let offers = if tls == MailTls::Starttls { "STARTTLS" } else { "8BITMIME" };
        smtp(&stream, offers, note);
        if tls == MailTls::Starttls {
            smtp(within_tls(stream, &config), auth, note);
        }
    });
    (port, told)
}

#[test]
fn mail_goes_within_tls_logged_in_and_says_whom_it_did_not_reach() {
    let trust = Trust::new("mail");
    let (starttls, said_starttls) = mail_server(&trust, MailTls::Starttls, "AUTH PLAIN LOGIN");
    let (tls, said_tls) = mail_server(&trust, MailTls::Tls, "AUTH LOGIN");
    let (plain, said_plain) = mail_server(&trust, MailTls::None, "");
    let alerts = open(&trust, &Arc::new(MemoryKeep::default()), PATIENCE);
    set(
        &alerts,
        vec![
            mail(
                "starttls",
                starttls,
                MailTls::Starttls,
                Some("ops"),
                &["a@example.com", "nobody@example.com"],
            ),
            mail("tls", tls, MailTls::Tls, Some("ops"), &["a@example.com"]),
            mail("plain", plain, MailTls::None, None, &["a@example.com"]),
        ],
    );
    let tests = alerts.test(&by()).unwrap();
    assert!(tests.iter().all(|test| test.taken), "{tests:?}");
    assert!(
        tests[0].words.contains("1 of 2") && tests[0].words.contains("nobody@example.com"),
        "{tests:?}"
    );
    let first: Vec<String> = said_starttls.try_iter().collect();
    let begun: Vec<&str> = first.iter().map(|said| said.split(' ').next().unwrap()).collect();
    assert_eq!(begun[..4], ["EHLO", "STARTTLS", "EHLO", "AUTH"], "nothing is said before TLS");
    assert!(first.iter().any(|said| said.contains("Subject: =?utf-8?B?")));
    let second: Vec<String> = said_tls.try_iter().collect();
    assert_eq!(base64_decode(&second[2]).unwrap(), b"ops");
    assert_eq!(base64_decode(&second[3]).unwrap(), b"correct horse");
    assert!(said_plain.try_iter().all(|said| !said.starts_with("AUTH")));
    // A server without STARTTLS is told nothing but hello.
    set(&alerts, vec![mail("starttls", plain, MailTls::Starttls, Some("ops"), &["a@example.com"])]);
    let refused = alerts.test(&by()).unwrap();
    assert!(!refused[0].taken && refused[0].words.contains("offers no STARTTLS"), "{refused:?}");
    assert_eq!(said_plain.try_iter().collect::<Vec<_>>().len(), 1);
    alerts.post.end();
}

/// Says this, and the same again for as long as somebody reads it.
fn says(text: &'static [u8]) -> u16 {
    listen(move |mut stream| {
        let _ = stream.write_all(text);
        let _ = stream.read(&mut [0; 64]);
        while stream.write_all(text).is_ok() {}
    })
}

/// Channels to receivers that are no good, as many at a time as there may be, each with what is said of it.
fn bad_channels(trust: &Trust, stranger: &Trust) -> [Vec<(ChannelSet, &'static str)>; 2] {
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = listen(|stream| {
        std::thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    [bad_hooks(trust, stranger, down, silent), bad_mail(down, silent)]
}

fn bad_hooks(
    trust: &Trust,
    stranger: &Trust,
    down: u16,
    silent: u16,
) -> Vec<(ChannelSet, &'static str)> {
    let answers = |answer: &'static str| {
        let config = Arc::clone(&trust.server);
        listen(move |stream| drop(http(within_tls(stream, &config), answer)))
    };
    let config = Arc::clone(&stranger.server);
    let foreign = listen(move |stream| drop(http(within_tls(stream, &config), OK)));
    vec![
        (webhook("down", down), "connect"),
        (
            webhook("refuses", answers("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")),
            "refuses it (403)",
        ),
        (
            webhook(
                "elsewhere",
                answers(
                    "HTTP/1.1 302 Go\r\nlocation: https://thief.example/\r\ncontent-length: 0\r\n\r\n",
                ),
            ),
            "not followed",
        ),
        (
            webhook("broken", answers("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")),
            "did not take it (500)",
        ),
        (webhook("foreign", foreign), "certificate"),
        (webhook("no-tls", says(b"HTTP/1.1 200 OK\r\n\r\n")), ""),
        (syslog("no-log", down, SyslogBy::Tcp), "takes no connection"),
        (syslog("no-log-tls", silent, SyslogBy::Tls), "took too long"),
    ]
}

fn bad_mail(down: u16, silent: u16) -> Vec<(ChannelSet, &'static str)> {
    let floods = listen(|mut stream| while stream.write_all(b"220-more\r\n").is_ok() {});
    let dripping = listen(|mut stream| {
        while stream.write_all(b"2").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    // What is put behind the answer to STARTTLS, by somebody on the way, is never heard.
    let injected = listen(|mut stream| {
        let _ = stream.write_all(b"220 box\r\n");
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"250-box\r\n250 STARTTLS\r\n");
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"220 go\r\n250-AUTH PLAIN\r\n");
        let _ = stream.read(&mut [0; 64]);
    });
    let to = ["a@example.com"];
    let letter = |name: &str, port| mail(name, port, MailTls::Starttls, Some("ops"), &to);
    vec![
        (letter("no-mail", down), "takes no connection"),
        (letter("silent", silent), "took too long"),
        (letter("dripping", dripping), "took too long"),
        (letter("no-smtp", says(b"SSH-2.0-OpenSSH\r\n")), "does not speak SMTP"),
        (letter("endless-line", says(&[b'2'; 4096])), "does not end"),
        (letter("endless", floods), "without end"),
        (letter("full", says(b"421 too busy\r\n")), "421"),
        (letter("injected", injected), "more than it was asked"),
    ]
}

#[test]
fn receivers_that_are_down_slow_or_lying_are_told_apart_in_words_and_none_is_waited_for_long() {
    let trust = Trust::new("bad");
    let batches = bad_channels(&trust, &Trust::new("stranger"));
    let alerts = open(&trust, &Arc::new(MemoryKeep::default()), Duration::from_secs(3));
    for batch in batches {
        set(&alerts, batch.iter().map(|(channel, _)| channel.clone()).collect());
        let tests = alerts.test(&by()).unwrap();
        for (test, (_, words)) in tests.iter().zip(&batch) {
            assert!(!test.taken && test.words.contains(words), "{}: {}", test.name, test.words);
            assert!(
                !test.words.contains("correct horse") && test.words.len() < 600,
                "{}",
                test.words
            );
        }
    }
    alerts.post.end();
}

/// Drops them, once the last try of their channels is over: it would tell as well as what is opened next.
fn ended(alerts: Arc<Alerts>) {
    let post = Arc::clone(&alerts.post);
    post.end();
    drop(alerts);
    for _ in 0..600 {
        if Arc::strong_count(&post) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("a channel's thread goes on");
}

#[test]
fn what_nobody_took_is_told_after_a_restart_once_somebody_does() {
    let trust = Trust::new("restart");
    let (tell, told) = channel();
    let config = Arc::clone(&trust.server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let keep = Arc::new(MemoryKeep::default());
    let alerts = open(&trust, &keep, PATIENCE);
    set(&alerts, vec![webhook("hook", port)]);
    alerts.take(&[failed_drill("server web1", Level::Raise)]);
    let id = alerts.standing()[0].id.clone();
    ended(alerts);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answered = http(within_tls(stream.unwrap(), &config), OK);
            let _ = tell.send(answered.map(|(_, body)| body).unwrap_or_default());
        }
    });
    let again = open(&trust, &keep, PATIENCE);
    let body: serde_json::Value =
        serde_json::from_slice(&told.recv_timeout(WAIT).unwrap()).unwrap();
    assert_eq!((body["event"].as_str(), body["alert"].as_str()), (Some("raised"), Some(&*id)));
    // What stands is known to stand: nobody is told once more, and its end is told.
    assert!(again.take(&[failed_drill("server web1", Level::Raise)]).is_empty());
    again.take(&[failed_drill("server web1", Level::Clear)]);
    let body: serde_json::Value =
        serde_json::from_slice(&told.recv_timeout(WAIT).unwrap()).unwrap();
    assert_eq!((body["event"].as_str(), body["alert"].as_str()), (Some("over"), Some(&*id)));
    again.post.end();
}

#[test]
fn a_switch_that_is_out_is_one_message_and_a_full_queue_gives_the_oldest_up() {
    let trust = Trust::new("many");
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let alerts = open(&trust, &Arc::new(MemoryKeep::default()), PATIENCE);
    set(&alerts, vec![webhook("hook", down)]);
    let many: Vec<Reading> =
        (0..40).map(|at| failed_drill(&format!("server {at}"), Level::Raise)).collect();
    assert_eq!(alerts.take(&many).len(), 40);
    assert_eq!(alerts.alerts().unwrap().waiting, 1);
    for _ in 0..post::WAITING_MAX {
        alerts.take(&[failed_drill("server x", Level::Clear)]);
        alerts.take(&[failed_drill("server x", Level::Raise)]);
    }
    let view = alerts.alerts().unwrap();
    assert_eq!(view.waiting, u64::try_from(post::WAITING_MAX).unwrap());
    assert!(view.given_up > 0);
    alerts.post.end();
}
