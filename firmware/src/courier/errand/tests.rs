//! What a courier says of an errand is understood, and what one that lies says is bounded and ends in an error.

use hal_sim::random::Random;

use super::super::words::{say, understand_errand};
use super::*;

fn said(came: &Came) -> Vec<u8> {
    let mut said = Vec::new();
    say(&mut said, came).unwrap();
    said
}

fn names(names: &[&str]) -> Came {
    Came::Names(names.iter().map(|name| Some((*name).to_owned())).collect())
}

/// The checks are in `Came::checked`; they were not taken out yet to see this fail.
#[test]
fn words_of_a_courier_are_cut_and_move_no_cursor() {
    let taken = Came::Said(Ok("mail took it for 1 of 1".to_owned()));
    assert_eq!(understand_errand(&said(&taken), None), Some(taken));
    let odd = Came::Said(Err("no\u{1b}[2J\r\nmore".to_owned()));
    let shown = Came::Said(Err("no\u{FFFD}[2J  more".to_owned()));
    assert_eq!(understand_errand(&said(&odd), None), Some(shown));
    let long = Came::Said(Ok("é".repeat(100_000)));
    let cut = Came::Said(Ok("é".repeat(WORDS_CHARS_MAX)));
    assert_eq!(understand_errand(&said(&long), None), Some(cut));
}

/// The checks are in `Came::checked`; they were not taken out yet to see this fail.
#[test]
fn names_are_as_many_as_were_asked_for_and_such_as_dns_has() {
    let two = names(&["web1.example", "db_2.example"]);
    assert_eq!(understand_errand(&said(&two), Some(2)), Some(two.clone()));
    let none = Came::Names(vec![None; ADDRESSES_MAX]);
    assert_eq!(understand_errand(&said(&none), Some(ADDRESSES_MAX)), Some(none));
    let taken = Came::Said(Ok(String::new()));
    for (what, came, asked) in [
        ("one too few", two.clone(), Some(3)),
        ("one too many", two.clone(), Some(1)),
        ("names to who sent something", two, None),
        ("words to who asked for names", taken, Some(1)),
        ("an empty name", names(&[""]), Some(1)),
        ("a name that moves the cursor", names(&["web1\u{1b}[2J"]), Some(1)),
        ("a name with markup", names(&["<b>"]), Some(1)),
        ("a name longer than any", names(&[&"a".repeat(NAME_BYTES_MAX + 1)]), Some(1)),
    ] {
        assert_eq!(understand_errand(&said(&came), asked), None, "{what}");
    }
}

#[test]
fn the_longest_true_answer_fits_and_a_longer_one_is_not_waited_for() {
    let long = "a".repeat(NAME_BYTES_MAX);
    let all = names(&[&*long; ADDRESSES_MAX]);
    assert_eq!(understand_errand(&said(&all), Some(ADDRESSES_MAX)), Some(all));
    let claims = u32::try_from(CAME_BYTES_MAX + 1).unwrap().to_le_bytes();
    let heard = super::super::words::hear::<Came>(&mut &claims[..], CAME_BYTES_MAX);
    assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn noise_is_an_answer_or_an_error() {
    let words = [said(&Came::Said(Err("no".to_owned()))), said(&names(&["a", "b"]))];
    let mut random = Random::new(11);
    for round in 0..10_000 {
        let mut noise = words[round % 2].clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(noise.len() as u64)).unwrap();
            noise[at] = u8::try_from(random.below(256)).unwrap();
        }
        noise.truncate(usize::try_from(random.below(noise.len() as u64 + 1)).unwrap());
        for asked in [None, Some(2)] {
            let _ = understand_errand(&noise, asked);
        }
    }
}

#[test]
fn a_password_is_handed_over_whole_and_is_in_no_other_word() {
    let letter = Letter {
        tls: MailTls::Tls,
        user: Some("ops".into()),
        password: Some(Password("correct horse".into())),
        from: "box@example.com".into(),
        to: vec!["a@example.com".to_owned()].into(),
        mail: b"Subject: x\r\n\r\n"[..].into(),
    };
    let task = Task::Mail { host: "mail.example".into(), port: 465, letter };
    let patience = Duration::from_secs(20);
    let errand = Errand { task, patience, authorities: Cow::Borrowed(&[]) };
    let mut bytes = Vec::new();
    say(&mut bytes, &errand.within(Duration::from_secs(3))).unwrap();
    let heard: Errand<'_> = super::super::words::hear(&mut &bytes[..], 1 << 20).unwrap();
    assert_eq!((heard.peer(), heard.patience.as_secs()), (("mail.example", Some(465)), 3));
    let Task::Mail { letter, .. } = heard.task else { panic!("another task") };
    assert_eq!(letter.password.as_ref().map(|password| &*password.0), Some("correct horse"));
    assert_eq!((&*letter.to[0], &*letter.mail), ("a@example.com", &b"Subject: x\r\n\r\n"[..]));
}

/// A DNS server that has a name for each address but those that end in 13, of which it says nothing; and what it says it says in any
/// letters.
fn dns() -> core::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let question = &question[..length];
            // Its first label is the last number of the address, as the name is written from behind.
            let label = &question[13..13 + usize::from(question[12])];
            if label == b"13" {
                continue;
            }
            let name: &[u8] = if label == b"7" { b"\x05a\x1b[2J\0" } else { b"\x04web1\0" };
            let mut answer = [&question[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
            answer.extend_from_slice(&question[12..]);
            answer.extend_from_slice(&[0xC0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0]);
            answer.push(u8::try_from(name.len()).unwrap());
            answer.extend_from_slice(name);
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

#[test]
fn names_come_in_the_order_of_their_addresses_and_those_that_nobody_tells_cost_their_time_alone() {
    let names = Names::new(NameOptions { servers: vec![dns()], ..NameOptions::default() });
    let addresses: Vec<IpAddr> =
        (1..=30).map(|last| core::net::Ipv4Addr::new(127, 9, 2, last).into()).collect();
    let task = Task::Names(addresses.as_slice().into());
    let patience = Duration::from_secs(12);
    let errand = Errand { task, patience, authorities: Cow::Borrowed(&[]) };
    let Came::Names(found) = errand.run(&names) else { panic!("no names") };
    for (place, name) in found.iter().enumerate() {
        let expected = (![13, 7].contains(&(place + 1))).then_some("web1");
        assert_eq!(name.as_deref(), expected, "{place}");
    }
}
