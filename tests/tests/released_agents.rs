//! Promise: agents of every released version keep working: whole conversations, as agents of each version say them, recorded as
//! bytes, are said to today's `lifeboat serve` over real TLS, and their point is the disk.
//!
//! A recording is never changed; a new version gets a new file.

use core::time::Duration;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use pipeline_wire::authority::Credentials;
use pipeline_wire::tls;
use rustls::{ClientConnection, StreamOwned};
use tests::ingesting::Appliance;
use tests::program::checked;
use tests::scripted_agent::ScriptedAgent;

const BLOCK: usize = 65_536;
const PATIENCE: Duration = Duration::from_secs(120);

/// What agents of a version say: a message a line, and what follows it. `SERVER` stands for who the server is.
struct Recording {
    version: u8,
    text: &'static str,
    /// The newest message that an appliance may say to such an agent, which knows no newer one.
    newest_tag: u8,
}

const RECORDINGS: [Recording; 3] = [
    Recording { version: 1, text: include_str!("released_agents/version-1.txt"), newest_tag: 12 },
    Recording { version: 2, text: include_str!("released_agents/version-2.txt"), newest_tag: 17 },
    Recording { version: 3, text: include_str!("released_agents/version-3.txt"), newest_tag: 17 },
];

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// The frames of a recording.
fn frames(recording: &Recording, server: &str) -> Vec<Vec<u8>> {
    let lines = recording.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let body = bytes(&words.next().expect("a body").replace("SERVER", server));
            let part = |word: &str| {
                let (byte, count) = word.split_once('*').expect("a byte and how often");
                let byte = u8::from_str_radix(byte, 16).expect("a byte");
                vec![byte; count.parse().expect("a count")]
            };
            let payload: Vec<u8> = words.flat_map(part).collect();
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
            [&length(&body)[..], &length(&payload), &body, &payload].concat()
        })
        .collect()
}

fn dial(agent: &ScriptedAgent) -> StreamOwned<ClientConnection, TcpStream> {
    let credentials = Credentials {
        certificate: agent.enrolment.certificate.clone(),
        key: agent.enrolment.key.clone().into(),
    };
    let config = tls::agent(&credentials, &agent.enrolment.authority).expect("a configuration");
    let name = tls::appliance_name().expect("a name");
    let client = ClientConnection::new(config, name).expect("a client");
    let socket = TcpStream::connect(&agent.enrolment.addresses[0]).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    StreamOwned::new(client, socket)
}

/// The body of the next frame.
fn hear(line: &mut StreamOwned<ClientConnection, TcpStream>) -> Vec<u8> {
    let mut head = [0; 8];
    line.read_exact(&mut head).expect("the appliance says something");
    let length = |at: usize| {
        let bytes = <[u8; 4]>::try_from(&head[at..at + 4]).expect("four");
        usize::try_from(u32::from_le_bytes(bytes)).expect("short")
    };
    let mut rest = vec![0; length(0) + length(4)];
    line.read_exact(&mut rest).expect("all of it");
    rest.truncate(length(0));
    rest
}

#[test]
fn what_agents_of_each_version_say_becomes_a_point_that_is_their_disk() {
    for recording in &RECORDINGS {
        let version = recording.version;
        let mut appliance = Appliance::new(&format!("released-{version}"), true);
        appliance.start();
        let agent =
            ScriptedAgent::enrol(&appliance.token(), "web", 4 * BLOCK, 7).expect("a server");
        let server: String =
            agent.enrolment.server.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut line = dial(&agent);
        let mut frames = frames(recording, &server).into_iter();
        line.write_all(&frames.next().expect("a hello")).expect("it is heard");
        let welcome = hear(&mut line);
        assert_eq!(welcome[..2], [0, version], "a welcome, in this version: {welcome:02x?}");
        for frame in frames {
            line.write_all(&frame).expect("it is heard");
        }
        line.flush().expect("it is heard");
        let began = Instant::now();
        let (mut spooled, mut wanted, mut vaulted) = (false, false, false);
        while !(spooled && wanted && vaulted) {
            let said = hear(&mut line);
            assert!(
                said[0] <= recording.newest_tag && said[0] != 1,
                "version {version}: {said:02x?}"
            );
            // Spooled up to 4; all four blocks of question 5 are wanted; the point of epoch 1.
            spooled |= said == [3, 4];
            wanted |= said == [5, 5, 1, 0x0f];
            vaulted |= said[..2] == [4, 1] && said.len() == 18;
            assert!(began.elapsed() < PATIENCE, "{spooled} {wanted} {vaulted}");
        }
        drop(line);
        let to = std::env::temp_dir().join(format!("lifeboat-released-{}", std::process::id()));
        let mut command = appliance.serving().verb(&["restore"]);
        command.args(["--server", &agent.enrolment.name, "--disk", "sda", "--to"]).arg(&to);
        checked(command.output().expect("it starts"), "restore");
        let restored = fs::read(&to).expect("a file");
        let _ = fs::remove_file(&to);
        let disk = [vec![0x41; BLOCK], vec![0x42; BLOCK], vec![0; 2 * BLOCK]].concat();
        assert!(restored == disk, "version {version}: the point is not the disk");
        appliance.stop();
    }
}
