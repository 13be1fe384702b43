//! Tokens survive being typed, and enrolment survives whatever answers.

use std::io::{self, Read, Write};

use super::http::{NoAnswer, ask};
use super::*;

pub(crate) fn token() -> Token {
    let addresses = vec!["192.0.2.7:443".to_owned(), "[2001:db8::7]:443".to_owned()];
    Token { version: VERSION, addresses, pin: [0xa5; 32], ends_at: 1_800_000_000, secret: [7; 16] }
}

pub(crate) fn request() -> Request {
    Request {
        version: VERSION,
        secret: [7; 16],
        request: vec![1, 2, 3],
        binding: Binding { machine: [2; 16], disks: vec![[3; 16]] },
        host: "web1".to_owned(),
        kernel: "6.1.0".to_owned(),
        agent: "0.1.0".to_owned(),
        disks: vec![DiskHello {
            name: "sda".to_owned(),
            identity: "serial=S3Z8".to_owned(),
            bytes: 1 << 40,
            sector_bytes: 512,
        }],
    }
}

pub(crate) fn enrolled() -> Answer {
    Answer::Enrolled(Box::new(Enrolled {
        server: ServerId([9; 16]),
        name: "web1".to_owned(),
        certificate: vec![4],
        authority: vec![5, 6],
        addresses: vec!["192.0.2.7:9443".to_owned()],
    }))
}

#[test]
fn a_token_survives_being_typed() {
    let text = token().to_string();
    assert_eq!(text.parse(), Ok(token()));
    let typed = format!("  {}\n", text.to_lowercase().replace('-', "\r\n").replace('0', "O"));
    assert_eq!(typed.parse(), Ok(token()));
    assert!(
        text.len() < 200 && text.bytes().all(|sign| sign.is_ascii_alphanumeric() || sign == b'-')
    );
    let shown = format!("{:?}", token());
    assert!(!shown.contains("7, 7"), "{shown}");
    let (one, two) = (
        Token::generate(token().addresses, [0; 32], 1),
        Token::generate(token().addresses, [0; 32], 1),
    );
    assert_ne!(one.unwrap().secret_hash(), two.unwrap().secret_hash());
}

#[test]
fn any_sign_of_a_token_mistyped_missing_or_twice_is_noticed() {
    let text = token().to_string();
    for at in 0..text.len() - 1 {
        let (before, after) = text.split_at(at);
        let (sign, after) = after.split_at(1);
        if sign == "-" {
            continue;
        }
        for other in ['2', 'Q', 'z']
            .into_iter()
            .filter(|other| !sign.eq_ignore_ascii_case(&other.to_string()))
        {
            let mistyped = format!("{before}{other}{after}").parse::<Token>();
            assert!(mistyped.is_err(), "{other} at {at}");
        }
        assert!(format!("{before}{after}").parse::<Token>().is_err(), "missing at {at}");
        assert!(format!("{before}{sign}{sign}{after}").parse::<Token>().is_err(), "twice at {at}");
        assert!(before.parse::<Token>().is_err());
    }
    assert_eq!("".parse::<Token>(), Err(NotAToken::Mistyped));
    assert_eq!("AAAA*".parse::<Token>(), Err(NotAToken::Sign('*')));
    assert_eq!("A".repeat(TOKEN_TEXT_MAX + 1).parse::<Token>(), Err(NotAToken::Mistyped));
    let newer = Token { version: 2, ..token() }.to_string();
    assert_eq!(newer.parse::<Token>(), Err(NotAToken::Newer));
}

#[test]
fn a_token_names_addresses_and_nothing_else() {
    for bad in [
        vec![],
        vec!["appliance:443".to_owned()],
        vec!["192.0.2.7".to_owned()],
        vec!["192.0.2.7:443".to_owned(); 5],
    ] {
        assert!(Token::generate(bad.clone(), [0; 32], 0).is_err(), "{bad:?}");
        let text = Token { addresses: bad, ..token() }.to_string();
        assert_eq!(text.parse::<Token>(), Err(NotAToken::Mistyped));
    }
}

/// Answers with what it was given, whatever it is asked, and keeps what that was.
struct Says {
    answer: io::Cursor<Vec<u8>>,
    asked: Vec<u8>,
    piece: usize,
}

impl Read for Says {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(self.piece);
        self.answer.read(&mut into[..length])
    }
}

impl Write for Says {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn asked(answer: &[u8], piece: usize) -> (Result<Answer, NoAnswer>, Vec<u8>) {
    let mut stream = Says { answer: io::Cursor::new(answer.to_vec()), asked: Vec::new(), piece };
    let answer = ask(&mut stream, "192.0.2.7:443", &request());
    (answer, stream.asked)
}

#[test]
fn an_answer_arrives_in_whatever_pieces_and_with_or_without_its_length() {
    let denied = Answer::Denied(Denied::of(Why::Used));
    for (status, answer) in [(200, enrolled()), (403, denied)] {
        let body = emit(&answer).unwrap();
        for head in [format!("Content-Length: {}\r\n", body.len()), "x: y\r\n".to_owned()] {
            let head = format!("HTTP/1.1 {status} x\r\n{head}connection: close\r\n\r\n");
            let bytes = [head.as_bytes(), &body].concat();
            for piece in [1, 7, 1 << 16] {
                let (heard, said) = asked(&bytes, piece);
                assert_eq!(heard.unwrap(), answer);
                let body = emit(&request()).unwrap();
                assert!(said.starts_with(b"POST /enrol HTTP/1.1\r\nhost: 192.0.2.7:443\r\n"));
                assert!(said.ends_with(&body));
                assert!(
                    String::from_utf8_lossy(&said)
                        .contains(&format!("content-length: {}\r\n", body.len()))
                );
            }
        }
    }
}

#[test]
fn foreign_answers_end_in_words_and_never_grow() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(200_000));
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "SSH-2.0-OpenSSH_9.2p1\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nthere",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        &long,
        &endless,
    ] {
        let (heard, _) = asked(answer.as_bytes(), 4096);
        let words = heard.unwrap_err().to_string();
        assert!(!words.is_empty());
    }
    let (heard, _) = asked(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n", 4096);
    assert!(heard.unwrap_err().to_string().contains("HTTP 405"));
}

#[test]
fn requests_and_answers_are_what_they_say_or_nothing() {
    let bytes = emit(&request()).unwrap();
    assert_eq!(parse::<Request>(&bytes), Some(request()));
    assert_eq!(version_of(&bytes), Some(VERSION));
    assert_eq!(parse::<Request>(&[&bytes[..], &[0]].concat()), None);
    for length in 0..bytes.len() {
        assert_eq!(parse::<Request>(&bytes[..length]), None);
    }
    let huge = Request { host: "a".repeat(BYTES_MAX), ..request() };
    assert_eq!(emit(&huge), Err(TooLarge));
}
