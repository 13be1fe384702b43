//! `/metrics`: what the API tells, in Prometheus' text format 0.0.4. Names and units by its conventions, all ours begin with
//! `lifeboat_`.
//!
//! How many series there are is bounded: servers by [`SERVERS_MAX`], everything else by lists that are closed. No label holds
//! what somebody typed, but for the names of servers and of disks, and those are escaped.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};

use super::site::Site;
use super::views::appliance::ApplianceView;
use super::views::recovery::OrderView;
use super::views::servers::{Health, Overview, ServerRow, ServerView};
use super::views::vault::{JobState, JobView, VaultView};

/// Servers that have series of their own; how many have none is told too.
pub const SERVERS_MAX: usize = 1000;
/// What this is, for the header `content-type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Kinds of orders.
const ORDER_KINDS: [&str; 3] = ["drill", "failover", "planned"];
/// States in which an order is over.
const OVER: [&str; 4] = ["committed", "cancelled", "drilled", "drilled_badly"];
/// Kinds of alerts.
pub const ALERT_KINDS: [&str; 7] = [
    "rpo_missed",
    "spool_filling",
    "source_silent",
    "vault_refused",
    "disk_failing",
    "drill_failed",
    "tripwire",
];
/// Longest label.
const LABEL_BYTES_MAX: usize = 128;

/// Requests that were answered, by the hundreds of their status.
#[derive(Debug, Default)]
pub struct Requests([AtomicU64; 5]);

impl Requests {
    /// One was answered with this status.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// Facts of the process, as the kernel tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time, of user and system.
    pub cpu_seconds: f64,
    /// Memory that is there.
    pub resident_bytes: u64,
    /// Memory that was asked for.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many there may be.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When it began, since 1970.
    pub start_seconds: f64,
}

/// What is told beside what [`Site`] knows.
#[derive(Clone, Debug, Default)]
pub struct Beside<'a> {
    /// The process.
    pub process: Process,
    /// Kinds of the alerts that stand, one for each.
    pub alerts: Vec<String>,
    /// Requests answered.
    pub requests: Option<&'a Requests>,
}

/// What a site told; nothing where it could not be told just now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// At a glance.
    pub overview: Option<Overview>,
    /// Servers whole, at most [`SERVERS_MAX`].
    pub servers: Vec<ServerView>,
    /// The vault.
    pub vault: Option<VaultView>,
    /// Orders.
    pub orders: Option<Vec<OrderView>>,
    /// Long work.
    pub jobs: Option<Vec<JobView>>,
    /// The machine.
    pub appliance: Option<ApplianceView>,
}

impl Told {
    /// Asks a site.
    #[must_use]
    pub fn by(site: &dyn Site) -> Self {
        let overview = site.overview().ok();
        let rows = overview.iter().flat_map(|overview| &overview.servers).take(SERVERS_MAX);
        Self {
            servers: rows.filter_map(|row| site.server(&row.name).ok()).collect(),
            vault: site.vault().ok(),
            orders: site.orders().ok(),
            jobs: site.jobs().ok(),
            appliance: site.appliance().ok(),
            overview,
        }
    }

    fn is_whole(&self) -> bool {
        let machine = self.appliance.is_some() && self.jobs.is_some();
        machine && self.overview.is_some() && self.vault.is_some() && self.orders.is_some()
    }
}

/// Everything. What could not be told is left out, as Prometheus wants it; `lifeboat_up` says whether all was told.
#[must_use]
pub fn exposition(told: &Told, beside: &Beside<'_>) -> String {
    let mut page = Page::default();
    let up = f64::from(u8::from(told.is_whole()));
    page.one("lifeboat_up", "gauge", "Whether everything could be told: 1, or 0.", &[], up);
    if let Some(overview) = &told.overview {
        let version = [("version", overview.version.as_str())];
        page.one("lifeboat_build_info", "gauge", "The program's version.", &version, 1.0);
        page.overview(overview);
        page.servers(&overview.servers);
    }
    page.views(&told.servers);
    if let Some(vault) = &told.vault {
        page.vault(vault);
    }
    if let Some(orders) = &told.orders {
        page.orders(orders);
    }
    if let Some(jobs) = &told.jobs {
        page.jobs(jobs);
    }
    if let Some(appliance) = &told.appliance {
        page.appliance(appliance);
    }
    page.alerts(&beside.alerts);
    if let Some(requests) = beside.requests {
        page.requests(requests);
    }
    page.process(&beside.process);
    page.0
}

/// The page as it grows: a family at a time, as the format wants it.
#[derive(Default)]
struct Page(String);

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.head(name, kind, help);
        self.sample(name, labels, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "gauge", help, &[], number(value));
    }

    /// A family with a series for each server that has a value; none at all where none has.
    fn of_servers<T>(
        &mut self,
        name: &str,
        help: &str,
        all: &[T],
        of: impl Fn(&T) -> Option<(&str, f64)>,
    ) {
        let mut samples = all.iter().take(SERVERS_MAX).filter_map(of).peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, "gauge", help);
        for (server, value) in samples {
            self.sample(name, &[("server", server)], value);
        }
    }

    fn overview(&mut self, told: &Overview) {
        self.gauge("lifeboat_servers", "Servers that are protected.", count(told.servers.len()));
        let connected = told.servers.iter().filter(|row| row.connected).count();
        self.gauge("lifeboat_agents_connected", "Agents that are connected.", count(connected));
        let out = told.servers.len().saturating_sub(SERVERS_MAX);
        self.gauge(
            "lifeboat_servers_left_out",
            "Servers without series of their own: there are too many.",
            count(out),
        );
        self.gauge(
            "lifeboat_spool_bytes",
            "Bytes that the spool holds at most; 0 where there is none.",
            told.spool_bytes,
        );
        self.gauge(
            "lifeboat_spool_used_bytes",
            "Bytes of the spool that are taken.",
            told.spool_used_bytes,
        );
        if let Some(left) = told.spool_left_seconds {
            self.gauge(
                "lifeboat_spool_left_seconds",
                "How long the spool lasts without the vault, at the pace of the last hour.",
                left,
            );
        }
        self.head(
            "lifeboat_vault_health",
            "gauge",
            "How the vault fares: 1 for the state that holds.",
        );
        for (state, holds) in states(told.vault) {
            self.sample("lifeboat_vault_health", &[("state", state)], holds);
        }
    }

    fn servers(&mut self, rows: &[ServerRow]) {
        type Row = ServerRow;
        let seconds = |millis: u64| number(millis) / 1000.0;
        let drill = |row: &Row, of: &dyn Fn(&super::views::recovery::LastDrill) -> f64| {
            row.last_drill.as_ref().map(of)
        };
        self.of_servers(
            "lifeboat_server_rpo_seconds",
            "Age of the newest point in the vault.",
            rows,
            |row: &Row| Some((&row.name, number(row.rpo_seconds?))),
        );
        self.of_servers(
            "lifeboat_server_rpo_target_seconds",
            "The age that the policy asks for.",
            rows,
            |row: &Row| Some((&row.name, number(row.rpo_target_seconds))),
        );
        self.of_servers(
            "lifeboat_server_connected",
            "Whether its agent is connected.",
            rows,
            |row: &Row| Some((&row.name, f64::from(u8::from(row.connected)))),
        );
        self.of_servers(
            "lifeboat_server_backlog_bytes",
            "Bytes that wait for the vault.",
            rows,
            |row: &Row| Some((&row.name, number(row.backlog_bytes))),
        );
        self.of_servers(
            "lifeboat_server_newest_point_timestamp_seconds",
            "When its newest point began.",
            rows,
            |row: &Row| Some((&row.name, seconds(row.newest_point_millis?))),
        );
        self.of_servers(
            "lifeboat_server_first_copy_ratio",
            "How much of the first copy is done, while it goes on.",
            rows,
            |row: &Row| {
                let copy = row.first_copy.filter(|copy| copy.total_bytes > 0)?;
                Some((&row.name, number(copy.done_bytes) / number(copy.total_bytes)))
            },
        );
        self.of_servers(
            "lifeboat_server_last_drill_timestamp_seconds",
            "When it was last drilled.",
            rows,
            |row: &Row| Some((&row.name, drill(row, &|drill| seconds(drill.at_millis))?)),
        );
        self.of_servers(
            "lifeboat_server_last_drill_up",
            "Whether it came up in its last drill.",
            rows,
            |row: &Row| Some((&row.name, drill(row, &|drill| f64::from(u8::from(drill.up)))?)),
        );
        self.of_servers(
            "lifeboat_server_last_drill_rto_seconds",
            "From the order of its last drill to a running server.",
            rows,
            |row: &Row| Some((&row.name, drill(row, &|drill| seconds(drill.rto_millis))?)),
        );
        if rows.is_empty() {
            return;
        }
        self.head(
            "lifeboat_server_health",
            "gauge",
            "How the server fares: 1 for the state that holds.",
        );
        for row in rows.iter().take(SERVERS_MAX) {
            for (state, holds) in states(row.health) {
                self.sample(
                    "lifeboat_server_health",
                    &[("server", &row.name), ("state", state)],
                    holds,
                );
            }
        }
    }

    fn views(&mut self, views: &[ServerView]) {
        type View = ServerView;
        let micros = |micros: u64| number(micros) / 1e6;
        self.of_servers("lifeboat_server_points", "Points in the vault.", views, |view: &View| {
            Some((&view.row.name, number(view.points)))
        });
        self.of_servers(
            "lifeboat_server_disk_bytes",
            "Size of its protected disks.",
            views,
            |view: &View| {
                Some((
                    &view.row.name,
                    number(sum(view, |disk| if disk.left_out { 0 } else { disk.bytes })),
                ))
            },
        );
        self.of_servers(
            "lifeboat_server_changed_last_hour_bytes",
            "Bytes that changed within the last hour.",
            views,
            |view: &View| Some((&view.row.name, number(sum(view, |disk| disk.hour_bytes)))),
        );
        self.of_servers(
            "lifeboat_server_unread_blocks",
            "Blocks of its newest point that could not be read.",
            views,
            |view: &View| Some((&view.row.name, number(sum(view, |disk| disk.unread_blocks)))),
        );
        self.of_servers(
            "lifeboat_server_stored_ratio",
            "Bytes stored for each byte that was sent.",
            views,
            |view: &View| Some((&view.row.name, number(view.stored_percent?) / 100.0)),
        );
        self.of_servers(
            "lifeboat_server_freeze_max_seconds",
            "The longest freeze of its file systems that is remembered.",
            views,
            |view: &View| Some((&view.row.name, micros(view.frozen_micros_max?))),
        );
        self.of_servers(
            "lifeboat_server_freeze_median_seconds",
            "The middle one of the freezes that are remembered.",
            views,
            |view: &View| Some((&view.row.name, micros(view.frozen_micros_median?))),
        );
    }

    fn vault(&mut self, vault: &VaultView) {
        self.gauge(
            "lifeboat_vault_bytes",
            "Bytes of all objects of the vault, as of the last count.",
            vault.bytes,
        );
        self.gauge(
            "lifeboat_vault_objects",
            "Objects of the vault, as of the last count.",
            vault.objects,
        );
        if let Some(counted) = vault.counted_millis {
            self.gauge(
                "lifeboat_vault_counted_timestamp_seconds",
                "When its objects were counted.",
                counted / 1000,
            );
        }
        if let Some(job) = vault.verified.as_ref().filter(|job| job.state != JobState::Running) {
            let at = number(job.began_millis.saturating_add(job.took_millis)) / 1000.0;
            self.one(
                "lifeboat_vault_verified_timestamp_seconds",
                "gauge",
                "When the last check of the vault ended.",
                &[],
                at,
            );
            let good = f64::from(u8::from(job.state == JobState::Done));
            self.one(
                "lifeboat_vault_verified",
                "gauge",
                "Whether the last check found everything there and whole.",
                &[],
                good,
            );
        }
    }

    fn orders(&mut self, orders: &[OrderView]) {
        self.head("lifeboat_orders_open", "gauge", "Orders that are not over.");
        for kind in ORDER_KINDS {
            let open = orders
                .iter()
                .filter(|order| order.kind == kind && !OVER.contains(&order.state.as_str()));
            self.sample("lifeboat_orders_open", &[("kind", kind)], number(count(open.count())));
        }
    }

    fn jobs(&mut self, jobs: &[JobView]) {
        self.head("lifeboat_jobs", "gauge", "Long work that is remembered, by how it stands.");
        for (word, state) in
            [("running", JobState::Running), ("done", JobState::Done), ("failed", JobState::Failed)]
        {
            let such = jobs.iter().filter(|job| job.state == state).count();
            self.sample("lifeboat_jobs", &[("state", word)], number(count(such)));
        }
    }

    fn appliance(&mut self, machine: &ApplianceView) {
        self.gauge("lifeboat_memory_bytes", "Memory of the machine.", machine.memory_bytes);
        self.gauge(
            "lifeboat_memory_available_bytes",
            "Memory of the machine that is of use.",
            machine.memory_available_bytes,
        );
        let warm: Vec<_> = machine
            .disks
            .iter()
            .filter_map(|disk| Some((disk.name.as_str(), disk.celsius?)))
            .collect();
        if !warm.is_empty() {
            self.head(
                "lifeboat_disk_temperature_celsius",
                "gauge",
                "Temperature of a disk of the machine.",
            );
            for (disk, celsius) in warm {
                self.sample(
                    "lifeboat_disk_temperature_celsius",
                    &[("disk", disk)],
                    f64::from(celsius),
                );
            }
        }
    }

    fn alerts(&mut self, standing: &[String]) {
        self.head("lifeboat_alerts", "gauge", "Alerts that stand.");
        for kind in ALERT_KINDS {
            let such = standing.iter().filter(|alert| *alert == kind).count();
            self.sample("lifeboat_alerts", &[("kind", kind)], number(count(such)));
        }
    }

    fn requests(&mut self, requests: &Requests) {
        self.head("lifeboat_http_requests_total", "counter", "Requests that were answered.");
        for (class, answered) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&requests.0) {
            let answered = number(answered.load(Ordering::Relaxed));
            self.sample("lifeboat_http_requests_total", &[("code", class)], answered);
        }
    }

    fn process(&mut self, process: &Process) {
        self.one(
            "process_cpu_seconds_total",
            "counter",
            "Processor time of user and system.",
            &[],
            process.cpu_seconds,
        );
        self.gauge(
            "process_resident_memory_bytes",
            "Memory that is there.",
            process.resident_bytes,
        );
        self.gauge(
            "process_virtual_memory_bytes",
            "Memory that was asked for.",
            process.virtual_bytes,
        );
        self.gauge("process_open_fds", "Open file descriptors.", process.open_fds);
        self.gauge("process_max_fds", "How many file descriptors there may be.", process.max_fds);
        self.gauge("process_threads", "Threads of the process.", process.threads);
        self.one(
            "process_start_time_seconds",
            "gauge",
            "When the process began, since 1970.",
            &[],
            process.start_seconds,
        );
    }
}

fn sum(view: &ServerView, of: impl Fn(&super::views::servers::DiskView) -> u64) -> u64 {
    view.disks.iter().map(of).fold(0, u64::saturating_add)
}

fn count(many: usize) -> u64 {
    u64::try_from(many).unwrap_or(u64::MAX)
}

/// As the format has numbers: beyond 2^53 the last bits are lost.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
#[must_use]
pub fn number(value: u64) -> f64 {
    value as f64
}

fn states(health: Health) -> [(&'static str, f64); 5] {
    let holds = |state: Health| f64::from(u8::from(state == health));
    [
        ("good", holds(Health::Good)),
        ("working", holds(Health::Working)),
        ("attention", holds(Health::Attention)),
        ("bad", holds(Health::Bad)),
        ("off", holds(Health::Off)),
    ]
}

/// A label's value: backslash, quote and line feed as the format wants them, other control characters not at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text[..text.floor_char_boundary(LABEL_BYTES_MAX)].chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            letter if letter.is_control() => escaped.push('?'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
