//! `net test`: the way to Azure, step by step, and how fast it is.

use core::fmt::Write as _;
use std::time::Instant;

use pipeline_azure::cloud::{CLOUDS, Cloud};
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::names::NameOptions;
use pipeline_vault::Error;
use pipeline_vault::store::BlobStore;
use serde::Serialize;

use crate::cli::NetTest;
use crate::net::page;
use crate::net::path::{Report, Target, Tester};
use crate::net::proxies::proxy_choice;
use crate::report::{Ending, Failure, Outcome, print, print_json};
use crate::session::{Machine, Place};
use crate::vault_uri::VaultUri;
use crate::verbs::Context;

/// What is written and read to measure the speed: as many objects at once, of so many bytes each.
const SPEED_OBJECTS: usize = 4;
const SPEED_OBJECT_BYTES: usize = 4 * 1024 * 1024;

/// `net test` as JSON.
#[derive(Serialize)]
struct Tested {
    hosts: Vec<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Speed>,
}

/// How fast the vault takes and gives.
#[derive(Serialize)]
struct Speed {
    upload_bytes_per_second: u64,
    download_bytes_per_second: u64,
}

pub(super) fn run(test: &NetTest, context: &Context) -> Ending {
    let targets = targets(test)?;
    let options = options(test)?;
    let mut tester = Tester::new(&options, test.patience)?.private(test.private);
    let mut hosts = Vec::new();
    for target in &targets {
        let report = tester.test(target);
        if !test.json {
            print(&in_words(&report))?;
        }
        hosts.push(report);
    }
    let bad = hosts.iter().filter(|report| !report.good).count();
    let all = hosts.len();
    let speed = match &test.vault {
        Some(vault) if test.speed && bad == 0 => Some(speed(vault, &context.machine)?),
        _ => None,
    };
    if test.json {
        print_json(&Tested { hosts, speed })?;
    } else if let Some(speed) = speed {
        let rate = |bytes: u64| bytes / 1_000_000;
        let (up, down) =
            (rate(speed.upload_bytes_per_second), rate(speed.download_bytes_per_second));
        print(&format!("speed: {up} MB/s up, {down} MB/s down\n"))?;
    }
    match bad {
        0 => Ok(Outcome::Done),
        _ => Err(Failure::Failed(
            Error::device(
                "net test",
                format!("{bad} of {all} hosts are not reached as they should be"),
            )
            .remedy("do what the verdicts say, then test again"),
        )),
    }
}

fn targets(test: &NetTest) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    match (&test.vault, &test.cloud) {
        (Some(VaultUri::Azure(address)), _) => targets.extend(Target::of_vault(address)),
        (Some(VaultUri::Directory(_)), _) => {}
        (None, Some(name)) => {
            let unknown = || {
                Error::misuse(format!("cloud «{name}»"), "is none")
                    .remedy("write public, usgov or china")
            };
            let cloud = Cloud::named(name).ok_or_else(unknown).map_err(Failure::Usage)?;
            targets.extend(Target::of_cloud(&cloud));
        }
        // One host named is one host tested.
        (None, None) if test.hosts.is_empty() => {
            targets.extend(CLOUDS.iter().flat_map(Target::of_cloud));
        }
        (None, None) => {}
    }
    for host in &test.hosts {
        targets.push(Target::host(host).map_err(Failure::Usage)?);
    }
    Ok(targets)
}

/// Names and proxies as the file says, or as this machine has them.
fn options(test: &NetTest) -> Result<TransportOptions, Error> {
    let mut options = TransportOptions::from_env();
    if let Some(path) = &test.config {
        let network = page::read(path)?;
        let named = network.hosts.iter();
        let table = named.flat_map(|(name, addresses)| {
            addresses.iter().map(move |address| (name.clone(), *address))
        });
        let servers = network.dns.iter().map(|server| (*server, 53).into());
        options.names = NameOptions {
            table: table.collect(),
            servers: servers.collect(),
            ..NameOptions::default()
        };
        options.proxy = proxy_choice(&network.proxies)?;
    }
    Ok(options)
}

fn in_words(report: &Report) -> String {
    let mut text = format!("{} {}:{}\n", report.purpose, report.host, report.port);
    let millis =
        |millis: Option<u64>| millis.map(|millis| format!(" ({millis} ms)")).unwrap_or_default();
    let mut line = |label: &str, words: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "    {label:<9}{words}");
    };
    if let Some(proxy) = &report.proxy {
        line("proxy", proxy.clone());
    }
    if !report.addresses.is_empty() {
        let all: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
        line("name", format!("{}{}", all.join(" "), millis(report.name_millis)));
    }
    if let Some(link) = &report.link {
        let via = report.via.map(|via| format!(" by {via}")).unwrap_or_default();
        let source = report.source.map(|source| format!(", as {source}")).unwrap_or_default();
        line("route", format!("on {link}{via}{source}"));
    }
    if let Some(connected) = report.connected {
        line("connect", format!("{connected}{}", millis(report.connect_millis)));
    }
    if let Some(issuer) = &report.issuer {
        let days = report.days_left.unwrap_or_default();
        line("TLS", format!("signed by {issuer}, {days} days left{}", millis(report.tls_millis)));
    }
    line("verdict", report.verdict.clone());
    if !report.remedy.is_empty() {
        line("", report.remedy.clone());
    }
    text
}

/// Writes, reads and deletes objects that mean nothing to a vault.
fn speed(vault: &VaultUri, machine: &Machine) -> Result<Speed, Error> {
    let store = Place::of(vault, machine)?.store();
    let mut bodies = Vec::new();
    for _ in 0..SPEED_OBJECTS {
        let mut body = vec![0; SPEED_OBJECT_BYTES];
        let filled = machine.entropy.fill(&mut body);
        filled.map_err(|error| Error::device("random numbers", error.to_string()))?;
        // Chance names it, so that two tests never meet.
        let name: String = body.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        bodies.push((format!("speed-test/{name}"), body));
    }
    let measured = measure(&*store, &bodies);
    let names: Vec<String> = bodies.iter().map(|(name, _)| name.clone()).collect();
    for deleted in store.delete(&names) {
        if let Err(error) = deleted {
            log::warn!("{error}: what the speed test wrote is left there, and harms nothing");
        }
    }
    measured
}

fn measure(store: &dyn BlobStore, bodies: &[(String, Vec<u8>)]) -> Result<Speed, Error> {
    let up = timed(bodies, |name, body| store.create(name, body).map(drop))?;
    let down = timed(bodies, |name, body| {
        let mut into = vec![0; body.len()];
        store.read(name, 0, &mut into)?;
        if into == *body { Ok(()) } else { Err(Error::corrupt(name, "is not what was written")) }
    })?;
    Ok(Speed { upload_bytes_per_second: up, download_bytes_per_second: down })
}

/// Bytes a second of doing something with all objects at once.
fn timed(
    bodies: &[(String, Vec<u8>)],
    work: impl Fn(&str, &[u8]) -> Result<(), Error> + Sync,
) -> Result<u64, Error> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            bodies.iter().map(|(name, body)| scope.spawn(|| work(name, body))).collect();
        let broken = || Error::device("speed test", "a worker stopped");
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(broken())))
    })?;
    let bytes: u128 = bodies.iter().map(|(_, body)| body.len() as u128).sum();
    let micros = began.elapsed().as_micros().max(1);
    Ok(u64::try_from(bytes * 1_000_000 / micros).unwrap_or(u64::MAX))
}
