//! Promise: a server comes to its appliance by one line, over the key that the line pins or not at all; a refusal leaves it
//! as it was, and its removal leaves nothing.
//!
//! The real `lifeboat serve`, the real agent, the real curl and wget, and a real sshd. Where things are installed, an empty
//! folder is mounted over what is there, in a namespace of the test's own.

use core::net::SocketAddr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tests::azurite::Scratch;
use tests::program::{Place, built, checked, lifeboat, serving};

/// Folders that the installer writes to.
const HIDES: &str = "set -e; for at in /usr/local/sbin /var/lib /run; \
    do mount -t tmpfs tmpfs $at; done; ";
const LOOKS: &str = "find /usr/local/sbin /var/lib/lifeboat-agent /etc/systemd/system/lifeboat-agent.service 2>/dev/null || true";

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

struct Appliance {
    scratch: Scratch,
    place: Place,
    page: SocketAddr,
    running: Child,
}

impl Appliance {
    fn start(label: &str) -> Self {
        let scratch = Scratch::new(label).expect("a scratch folder");
        let vault = format!("dir:{}", scratch.path().join("vault").display());
        let place = Place::create(vault, scratch.path(), &[]);
        let (page, agents) = (free(), free());
        let mut command = place.bare();
        command.args(["serve", "--vault", &place.vault, "--key-file"]).arg(&place.key);
        command.args(["--listen", &page.to_string(), "--agents", &agents.to_string()]);
        command.arg("--agent").arg(built("lifeboat-agent"));
        let running = serving(command);
        Self { scratch, place, page, running }
    }

    /// A token, and the line that uses it.
    fn token(&self) -> (String, String) {
        let mut command = self.place.bare();
        command.args(["server", "token", "--json", "--page", &self.page.to_string()]);
        command.args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        let told = checked(command.output().expect("it starts"), "server token");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let word = |name: &str| told[name].as_str().expect("text").to_owned();
        // Tests are root already, and not every machine has sudo.
        (word("token"), word("line").replace("sudo ", ""))
    }

    fn servers(&self) -> usize {
        let mut command = self.place.bare();
        command.args(["server", "list", "--json", "--vault", &self.place.vault, "--key-file"]);
        let told =
            checked(command.arg(&self.place.key).output().expect("it starts"), "server list");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        told["servers"].as_array().expect("a list").len()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

/// Runs a script as root of a machine on which nothing is installed yet.
fn on_a_server(script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{HIDES}{script}")]);
    command.stdin(Stdio::null()).output().expect("unshare starts")
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// What there is of an agent, after a script that looked.
fn left(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    out.split_once("left:\n")
        .map_or_else(|| "it did not look".to_owned(), |(_, left)| left.to_owned())
}

#[test]
fn one_line_installs_and_enrols_and_another_word_removes_all_of_it() {
    let appliance = Appliance::start("one-line");
    let (token, line) = appliance.token();
    let remove = line.replace(&token, "remove");
    // As a console shows it that has no room for it in one row.
    let line = line.replace(&token, &token.replacen('-', " \\\n  ", 1));
    let output = on_a_server(&format!(
        "{line}; echo; cmp {} /usr/local/sbin/lifeboat-agent; stat -c mode=%a,%a /usr/local/sbin/lifeboat-agent \
        /var/lib/lifeboat-agent/enrolment; {remove}; echo; echo left:; {LOOKS}",
        built("lifeboat-agent").display()
    ));
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("installed, and this server is enrolled"), "{said}");
    assert!(said.contains("mode=755,755") && said.contains("mode=600,600"), "{said}");
    assert_eq!(left(&output), "/usr/local/sbin\n", "{said}");
    assert_eq!(appliance.servers(), 1);
}

#[test]
fn wget_does_where_there_is_no_curl() {
    let appliance = Appliance::start("wget");
    let (token, line) = appliance.token();
    let pin = line.split('\'').nth(1).expect("a pin");
    let script = format!(
        "mount --bind /dev/null $(command -v curl); ! command -v curl; \
        wget -q --no-check-certificate --pinnedpubkey='{pin}' -O - https://{}/install.sh | sh -s {token}",
        appliance.page
    );
    let output = on_a_server(&script);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(appliance.servers(), 1);
}

#[test]
fn a_used_or_mistyped_token_and_another_key_leave_the_server_as_it_was() {
    let appliance = Appliance::start("refusals");
    let (token, line) = appliance.token();
    let first = on_a_server(&line);
    assert!(first.status.success(), "{}", said(&first));
    let mistyped =
        line.replace(&token, &token.replacen(token.chars().next().unwrap_or('0'), "7", 1));
    let pin = line.split('\'').nth(1).expect("a pin");
    let foreign = line.replace(pin, "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    for (line, word) in [
        (&line, "another server has used this token"),
        (&mistyped, "cut or mistyped"),
        (&foreign, "pinned"),
    ] {
        let output = on_a_server(&format!("{{ {line}; }} || true; echo left:; {LOOKS}"));
        let said = said(&output);
        assert!(said.contains(word), "{word}: {said}");
        assert_eq!(left(&output), "/usr/local/sbin\n", "{said}");
    }
    assert_eq!(appliance.servers(), 1);
}

#[test]
fn a_script_that_was_cut_off_anywhere_does_nothing() {
    let appliance = Appliance::start("cut-off");
    let (_, line) = appliance.token();
    let fetch = line.split('|').next().expect("curl");
    let script = checked(on_a_server(fetch), "curl");
    // Whole lines, so that most of the cuts are valid shell.
    let lines: Vec<&str> = script.lines().collect();
    for kept in (0..lines.len()).step_by(7) {
        let cut = lines[..kept].join("\n");
        let file = appliance.scratch.path().join("cut.sh");
        std::fs::write(&file, cut).expect("a file");
        let run = format!("sh {} TOKEN || true; echo left:; {LOOKS}", file.display());
        let output = on_a_server(&run);
        assert_eq!(left(&output), "/usr/local/sbin\n", "{kept}: {}", said(&output));
    }
    assert_eq!(appliance.servers(), 0);
}

/// sshd with a key of its own, on a port of this machine, whose sessions are in a namespace of their own.
struct Ssh {
    running: Child,
    config: std::path::PathBuf,
}

impl Ssh {
    fn start(folder: &Path) -> Self {
        let run =
            |command: &mut Command| checked(command.output().expect("it starts"), "ssh-keygen");
        for key in ["host", "client"] {
            let file = folder.join(key);
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file));
        }
        let port = free().port();
        let at = folder.display();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/client.pub\n\
            StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
        );
        std::fs::write(folder.join("sshd.conf"), settings).expect("a file");
        let client = format!(
            "Host web1 web2\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {at}/client\n  \
            StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n\
            Host gone\n  HostName 127.0.0.1\n  Port {}\n",
            free().port()
        );
        let config = folder.join("ssh.conf");
        std::fs::write(&config, client).expect("a file");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg(format!(
            "{HIDES} mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -f {at}/sshd.conf"
        ));
        let mut running =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("sshd");
        let told = BufReader::new(running.stderr.take().expect("a pipe"));
        let mut lines = told.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("listening on")), "sshd does not listen");
        std::thread::spawn(move || lines.count());
        Self { running, config }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

#[test]
fn many_servers_are_enrolled_through_ssh_and_one_that_fails_holds_up_nobody() {
    let appliance = Appliance::start("push");
    let ssh = Ssh::start(appliance.scratch.path());
    let tokens: Vec<String> = (0..3).map(|_| appliance.token().0).collect();
    let mut command = Command::new(lifeboat());
    command.args(["push", "--json", "--tokens", "-", "--ssh-config"]).arg(&ssh.config);
    // One server after the other: both of them are this machine here.
    command.args(["--at-once", "1", "web1", "gone", "web2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut push = command.spawn().expect("it starts");
    let mut stdin = push.stdin.take().expect("a pipe");
    stdin.write_all(tokens.join("\n").as_bytes()).expect("it reads");
    drop(stdin);
    let output = push.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("1 of 3 servers are not enrolled"), "{}", said(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let enrolled: Vec<(&str, bool)> = told["servers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|server| (server["host"].as_str().unwrap_or(""), server["enrolled"] == true))
        .collect();
    assert_eq!(enrolled, [("web1", true), ("gone", false), ("web2", true)], "{told}");
    let why = told["servers"][1]["said"].as_str().unwrap_or("");
    assert!(why.contains("refused"), "{why}");
    assert_eq!(appliance.servers(), 2);
}

#[test]
fn the_unit_and_the_script_please_those_who_read_them() {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline/agent/install");
    let shellcheck = Command::new("shellcheck").arg(install.join("install.sh")).output();
    checked(shellcheck.expect("shellcheck starts"), "shellcheck");
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(install.join("lifeboat-agent.service"))
        .output()
        .expect("systemd-analyze starts");
    let said = said(&verify);
    // The agent itself is not installed on this machine.
    let complaints: Vec<&str> =
        said.lines().filter(|line| !line.contains("is not executable")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
