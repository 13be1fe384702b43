//! What a courier says is understood, and what a courier that lies says is bounded and ends in an error.

use hal_sim::random::Random;

use super::*;

fn head(headers: &[(&str, &str)]) -> Answer {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers = headers.iter().map(own).collect();
    Answer { shown: None, outcome: Ok(Answered { status: 200, headers, is_bodiless: false }) }
}

/// An answer with a body in these pieces, each as long as is said, and no end.
fn said(answer: &Answer, pieces: &[(u32, &[u8])]) -> Vec<u8> {
    let mut said = Vec::new();
    say(&mut said, answer).unwrap();
    for (length, bytes) in pieces {
        said.extend_from_slice(&length.to_le_bytes());
        said.extend_from_slice(bytes);
    }
    said
}

const END: (u32, &[u8]) = (0, &[]);

#[test]
fn an_answer_comes_whole_with_its_length_and_without() {
    let claimed = head(&[("content-length", "6"), ("x-ms-version", "1")]);
    let whole = said(&claimed, &[(4, b"four"), (2, b"en"), END]);
    assert_eq!(understand(&whole, 4096), Some((200, 6)));
    // Whoever has all of it need not ask for its end.
    let (mut from, mut into) = (&whole[..], [0; 6]);
    let answer: Answer = hear(&mut from, ANSWER_BYTES_MAX).unwrap();
    let (head_of_it, bodiless) = answer.checked().unwrap().unwrap();
    let mut pieces = Pieces::new(&head_of_it, bodiless);
    assert_eq!(pieces.read(&mut from, &mut into[..4]).unwrap(), Ok(4));
    assert!(!pieces.is_over);
    assert_eq!(pieces.read(&mut from, &mut into[4..]).unwrap(), Ok(2));
    assert!(pieces.is_over && from.is_empty() && &into == b"fouren");
    assert_eq!(understand(&said(&head(&[]), &[(3, b"abc"), END]), 4096), Some((200, 3)));
}

#[test]
fn a_failure_keeps_its_kind_and_its_words_and_moves_no_cursor() {
    let outcome = Err((Kind::ProxyAuthentication, "the proxy\u{1b}[2J\nwants more".to_owned()));
    let failure = Answer { shown: None, outcome }.checked().unwrap().unwrap_err();
    assert_eq!(failure.kind, Kind::ProxyAuthentication);
    assert_eq!(failure.what, "the proxy\u{FFFD}[2J wants more");
    let outcome = Err((Kind::Tls, "x".repeat(100_000)));
    let failure = Answer { shown: None, outcome }.checked().unwrap().unwrap_err();
    assert_eq!(failure.what.len(), FAILURE_CHARS_MAX);
    // A body that breaks says why, too.
    let mut bytes = said(&head(&[]), &[(1, b"a"), (BROKEN, &[])]);
    say(&mut bytes, &(Kind::Timeout, "fell silent".to_owned())).unwrap();
    let mut from = &bytes[..];
    let _: Answer = hear(&mut from, ANSWER_BYTES_MAX).unwrap();
    let mut pieces = Pieces::new(&Head::default(), false);
    assert_eq!(pieces.read(&mut from, &mut [0; 8]).unwrap(), Ok(1));
    let broke = pieces.read(&mut from, &mut [0; 8]).unwrap().unwrap_err();
    assert_eq!((broke.kind, broke.what.as_str()), (Kind::Timeout, "fell silent"));
}

/// The checks are in `Answer::checked`, `hear` and `Pieces`; they were not taken out yet, each by itself, to see this fail.
#[test]
fn what_no_courier_says_is_not_believed() {
    let six = head(&[("content-length", "6")]);
    let fine = said(&six, &[(6, b"sixsix"), END]);
    assert!(understand(&fine, 4096).is_some(), "or the rest says nothing");
    for (what, bytes) in [
        ("more than it said", said(&six, &[(9, b"ninenine!"), END])),
        ("another piece behind the last", said(&six, &[(6, b"sixsix"), (1, b"x"), END])),
        ("a piece beyond all pieces", said(&head(&[]), &[(0x00FF_FFFF, b"x")])),
        ("a name with a line in it", said(&head(&[("a\r\nb", "c")]), &[END])),
        ("a name in capitals", said(&head(&[("ETag", "c")]), &[END])),
        ("a value with a line in it", said(&head(&[("a", "b\r\nc: d")]), &[END])),
        ("headers without end", said(&head(&[("a", "b"); HEADERS_MAX + 1]), &[END])),
        ("no end of its body", said(&six, &[(6, b"sixsix")])),
        ("half a piece", said(&six, &[(6, b"six")])),
    ] {
        assert_eq!(understand(&bytes, 4096), None, "{what}");
    }
    let mut low = six.clone();
    low.outcome = low.outcome.map(|answered| Answered { status: 7, ..answered });
    assert_eq!(understand(&said(&low, &[END]), 4096), None, "no status of HTTP");
    let mut longer = Vec::new();
    say(&mut longer, &(six, 0_u8)).unwrap();
    assert_eq!(understand(&longer, 4096), None, "a word behind its word");
    // A word that claims to be long is not waited for, nor is memory taken for it.
    let long = u32::try_from(ANSWER_BYTES_MAX + 1).unwrap().to_le_bytes();
    let error = hear::<Answer>(&mut &long[..], ANSWER_BYTES_MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_body_without_end_is_read_as_far_as_its_reader_wants() {
    struct Endless(Vec<u8>);
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let cycle = [&1000_u32.to_le_bytes()[..], &[7; 1000]].concat();
            while self.0.len() < into.len() {
                self.0.extend_from_slice(&cycle);
            }
            into.copy_from_slice(&self.0[..into.len()]);
            self.0.drain(..into.len());
            Ok(into.len())
        }
    }
    struct Carried(Endless, Pieces);
    impl pipeline_azure::transport::carrier::Stream for Carried {
        fn read_some(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
            self.1.read(&mut self.0, into).unwrap()
        }
    }
    let origin = pipeline_azure::address::Origin { https: true, authority: "liar".to_owned() };
    let pieces = Pieces::new(&Head::default(), false);
    let body = Box::new(Carried(Endless(Vec::new()), pieces));
    let mut reply = pipeline_azure::transport::Reply::carried(Head::default(), body, origin);
    assert_eq!(reply.read_all(100_000).unwrap_err().kind, Kind::Answer);
}

#[test]
fn noise_is_an_answer_or_an_error() {
    let word = said(&head(&[("content-length", "6"), ("etag", "1")]), &[(6, b"sixsix"), END]);
    let mut random = Random::new(7);
    for _ in 0..10_000 {
        let mut noise = word.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(noise.len() as u64)).unwrap();
            noise[at] = u8::try_from(random.below(256)).unwrap();
        }
        noise.truncate(usize::try_from(random.below(noise.len() as u64 + 1)).unwrap());
        let _ = understand(&noise, 4096);
    }
}
