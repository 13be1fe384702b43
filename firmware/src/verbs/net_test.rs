//! `net test`: the way to Azure, step by step, and how fast it is.

use core::fmt::Write as _;

use pipeline_azure::cloud::{CLOUDS, Cloud};
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::names::NameOptions;
use pipeline_vault::Error;
use serde::Serialize;

use crate::cli::NetTest;
use crate::net::page;
use crate::net::path::{Report, Target, Tester};
use crate::net::proxies::proxy_choice;
use crate::net::speed::{self, Speed};
use crate::report::{Ending, Failure, Outcome, print, print_json};
use crate::session::{Machine, Place};
use crate::vault_uri::VaultUri;
use crate::verbs::Context;

/// Of each object that is written and read to measure the speed.
const SPEED_OBJECT_BYTES: usize = 4 * 1024 * 1024;

/// `net test` as JSON.
#[derive(Serialize)]
struct Tested {
    hosts: Vec<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Speed>,
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

fn speed(vault: &VaultUri, machine: &Machine) -> Result<Speed, Error> {
    let store = Place::of(vault, machine)?.store();
    speed::measure(&*store, &*machine.entropy, SPEED_OBJECT_BYTES)
}
