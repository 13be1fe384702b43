//! Whoever sends nonsense, too much, too little or too slowly is let go, and nobody else notices.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use hal_sim::random::Random;
use serde_json::json;
use tests::managing::{Client, Managed, PASSWORD, answered};
use tests::synthetic_site::SyntheticSite;

/// Who is served meanwhile is served within this: far more than it takes, far less than any limit of the door.
const SERVED: Duration = Duration::from_secs(8);

fn start() -> Managed {
    Managed::start(Arc::new(SyntheticSite::new(1, 8)), |api, _| api)
}

/// Somebody new logs in, and somebody known goes on, both soon.
fn others_are_served(managed: &Managed, known: &Client) {
    let began = Instant::now();
    assert_eq!(known.get("/overview").status, 200);
    let stranger = managed.client("vera");
    assert_eq!(stranger.get("/servers/web1").status, 200);
    assert!(began.elapsed() < SERVED, "{:?}", began.elapsed());
}

fn plain(managed: &Managed) -> TcpStream {
    let stream = TcpStream::connect(managed.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a socket");
    stream
}

#[test]
fn hundreds_who_are_slow_at_every_phase_keep_nobody_out() {
    let managed = start();
    let known = managed.client("oskar");
    let mut held = Vec::new();
    let mut slow = Vec::new();
    for number in 0..320 {
        match number % 4 {
            // Says nothing at all; begins with TLS and stops.
            0 => held.push(plain(&managed)),
            1 => {
                let mut stream = plain(&managed);
                let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01");
                held.push(stream);
            }
            // A head, and a body, that never end.
            2 => {
                let mut stream = managed.nobody().connect();
                let _ =
                    stream.write_all(b"GET /api/v1/overview HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ");
                slow.push(stream);
            }
            _ => {
                let mut stream = managed.nobody().connect();
                let head = managed.nobody().head("POST", "/session");
                let head = format!(
                    "{head}content-type: application/json\r\ncontent-length: 60000\r\n\r\n{{"
                );
                let _ = stream.write_all(head.as_bytes());
                slow.push(stream);
            }
        }
        if number % 80 == 79 {
            others_are_served(&managed, &known);
            // A byte now and then.
            for stream in &mut slow {
                let _ = stream.write_all(b" ").and_then(|()| stream.flush());
            }
        }
    }
    others_are_served(&managed, &known);
    // They do not stay: whoever was not displaced runs into the limit of its phase.
    for mut stream in held {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    others_are_served(&managed, &known);
}

#[test]
fn who_asks_for_much_and_reads_nothing_holds_up_nobody() {
    let managed = start();
    let known = managed.client("oskar");
    let streams: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = known.connect();
            let request = format!("{}\r\n", known.head("GET", "/servers/web1/points?limit=1000"));
            // Pipelined, as many as go in.
            let _ = stream.write_all(request.repeat(20).as_bytes());
            stream
        })
        .collect();
    others_are_served(&managed, &known);
    drop(streams);
    others_are_served(&managed, &known);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_kept() {
    let managed = start();
    let oskar = managed.client("oskar");
    let kind = "content-type: application/json\r\n";
    for bytes in [64 * 1024 + 1, 1 << 20] {
        let answer = oskar.ask("POST", "/orders", kind, &vec![b' '; bytes]);
        assert_eq!(answer.status, 413, "{bytes}");
    }
    // Who goes on and on is closed on, and may not hear why.
    let endless = oskar.try_ask("POST", "/orders", kind, &vec![b' '; 64 << 20]);
    assert!(endless.map_or(413, |answer| answer.status) == 413);
    let mut stream = oskar.connect();
    let head = format!("{}{kind}transfer-encoding: chunked\r\n\r\n", oskar.head("POST", "/orders"));
    stream.write_all(head.as_bytes()).expect("it is heard");
    for _ in 0..64 {
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    assert_eq!(answered(&mut stream, false).expect("an answer").status, 413, "of no length");
    for (length, expected) in [(8 << 10, 200), (15 << 10, 200), (64 << 10, 431)] {
        let header = format!("x: {}\r\n", "a".repeat(length));
        let mut stream = oskar.connect();
        let request = format!("{}{header}connection: close\r\n\r\n", oskar.head("GET", "/session"));
        let _ = stream.write_all(request.as_bytes());
        // It may be closed on before it was heard out.
        match answered(&mut stream, false) {
            Ok(answer) => assert_eq!(answer.status, expected, "{length}"),
            Err(_) => assert_eq!(expected, 431, "{length}"),
        }
    }
    let many: String = (0..200).map(|number| format!("x{number}: y\r\n")).collect();
    let mut stream = oskar.connect();
    let request = format!("{}{many}\r\n", oskar.head("GET", "/session"));
    let _ = stream.write_all(request.as_bytes());
    assert_ne!(answered(&mut stream, false).map(|answer| answer.status).unwrap_or(431), 200);
    others_are_served(&managed, &oskar);
}

#[test]
fn nonsense_is_refused_and_nothing_breaks() {
    let managed = start();
    let known = managed.client("oskar");
    let seed = 0x0b0a_7001;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    let good = known.head("GET", "/session") + "\r\n";
    let fixed = [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /api/v1/servers/%00 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "GET /api/v1/servers/..%2f..%2fetc HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "GET /api/v1/../../etc/passwd HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "POST /api/v1/session HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
        "POST /api/v1/session HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST /api/v1/session HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/v1/session HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "GET /api/v1/overview HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer \u{1}\r\n\r\n",
        "GET /api/v1/overview HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: lifeboat=\r\n\r\n",
        "CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "GET http:// HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    ];
    let mut requests: Vec<Vec<u8>> = fixed.iter().map(|text| text.as_bytes().to_vec()).collect();
    for _ in 0..120 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let place = usize::try_from(random.below(bytes.len() as u64)).expect("small");
            match random.below(3) {
                0 => bytes[place] = u8::try_from(random.below(256)).expect("a byte"),
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, u8::try_from(random.below(256)).expect("a byte")),
            }
        }
        requests.push(bytes);
    }
    for request in requests {
        let mut stream = managed.nobody().connect();
        let _ = stream.write_all(&request).and_then(|()| stream.flush());
        // Half closed: no more comes.
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.shutdown(Shutdown::Write);
        if let Ok(answer) = answered(&mut stream, false) {
            let said = String::from_utf8_lossy(&request).into_owned();
            assert!(answer.status < 500, "{said:?} is answered by {}", answer.status);
        }
    }
    others_are_served(&managed, &known);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_one_that_is_refused_ends_nothing_else() {
    let managed = start();
    let oskar = managed.client("oskar");
    let paths =
        ["/session", "/servers/nobody", "/servers/web1", "/openapi.json", "/nowhere", "/session"];
    let mut stream = oskar.connect();
    let requests: String = paths.iter().map(|path| oskar.head("GET", path) + "\r\n").collect();
    stream.write_all(requests.as_bytes()).expect("it is heard");
    let statuses: Vec<u16> =
        paths.iter().map(|_| answered(&mut stream, false).expect("an answer").status).collect();
    assert_eq!(statuses, [200, 404, 200, 200, 404, 200]);
}

#[test]
fn thousands_who_come_and_go_leave_nothing_behind() {
    let managed = start();
    let known = managed.client("oskar");
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("a list").count();
    others_are_served(&managed, &known);
    let before = descriptors();
    for number in 0..4000 {
        let stream = TcpStream::connect(managed.address).expect("it listens");
        if number % 3 == 0 {
            let _ = (&stream).write_all(b"\x16\x03\x01\x00\x05hello");
        }
        drop(stream);
    }
    others_are_served(&managed, &known);
    // The door has seen all of them end once it answers nobody but us.
    let mut left = 0;
    for _ in 0..100 {
        left = descriptors().saturating_sub(before);
        if left < 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(left < 20, "{left} descriptors are left");
}

#[test]
fn guesses_by_the_hundred_take_no_memory_and_no_turn_of_others() {
    let managed = start();
    let known = managed.client("oskar");
    let nobody = managed.nobody();
    let guessers: Vec<_> = (0..24)
        .map(|number| {
            let client = nobody.clone();
            std::thread::spawn(move || {
                let name = format!("user{number}");
                let asked = json!({ "name": name, "password": "wrong wrong" });
                (0..6).map(|_| client.json("POST", "/session", &asked).status).collect::<Vec<u16>>()
            })
        })
        .collect();
    let began = Instant::now();
    assert_eq!(known.get("/overview").status, 200);
    assert!(began.elapsed() < SERVED, "{:?}", began.elapsed());
    let statuses: Vec<u16> =
        guessers.into_iter().flat_map(|guesser| guesser.join().expect("it ends")).collect();
    assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)), "{statuses:?}");
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert!(tried <= 12, "one address tried {tried} passwords at once");
    let asked = json!({ "name": "oskar", "password": PASSWORD });
    assert_eq!(nobody.json("POST", "/session", &asked).status, 429, "the address waits");
    assert_eq!(known.get("/session").status, 200, "who is in is in");
}

/// openssl as a client that knows nothing of rustls, with all its own limits lifted. Seen to fail where it is asked for 1.2 instead.
#[test]
fn an_independent_client_is_served_by_tls_1_2_and_1_3_and_by_nothing_older() {
    let managed = start();
    let at = managed.address.to_string();
    for (version, served) in
        [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)]
    {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &at, version, "-cipher", "ALL:@SECLEVEL=0"]);
        let said = openssl.stdin(Stdio::null()).output().expect("openssl starts");
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_shown = said.contains("BEGIN CERTIFICATE");
        assert_eq!(is_shown, served, "{version}: {said}");
        assert_eq!(said.contains("SSL alert number"), !served, "{version}: {said}");
    }
}
