//! `serve-nbd` against everybody's clients: what they read is the disk, and the rude ones disturb nobody.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tests::azurite::Scratch;
use tests::cli::{change, image, run};
use tests::program::{Place, checked};

const BYTES: usize = 12 * 1024 * 1024 + 512;

/// A vault with two points of one disk, and copies of what the disk was.
struct Bed {
    scratch: Scratch,
    place: Place,
    first: String,
}

impl Bed {
    fn new(label: &str) -> Self {
        let scratch = Scratch::new(label).unwrap();
        let place = Place::in_folder(scratch.path());
        let disk = image(&scratch.path().join("sda"), BYTES, 21);
        let protect = || {
            let mut command = place.verb("protect");
            run(command.args(["--server", "web1", "--json"]).arg(&disk)).succeeds().json()
        };
        let first = protect()["point"].as_str().unwrap().to_owned();
        fs::copy(&disk, scratch.path().join("sda.first")).unwrap();
        change(&disk, "sda", 12, 22);
        protect();
        Self { scratch, place, first }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn serve(&self, more: &[&str]) -> Server {
        let mut command = self.place.verb("serve-nbd");
        command.args(["--server", "web1", "--disk", "sda"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let uri = line.split_whitespace().find(|word| word.starts_with("nbd")).unwrap_or_default();
        assert!(!uri.is_empty(), "it says where it serves: {line}");
        Server { child, uri: uri.to_owned() }
    }
}

struct Server {
    child: Child,
    uri: String,
}

impl Server {
    /// Host and port of a server on TCP.
    fn address(&self) -> &str {
        self.uri.trim_start_matches("nbd://").split('/').next().unwrap()
    }

    fn stop(mut self) -> i32 {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it stops when it is told to");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn same(one: &Path, other: &Path) {
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{} differs", one.display());
}

#[test]
fn libnbd_and_qemu_read_the_disk_as_it_was() {
    let bed = Bed::new("nbd");
    let server = bed.serve(&["--listen", "127.0.0.1:0"]);
    let copy = bed.path("copy");
    checked(Command::new("nbdcopy").arg(&server.uri).arg(&copy).output().unwrap(), "nbdcopy");
    same(&copy, &bed.path("sda"));
    let mut compare = Command::new("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", "raw", &server.uri]).arg(bed.path("sda"));
    checked(compare.output().unwrap(), "qemu-img compare");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", "raw", &server.uri]).arg(bed.path("converted"));
    checked(convert.output().unwrap(), "qemu-img convert");
    same(&bed.path("converted"), &bed.path("sda"));
    let info = checked(Command::new("nbdinfo").arg(&server.uri).output().unwrap(), "nbdinfo");
    assert!(info.contains(&format!("export-size: {BYTES}")), "{info}");
    assert!(info.contains("is_read_only: true"), "{info}");
    assert_eq!(server.stop(), 0, "being told to stop is its good end");
}

#[test]
fn any_point_can_be_served_and_a_socket_goes_with_its_server() {
    let bed = Bed::new("nbdsocket");
    let socket = bed.path("s");
    let listen = format!("unix:{}", socket.display());
    let server = bed.serve(&["--point", &bed.first, "--listen", &listen]);
    let copy = bed.path("copy");
    checked(Command::new("nbdcopy").arg(&server.uri).arg(&copy).output().unwrap(), "nbdcopy");
    same(&copy, &bed.path("sda.first"));
    assert_eq!(server.stop(), 0);
    assert!(!socket.exists(), "the socket's file goes with the server");
}

#[test]
fn a_killed_servers_socket_is_taken_over_and_a_living_ones_is_not() {
    let bed = Bed::new("nbddead");
    let listen = format!("unix:{}", bed.path("s").display());
    let mut dead = bed.serve(&["--listen", &listen]);
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    let server = bed.serve(&["--listen", &listen]);
    let mut second = bed.place.verb("serve-nbd");
    second.args(["--server", "web1", "--disk", "sda", "--listen", &listen]);
    run(&mut second).fails(1, &["cannot be listened on", "--listen"]);
    assert_eq!(server.stop(), 0);
}

#[test]
fn writers_are_refused() {
    let bed = Bed::new("nbdwrite");
    let server = bed.serve(&["--listen", "127.0.0.1:0"]);
    let mut write = Command::new("qemu-io");
    let output = write.args(["-f", "raw", "-c", "write 0 64k", &server.uri]).output().unwrap();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let copy = bed.path("copy");
    checked(Command::new("nbdcopy").arg(&server.uri).arg(&copy).output().unwrap(), "nbdcopy");
    same(&copy, &bed.path("sda"));
}

/// qemu-io's answer to one command.
fn qemu_io(server: &Server, command: &str) -> String {
    let output = Command::new("qemu-io").args(["-f", "raw", "-c", command, &server.uri]).output();
    let output = checked(output.unwrap(), command);
    assert!(!output.contains("failed") && !output.contains("error"), "{command}: {output}");
    output
}

#[test]
fn with_an_overlay_writers_write_and_the_point_stays_as_it_is() {
    for place in ["memory", "overlay"] {
        let bed = Bed::new("nbdoverlay");
        let kept = bed.path(place);
        let overlay = if place == "memory" { place } else { kept.to_str().unwrap() };
        let server = bed.serve(&["--listen", "127.0.0.1:0", "--overlay", overlay]);
        assert!(!kept.exists(), "its name is gone at once");
        let info = checked(Command::new("nbdinfo").arg(&server.uri).output().unwrap(), "nbdinfo");
        for fact in ["is_read_only: false", "can_trim: true", "can_zero: true", "can_fua: true"] {
            assert!(info.contains(fact), "{fact}: {info}");
        }
        for command in [
            "write -P 0x5A 12345 70000",
            "write -z 1M 300k",
            "discard 3M 64k",
            "write -f -P 7 12582912 512",
            "flush",
        ] {
            qemu_io(&server, command);
        }
        let mut expected = fs::read(bed.path("sda")).unwrap();
        expected[12_345..82_345].fill(0x5A);
        expected[1 << 20..(1 << 20) + (300 << 10)].fill(0);
        expected[3 << 20..(3 << 20) + 65_536].fill(0);
        expected[12_582_912..].fill(7);
        fs::write(bed.path("expected"), &expected).unwrap();
        let copy = bed.path("copy");
        checked(Command::new("nbdcopy").arg(&server.uri).arg(&copy).output().unwrap(), "nbdcopy");
        same(&copy, &bed.path("expected"));
        // A whole disk written over by somebody else's program.
        let mut over = Command::new("nbdcopy");
        checked(over.arg(bed.path("sda.first")).arg(&server.uri).output().unwrap(), "nbdcopy");
        checked(Command::new("nbdcopy").arg(&server.uri).arg(&copy).output().unwrap(), "nbdcopy");
        same(&copy, &bed.path("sda.first"));
        assert_eq!(server.stop(), 0);
        let again = bed.serve(&["--listen", "127.0.0.1:0"]);
        checked(Command::new("nbdcopy").arg(&again.uri).arg(&copy).output().unwrap(), "nbdcopy");
        same(&copy, &bed.path("sda"));
    }
}

#[test]
fn an_overlay_takes_no_file_that_is_there() {
    let bed = Bed::new("nbdthere");
    let mut serve = bed.place.verb("serve-nbd");
    serve.args(["--server", "web1", "--disk", "sda", "--listen", "127.0.0.1:0", "--overlay"]);
    let before = fs::read(bed.path("sda")).unwrap();
    run(serve.arg(bed.path("sda"))).fails(1, &["cannot be an overlay", "not there yet"]);
    assert!(fs::read(bed.path("sda")).unwrap() == before);
}

#[test]
fn clients_that_speak_no_nbd_disturb_nobody() {
    let bed = Bed::new("nbdrude");
    let server = bed.serve(&["--listen", "127.0.0.1:0"]);
    let noise: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0\0\0\x03IHAVEOPT\0\0\0\x07\xFF\xFF\xFF\xFF",
        b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x03sda\x25\x60\x95\x13\0\0\0\x01",
        b"",
    ];
    let mut held = Vec::new();
    for bytes in noise {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\x00\x03");
        stream.write_all(bytes).unwrap();
        held.push(stream);
    }
    let copy = bed.path("copy");
    checked(Command::new("nbdcopy").arg(&server.uri).arg(&copy).output().unwrap(), "nbdcopy");
    same(&copy, &bed.path("sda"));
    assert_eq!(server.stop(), 0, "it is not kept by clients that stay");
}
