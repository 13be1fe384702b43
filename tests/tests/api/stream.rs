//! The stream of events: many who read, some who do not, and some who come back.

use std::io::Write as _;

use serde_json::json;
use tests::managing::{Client, Stream, chunk, head};

use super::start;

/// Reads messages of a stream until one fits.
fn until(stream: &mut Stream, held: &mut String, fits: impl Fn(&str) -> bool) -> String {
    loop {
        while let Some((message, rest)) = held.split_once("\n\n") {
            let (message, rest) = (message.to_owned(), rest.to_owned());
            *held = rest;
            if fits(&message) {
                return message;
            }
        }
        let bytes = chunk(stream).expect("it goes on").expect("it has not ended");
        held.push_str(&String::from_utf8_lossy(&bytes));
    }
}

fn watch(client: &Client, headers: &str) -> Stream {
    let mut stream = client.connect();
    let request = format!("{}{headers}\r\n", client.head("GET", "/events/stream"));
    stream.write_all(request.as_bytes()).expect("it is heard");
    let head = head(&mut stream).expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    stream
}

#[test]
fn many_watch_what_happens_and_who_does_not_read_holds_up_nobody() {
    let (site, managed) = start();
    let vera = managed.client("vera");
    let mut watching: Vec<_> = (0..64).map(|_| (watch(&vera, ""), String::new())).collect();
    // Eight more never read a byte of what they are told.
    let asleep: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = vera.connect();
            let request = format!("{}\r\n", vera.head("GET", "/events/stream"));
            stream.write_all(request.as_bytes()).expect("it is heard");
            stream
        })
        .collect();
    for (stream, held) in &mut watching {
        until(stream, held, |message| message.starts_with("event: overview\n"));
    }
    site.comes_in("newcomer");
    let oskar = managed.client("oskar");
    let drill = json!({ "server": "web1", "kind": "drill", "point": null });
    let order = oskar.json("POST", "/orders", &drill).json();
    let id = order["order"].as_str().expect("an ID");
    // The order is told once; how all fares, again and again.
    for (stream, held) in &mut watching {
        until(stream, held, |it| it.starts_with("event: order\n") && it.contains(id));
        until(stream, held, |it| it.starts_with("event: overview\n") && it.contains("newcomer"));
    }
    // Others are answered meanwhile.
    assert_eq!(vera.get("/overview").status, 200);
    drop(asleep);
}

#[test]
fn who_comes_back_with_the_number_of_the_last_event_misses_none() {
    let (_, managed) = start();
    let oskar = managed.client("oskar");
    let policy = oskar.get("/servers/web1").json()["policy"].clone();
    let change = |seconds: u64| {
        let mut policy = policy.clone();
        policy["interval_seconds"] = json!(seconds);
        assert_eq!(oskar.json("PUT", "/servers/web1/policy", &policy).status, 200);
    };
    change(60);
    let newest = oskar.get("/events?limit=1").json()["events"][0]["number"].as_u64().expect("one");
    change(61);
    change(62);
    let mut stream = watch(&oskar, &format!("last-event-id: {newest}\r\n"));
    let mut held = String::new();
    for number in newest + 1..=newest + 2 {
        let message = until(&mut stream, &mut held, |message| message.contains("event: event\n"));
        assert!(message.starts_with(&format!("id: {number}\n")), "{message}");
    }
    change(63);
    let message = until(&mut stream, &mut held, |message| message.contains("event: event\n"));
    assert!(message.starts_with(&format!("id: {}\n", newest + 3)), "{message}");
}
