//! The other end of the wire: a network namespace of the test's own, in which this machine's kernel and dnsmasq are the
//! neighbours of a machine under test.

/// Peers that need no kernel: DHCP behind a tag, an answer to every ARP, an ear for LACP.
pub mod peers;
/// Routers of IPv6 that need no kernel.
pub mod routers;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::azurite::{Scratch, run};

const INSIDE: &str = "LIFEBOAT_TEST_NAMESPACE";
/// A port that nobody listens at: a machine that is there says so.
const NOBODY: u16 = 9;

/// Whether this is the run inside a namespace; outside it runs the test again inside, and fails as that does. Everything in
/// it, processes too, ends with the test.
///
/// # Panics
/// Where the test fails inside.
#[track_caller]
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    const SPACES: [&str; 6] =
        ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let possible = Command::new("unshare").args(SPACES).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED, not tested on this machine: no namespaces (root and unshare are needed)"
        );
        return false;
    }
    let own = std::env::current_exe().expect("a running test has a path");
    // Folders of its own, too: they are named by the number of the process, and inside that is 1 for every test.
    let script = "mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /dev/shm && \
        ip link set lo up && exec \"$@\"";
    let status = Command::new("unshare")
        .args(SPACES)
        .args(["sh", "-c", script, "sh"])
        .arg(own)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("TMPDIR", "/dev/shm")
        .status()
        .expect("unshare was there a moment ago");
    assert!(status.success(), "{test} failed inside its namespace");
    false
}

/// Runs `ip` with these words.
///
/// # Panics
/// Where it fails.
#[track_caller]
pub fn ip(words: &str) {
    if let Err(error) = run(Command::new("ip").args(words.split_whitespace())) {
        panic!("ip {words}: {error}");
    }
}

/// A tap device with these addresses, for a machine's card to be plugged into.
#[track_caller]
pub fn tap(name: &str, addresses: &[&str]) {
    ip(&format!("tuntap add mode tap {name}"));
    for address in addresses {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        ip(&format!("addr add {address} dev {name} {nodad}"));
    }
    ip(&format!("link set {name} up"));
}

/// Waits until it is so.
///
/// # Panics
/// Where it is not so in time.
#[track_caller]
pub fn until(what: &str, wait: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + wait;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {} s: {what}", wait.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether a machine is at this address: it refuses a connection, which takes packets both ways.
pub fn answers(address: IpAddr) -> bool {
    let far = SocketAddr::new(address, NOBODY);
    TcpStream::connect_timeout(&far, Duration::from_secs(3))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// dnsmasq: DHCP, DNS and a router's words, as somebody else wrote them. It ends when this is dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    child: Child,
    folder: Scratch,
}

impl Dnsmasq {
    /// Starts it with these options besides the usual ones, on other links than loopback. It remembers no leases.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(&["--bind-dynamic", "--except-interface=lo"], options)
    }

    /// The same, on loopback too.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn start_on_loopback(options: &[&str]) -> Self {
        Self::start_with(&["--bind-interfaces"], options)
    }

    #[track_caller]
    fn start_with(links: &[&str], options: &[&str]) -> Self {
        let folder = Scratch::new("dnsmasq").expect("a scratch folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a scratch file");
        let leases = folder.path().join("leases");
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null"]);
        command.args(["--no-resolv", "--no-hosts", "--user=root", "--pid-file="]);
        command.args(["--log-dhcp", "--log-queries", "--log-facility=-", "--dhcp-authoritative"]);
        command.arg(format!("--dhcp-leasefile={}", leases.display())).args(links).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("dnsmasq-base: {error}"));
        Self { child, folder }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        let path: PathBuf = self.folder.path().join("log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended by itself, and then said why in its log.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("dnsmasq said:\n{}", self.log());
        }
    }
}
