//! A ticket opens what it names, and nothing more.

use hal_sim::entropy::SimEntropy;

use super::*;
use crate::names;
use crate::scratch::{Scratch, mutations};
use crate::sealed;

const VAULT: VaultId = VaultId([7; 16]);
const SERVER: ServerId = ServerId([1; 16]);

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn ticket() -> Ticket {
    let name = names::chain_slot(&SERVER, 12);
    let record_key = sealed::name_key(&key(9), VAULT, ObjectKind::Record, &name);
    Ticket {
        vault: VAULT,
        place: String::from("azure://account/container"),
        server: SERVER,
        server_name: String::from("db1"),
        point: PointId([5; 16]),
        slot: 12,
        made: 1,
        expires: Some(2),
        fingerprint: key(3),
        objects: vec![ObjectTicket { name, key: record_key }],
        segments: (0..100)
            .map(|index| SegmentTicket { segment: SegmentId([index; 16]), key: key(index) })
            .collect(),
    }
}

#[test]
fn tickets_survive_their_text_with_and_without_passphrase() {
    let scratch = Scratch::new();
    for passphrase in [None, Some("correct horse")] {
        let text = ticket().text(passphrase, &SimEntropy::new(1)).expect("small");
        assert_eq!(is_sealed(&text), passphrase.is_some());
        let path = scratch.path().join(format!("ticket-{}", passphrase.is_some()));
        Ticket::write(&path, &text).expect("a new file");
        assert_eq!(Ticket::read(&path, passphrase), Ok(ticket()));
        assert!(Ticket::write(&path, &text).is_err(), "no file is overwritten");
    }
    let sealed = ticket().text(Some("correct horse"), &SimEntropy::new(1)).expect("small");
    assert!(Ticket::parse(&sealed, None, "ticket").is_err());
    assert!(Ticket::parse(&sealed, Some("wrong horse"), "ticket").is_err());
    assert!(!sealed.contains("db1"), "a sealed ticket names no server");
}

#[test]
fn the_named_record_opens_and_its_neighbour_does_not() {
    let ticket = ticket();
    let epoch = KeyEpoch(4);
    let open = |slot| {
        let name = names::chain_slot(&SERVER, slot);
        let kind = ObjectKind::Record;
        let bytes = sealed::seal(kind, VAULT, epoch, &key(9), &name, b"x", &SimEntropy::new(1));
        let bytes = bytes.expect("small");
        sealed::open(kind, VAULT, &name, &bytes, &|epoch| ticket.record_key(&SERVER, slot, epoch))
    };
    assert_eq!(open(12).expect("the ticket's slot").as_slice(), b"x");
    assert!(open(11).is_err() && open(13).is_err());
    assert_eq!(ticket.record_key(&ServerId([2; 16]), 12, epoch), None);
    assert_eq!(ticket.newest_record_key(&SERVER), None, "a ticket writes nothing");
}

#[test]
fn only_named_segments_of_the_server_open() {
    let ticket = ticket();
    let identity = |segment, server, vault| SegmentIdentity {
        vault,
        server,
        segment: SegmentId([segment; 16]),
        key_epoch: KeyEpoch(0),
        salt: [0; 32],
    };
    assert_eq!(ticket.segment_key(&identity(99, SERVER, VAULT)), Some(key(99)));
    assert_eq!(ticket.segment_key(&identity(100, SERVER, VAULT)), None);
    assert_eq!(ticket.segment_key(&identity(99, ServerId([2; 16]), VAULT)), None);
    assert_eq!(ticket.segment_key(&identity(99, SERVER, VaultId([8; 16]))), None);
    assert_eq!(ticket.fingerprint_key(&SERVER), Some(key(3)));
    assert_eq!(ticket.fingerprint_key(&ServerId([2; 16])), None);
}

#[test]
fn segments_out_of_order_are_no_ticket() {
    let mut ticket = ticket();
    ticket.segments.swap(0, 1);
    let text = ticket.text(None, &SimEntropy::new(1)).expect("small");
    assert!(Ticket::parse(&text, None, "ticket").is_err());
}

#[test]
fn a_ticket_too_large_is_refused() {
    let mut ticket = ticket();
    let segment = ticket.segments[0].clone();
    ticket.segments = vec![segment; 400_000];
    assert!(ticket.text(None, &SimEntropy::new(1)).is_err());
}

#[test]
fn mutated_tickets_err_and_never_panic() {
    let text = ticket().text(None, &SimEntropy::new(1)).expect("small");
    let plain = ticket().encode().expect("small");
    mutations(text.as_bytes(), 3000, |changed| {
        let changed = String::from_utf8_lossy(changed);
        if let Ok(found) = Ticket::parse(&changed, None, "ticket") {
            assert_eq!(found, ticket(), "the checksum lets nothing else through");
        }
    });
    mutations(&plain, 20_000, |changed| drop(Ticket::decode(changed, "ticket")));
    let sealed = ticket().text(Some("correct horse"), &SimEntropy::new(1)).expect("small");
    mutations(sealed.as_bytes(), 3000, |changed| {
        let changed = String::from_utf8_lossy(changed);
        assert!(Ticket::parse(&changed, None, "ticket").is_err());
    });
}
