//! The server over real sockets: clients that follow the protocol, and clients that do not.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};

use firmware_recovery::hydrate::overlay::{Overlay, Scratch};
use pipeline_vault::Error;

use crate::nbd::listen::{Address, Listener};
use crate::nbd::server::serve;
use crate::nbd::source::{BlockSource, Export, Extent};

const BYTES: u64 = 3 * 1024 * 1024 + 512;

/// Bytes that tell where they are; the second MiB is zeros, the last sector cannot be read.
struct Pattern {
    reading: Arc<AtomicUsize>,
}

fn byte_at(offset: u64) -> u8 {
    let mib = offset >> 20;
    if mib == 1 { 0 } else { u8::try_from((offset / 512 + offset % 251) % 255).unwrap() + 1 }
}

impl BlockSource for Pattern {
    fn bytes(&self) -> u64 {
        BYTES
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.reading.fetch_add(1, Ordering::SeqCst);
        if offset + into.len() as u64 > BYTES - 512 {
            return Err(Error::corrupt("block 48", "could not be read when the point was made"));
        }
        for (byte, place) in into.iter_mut().zip(offset..) {
            *byte = byte_at(place);
        }
        Ok(())
    }

    fn extent(&self, offset: u64, bytes: u64) -> Result<Extent, Error> {
        let end = ((offset >> 20) + 1) << 20;
        Ok(Extent { bytes: bytes.min(end - offset), zero: offset >> 20 == 1 })
    }
}

/// A server for as long as a test runs; its thread ends with the test's process.
fn start() -> (SocketAddr, Arc<AtomicUsize>) {
    let reading = Arc::new(AtomicUsize::new(0));
    let source = Box::new(Pattern { reading: Arc::clone(&reading) });
    (start_with(source), reading)
}

fn start_with(source: Box<dyn BlockSource>) -> SocketAddr {
    let export = Export { name: "sda".into(), description: "a test".into(), source };
    let (say, hear) = mpsc::channel();
    std::thread::spawn(move || {
        smol::block_on(async {
            let any = "127.0.0.1:0".parse().unwrap();
            let (listener, address) = Listener::bind(&any).await.unwrap();
            say.send(address).unwrap();
            serve(&listener, export).await;
        });
    });
    match hear.recv().unwrap() {
        Address::Tcp(address) => address,
        Address::Unix(_) => unreachable!("it was told to use TCP"),
    }
}

struct Client(TcpStream);

impl Client {
    fn greet(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self(stream);
        assert_eq!(client.take(18), b"NBDMAGICIHAVEOPT\x00\x03");
        client.give(&3_u32.to_be_bytes());
        client
    }

    fn give(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn option(&mut self, number: u32, content: &[u8]) {
        self.give(b"IHAVEOPT");
        self.give(&number.to_be_bytes());
        self.give(&u32::try_from(content.len()).unwrap().to_be_bytes());
        self.give(content);
    }

    /// An option's answer: its kind and content.
    fn answer(&mut self, number: u32) -> (u32, Vec<u8>) {
        let header = self.take(20);
        assert_eq!(header[8..12], number.to_be_bytes());
        let kind = u32::from_be_bytes(header[12..16].try_into().unwrap());
        let length = u32::from_be_bytes(header[16..].try_into().unwrap());
        (kind, self.take(usize::try_from(length).unwrap()))
    }

    /// Agrees on the export; with structured replies and block status if asked.
    fn go(&mut self, structured: bool) {
        if structured {
            self.option(8, b"");
            assert_eq!(self.answer(8).0, 1);
            self.option(10, b"\0\0\0\x03sda\0\0\0\x01\0\0\0\x0fbase:allocation");
            assert_eq!(self.answer(10), (4, b"\0\0\0\x01base:allocation".to_vec()));
            assert_eq!(self.answer(10).0, 1);
        }
        self.option(7, b"\0\0\0\x03sda\0\0");
        while self.answer(7).0 != 1 {}
    }

    fn request(&mut self, flags: u16, command: u16, cookie: u64, offset: u64, length: u32) {
        let bytes = [
            &0x2560_9513_u32.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ];
        self.give(&bytes.concat());
    }

    fn simple(&mut self) -> (u32, u64) {
        let reply = self.take(16);
        assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes());
        let error = u32::from_be_bytes(reply[4..8].try_into().unwrap());
        (error, u64::from_be_bytes(reply[8..].try_into().unwrap()))
    }

    /// A structured reply's kind, cookie and content.
    fn chunk(&mut self) -> (u16, u64, Vec<u8>) {
        let header = self.take(20);
        assert_eq!(header[..6], [0x66, 0x8E, 0x33, 0xEF, 0, 1]);
        let kind = u16::from_be_bytes(header[6..8].try_into().unwrap());
        let cookie = u64::from_be_bytes(header[8..16].try_into().unwrap());
        let length = u32::from_be_bytes(header[16..].try_into().unwrap());
        (kind, cookie, self.take(usize::try_from(length).unwrap()))
    }

    /// The connection ends within its read timeout, whatever comes first.
    fn is_dropped(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn expected(offset: u64, length: u64) -> Vec<u8> {
    (offset..offset + length).map(byte_at).collect()
}

#[test]
fn reads_return_the_bytes_asked_for() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.go(false);
    for (offset, length) in [(0, 1), (511, 2), (65_535, 65_538), (1 << 20, 4096), (5, 2 << 20)] {
        client.request(0, 0, offset, offset, u32::try_from(length).unwrap());
        assert_eq!(client.simple(), (0, offset));
        assert_eq!(client.take(usize::try_from(length).unwrap()), expected(offset, length));
    }
    client.request(0, 2, 0, 0, 0);
    assert!(client.is_dropped());
}

#[test]
fn structured_replies_carry_data_holes_and_words() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.go(true);
    client.request(0, 0, 9, 100, 50);
    let (kind, cookie, content) = client.chunk();
    assert_eq!((kind, cookie), (1, 9));
    assert_eq!(content[..8], 100_u64.to_be_bytes());
    assert_eq!(content[8..], expected(100, 50));
    client.request(4, 0, 10, 1 << 20, 65_536);
    assert_eq!(client.chunk(), (2, 10, b"\0\0\0\0\0\x10\0\0\0\x01\0\0".to_vec()));
    client.request(0, 0, 11, BYTES - 512, 512);
    let (kind, cookie, content) = client.chunk();
    assert_eq!((kind, cookie, &content[..4]), (0x8001, 11, &b"\0\0\0\x05"[..]));
    assert!(String::from_utf8_lossy(&content).contains("could not be read"));
}

#[test]
fn block_status_tells_zeros_from_data() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.go(true);
    client.request(0, 7, 1, 512, (3 << 20) - 512);
    let (kind, _, content) = client.chunk();
    assert_eq!(kind, 5);
    let numbers: Vec<u32> =
        content.chunks(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect();
    assert_eq!(numbers, [1, (1 << 20) - 512, 0, 1 << 20, 3, 1 << 20, 0]);
    client.request(1 << 3, 7, 2, 0, 3 << 20);
    assert_eq!(client.chunk().2.len(), 12, "one extent where one is asked for");
}

#[test]
fn every_write_is_refused_and_the_connection_lives_on() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.go(false);
    client.request(0, 1, 1, 0, 100_000);
    client.give(&vec![7; 100_000]);
    assert_eq!(client.simple(), (1, 1));
    for command in [4, 6] {
        client.request(0, command, 2, 0, 512);
        assert_eq!(client.simple(), (1, 2));
    }
    client.request(0, 3, 3, 0, 0);
    assert_eq!(client.simple(), (0, 3), "flushing nothing succeeds");
    client.request(0, 0, 4, 0, 4);
    assert_eq!(client.simple(), (0, 4));
    assert_eq!(client.take(4), expected(0, 4));
}

#[test]
fn what_is_written_is_read_back_by_every_client_and_the_limits_are_told() {
    let scratch = Scratch::Memory { bytes_max: 4 * 65_536 };
    let address = start_with(Box::new(Overlay::new(vec![9; 1 << 20], scratch)));
    let (mut writer, mut reader) = (Client::greet(address), Client::greet(address));
    writer.go(false);
    reader.go(false);
    writer.request(1, 1, 1, 65_530, 12);
    writer.give(b"hello, disk!");
    assert_eq!(writer.simple(), (0, 1));
    writer.request(0, 6, 2, 200_000, 4);
    assert_eq!(writer.simple(), (0, 2));
    writer.request(2, 4, 3, 5 << 16, 65_536);
    assert_eq!(writer.simple(), (0, 3));
    writer.request(0, 3, 4, 0, 0);
    assert_eq!(writer.simple(), (0, 4));
    for (offset, bytes) in
        [(65_528, &b"\x09\x09hello, disk!\x09\x09"[..]), (199_999, b"\x09\0\0\0\0\x09")]
    {
        reader.request(0, 0, 5, offset, u32::try_from(bytes.len()).unwrap());
        assert_eq!(reader.simple(), (0, 5));
        assert_eq!(reader.take(bytes.len()), bytes);
    }
    reader.request(0, 0, 6, (5 << 16) - 1, 2);
    assert_eq!(reader.simple(), (0, 6));
    assert_eq!(reader.take(2), b"\x09\0");
    writer.request(0, 1, 7, (1 << 20) - 2, 4);
    writer.give(b"over");
    assert_eq!(writer.simple(), (22, 7), "past the end, and its payload was read past");
    writer.request(0, 1, 8, 6 << 16, 2 << 16);
    writer.give(&[1; 2 << 16]);
    assert_eq!(writer.simple(), (28, 8), "the overlay is full");
    writer.request(0, 1, 9, 0, u32::MAX);
    assert!(writer.is_dropped());
}

#[test]
fn senseless_requests_are_answered_with_einval() {
    let (address, reading) = start();
    let mut client = Client::greet(address);
    client.go(false);
    let cases = [
        (0, 0, BYTES, 1),
        (0, 0, u64::MAX, 2),
        (0, 0, 0, u32::MAX),
        (0x8000, 0, 0, 1),
        (0, 7, 0, 512),
        (0, 99, 0, 512),
    ];
    for (cookie, (flags, command, offset, length)) in cases.into_iter().enumerate() {
        client.request(flags, command, cookie as u64, offset, length);
        assert_eq!(client.simple(), (22, cookie as u64));
    }
    assert_eq!(reading.load(Ordering::SeqCst), 0, "nothing was read for them");
}

#[test]
fn many_requests_at_once_are_all_answered_before_goodbye() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.go(false);
    for cookie in 0..200 {
        client.request(0, 0, cookie, cookie * 512, 512);
    }
    client.request(0, 2, 0, 0, 0);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let (error, cookie) = client.simple();
        assert_eq!((error, client.take(512)), (0, expected(cookie * 512, 512)));
        assert!(seen.insert(cookie), "answered twice");
    }
    assert!(client.is_dropped());
}

#[test]
fn the_talk_before_an_export_follows_the_protocol() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.option(3, b"");
    assert_eq!(client.answer(3), (2, b"\0\0\0\x03sdaa test".to_vec()));
    assert_eq!(client.answer(3).0, 1);
    client.option(5, b"");
    assert_eq!(client.answer(5).0, 0x8000_0001, "no TLS here");
    client.option(7, b"\0\0\0\x03sdb\0\0");
    assert_eq!(client.answer(7).0, 0x8000_0006, "no such export");
    client.option(7, b"\0\0\0\xFFsda\0\0");
    assert_eq!(client.answer(7).0, 0x8000_0003, "a length that lies");
    client.option(10, b"\0\0\0\x03sda\0\0\0\0");
    assert_eq!(client.answer(10).0, 0x8000_0003, "contexts need structured replies");
    client.option(77, &[0; 20_000]);
    assert_eq!(client.answer(77).0, 0x8000_0009, "too long, but read past");
    client.option(6, b"\0\0\0\0\0\x01\0\x03");
    let kinds: Vec<u16> = core::iter::from_fn(|| match client.answer(6) {
        (3, content) => Some(u16::from_be_bytes([content[0], content[1]])),
        _ => None,
    })
    .collect();
    assert_eq!(kinds, [0, 3]);
    client.option(2, b"");
    assert_eq!(client.answer(2).0, 1);
    assert!(client.is_dropped());
}

#[test]
fn the_oldest_form_of_agreement_works() {
    let (address, _) = start();
    let mut client = Client::greet(address);
    client.option(1, b"");
    let facts = client.take(10);
    assert_eq!(u64::from_be_bytes(facts[..8].try_into().unwrap()), BYTES);
    client.request(0, 0, 1, 0, 8);
    assert_eq!(client.simple(), (0, 1));
    assert_eq!(client.take(8), expected(0, 8));
    let mut stranger = Client::greet(address);
    stranger.option(1, b"other");
    assert!(stranger.is_dropped(), "that form has no other way to refuse");
}

#[test]
fn hostile_clients_lose_their_connection_and_nothing_else() {
    let (address, _) = start();
    let garbage: [&[u8]; 4] = [
        b"\xFF\xFF\xFF\xFF",
        b"\0\0\0\x03GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x03IHAVEOPT\0\0\0\x07\xFF\xFF\xFF\xFF",
        b"\0\0\0\0",
    ];
    for bytes in garbage {
        let mut client = Client(TcpStream::connect(address).unwrap());
        client.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.take(18);
        client.give(bytes);
        assert!(client.is_dropped(), "{bytes:?}");
    }
    let mut wrong_magic = Client::greet(address);
    wrong_magic.go(false);
    wrong_magic.give(&[0; 28]);
    assert!(wrong_magic.is_dropped());
    let mut huge_write = Client::greet(address);
    huge_write.go(false);
    huge_write.request(0, 1, 1, 0, u32::MAX);
    assert!(huge_write.is_dropped());
    // Reads that nobody takes, and half a request.
    let mut rude = Client::greet(address);
    rude.go(false);
    for cookie in 0..64 {
        rude.request(0, 0, cookie, 0, 2 << 20);
    }
    rude.give(&[0x25, 0x60]);
    drop(rude);
    let mut honest = Client::greet(address);
    honest.go(false);
    honest.request(0, 0, 1, 0, 4);
    assert_eq!(honest.simple(), (0, 1));
}

#[test]
fn one_client_too_many_is_turned_away() {
    let (address, _) = start();
    let held: Vec<Client> = (0..64).map(|_| Client::greet(address)).collect();
    let mut extra = Client(TcpStream::connect(address).unwrap());
    extra.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(extra.is_dropped());
    drop(held);
    for attempt in 0.. {
        let mut next = TcpStream::connect(address).unwrap();
        let mut greeting = [0; 18];
        if next.read_exact(&mut greeting).is_ok() {
            break;
        }
        assert!(attempt < 100, "a place becomes free");
        std::thread::sleep(Duration::from_millis(20));
    }
}
