//! What a vault holds and about what it costs: objects and bytes by class, each server's points, ratios, prices.

use std::collections::BTreeMap;

use pipeline::ids::ServerId;
use pipeline::limits::BLOCK_BYTES;
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::error::{Blame, Error};
use crate::index::{Entry, Summary};
use crate::points::read_chain_leniently;
use crate::record::Work;
use crate::roster;
use crate::store::{LIST_PAGE_MAX, ObjectFacts, Tier};
use crate::verify::server_of;

#[cfg(test)]
mod tests;

/// Writes of so many days are what the next month's are reckoned from.
const WRITES_DAYS: u64 = 30;
const DAY: u64 = 86_400_000;
const GIB: f64 = 1_073_741_824.0;

/// What a store charges. A table, so that it can be replaced by the reader's own contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Where and when these prices held, and that they are an estimate.
    pub source: String,
    /// The currency.
    pub currency: String,
    /// A GiB online for a month.
    pub online_gib_month: f64,
    /// A GiB archived for a month.
    pub archive_gib_month: f64,
    /// Ten thousand writes or listings.
    pub writes_10k: f64,
    /// Ten thousand reads.
    pub reads_10k: f64,
}

impl Default for Prices {
    /// Hot block blobs, locally redundant, in the region East US.
    fn default() -> Self {
        Self {
            source: "estimate: Azure Blob Storage, hot tier, LRS, East US, list price of May 2026, first 50 TB".to_owned(),
            currency: "USD".to_owned(),
            online_gib_month: 0.018,
            archive_gib_month: 0.00099,
            writes_10k: 0.055,
            reads_10k: 0.0044,
        }
    }
}

/// What a vault holds.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// The vault's identity.
    pub vault: String,
    /// Where it is.
    pub place: String,
    /// All objects.
    pub total: Class,
    /// Objects by what they are: `chain`, `seg`, `keys`, `index`, `pin`, `vault`, `other`.
    pub classes: BTreeMap<&'static str, Class>,
    /// Each server.
    pub servers: Vec<ServerInfo>,
    /// About what it costs.
    pub cost: Cost,
}

/// Some objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Class {
    /// How many.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How many of them are archived.
    pub archived_objects: u64,
    /// Bytes of those.
    pub archived_bytes: u64,
    /// How many were made in the last thirty days.
    pub recent_objects: u64,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerInfo {
    /// Its identity.
    pub server: String,
    /// Its name.
    pub name: String,
    /// Points that are kept.
    pub points: u64,
    /// The newest point.
    pub newest_point: Option<String>,
    /// Its instant, milliseconds since 1970.
    pub newest_started: Option<u64>,
    /// The oldest point's instant, milliseconds since 1970.
    pub oldest_started: Option<u64>,
    /// Bytes of the disks in the newest point, zeros included.
    pub disk_bytes: u64,
    /// Bytes of the disks in all kept points: what full copies would take.
    pub all_points_bytes: u64,
    /// Objects in the vault.
    pub stored: Class,
    /// Content that was new when the kept points were made, before compression.
    pub new_bytes: u64,
    /// Content that the server had already when the kept points were made, and so was not sent.
    pub known_bytes: u64,
    /// Bytes sent for the kept points.
    pub sent_bytes: u64,
    /// `new_bytes` over `sent_bytes`.
    pub compression: Option<f64>,
    /// Content over new content.
    pub sharing: Option<f64>,
    /// `all_points_bytes` over the bytes stored.
    pub saving: Option<f64>,
    /// The first thing wrong with its chain; `verify` tells all.
    pub trouble: Option<String>,
}

/// About what a vault costs for a month.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// The prices used.
    pub prices: Prices,
    /// For keeping what is there.
    pub storage_month: f64,
    /// For writing as much as in the last thirty days.
    pub writes_month: f64,
    /// Both.
    pub month: f64,
    /// For reading every object once: a full restore's or a deep verify's calls, without what leaving the region costs.
    pub read_all_once: f64,
}

/// Looks at a whole vault: one listing, and the chains of the servers given with their names.
pub fn collect(
    access: &Access,
    servers: &[(ServerId, String)],
    prices: &Prices,
) -> Result<Info, Error> {
    let recent = access.store.now()?.saturating_sub(WRITES_DAYS * DAY);
    let mut total = Class::default();
    let mut classes: BTreeMap<&'static str, Class> = BTreeMap::new();
    let mut stored: BTreeMap<ServerId, Class> = BTreeMap::new();
    let mut next: Option<String> = None;
    loop {
        let page = access.store.list("", next.as_deref(), LIST_PAGE_MAX)?;
        for facts in &page.objects {
            total.add(facts, recent);
            classes.entry(class_of(&facts.name)).or_default().add(facts, recent);
            if let Some(server) = server_of(&facts.name) {
                stored.entry(server).or_default().add(facts, recent);
            }
        }
        match page.next {
            Some(more) => next = Some(more),
            None => break,
        }
    }
    let told = servers.iter().map(|(server, name)| {
        let stored = stored.get(server).copied().unwrap_or_default();
        server_info(access, *server, name, stored)
    });
    Ok(Info {
        vault: access.vault.to_string(),
        place: access.store.place(),
        servers: told.collect::<Result<_, _>>()?,
        cost: cost(&total, prices),
        total,
        classes,
    })
}

fn class_of(name: &str) -> &'static str {
    match name.split_once('/').map_or(name, |(class, _)| class) {
        "chain" => "chain",
        "seg" => "seg",
        "keys" => "keys",
        "index" => "index",
        "pin" => "pin",
        "vault" => "vault",
        "catalogue" => "catalogue",
        "order" | "plan" | "profile" => "document",
        _ => "other",
    }
}

impl Class {
    fn add(&mut self, facts: &ObjectFacts, recent: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(facts.bytes);
        if facts.tier == Tier::Archive {
            self.archived_objects += 1;
            self.archived_bytes = self.archived_bytes.saturating_add(facts.bytes);
        }
        self.recent_objects += u64::from(facts.modified >= recent);
    }
}

fn server_info(
    access: &Access,
    server: ServerId,
    name: &str,
    stored: Class,
) -> Result<ServerInfo, Error> {
    let (points, trouble) = points_of(access, server)?;
    let mut work = Work::default();
    for point in &points {
        work.new_blocks = work.new_blocks.saturating_add(point.work.new_blocks);
        work.known_blocks = work.known_blocks.saturating_add(point.work.known_blocks);
        work.stored_bytes = work.stored_bytes.saturating_add(point.work.stored_bytes);
    }
    let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_BYTES as u64);
    let size = |point: &Summary| {
        point.disks.iter().fold(0_u64, |sum, disk| sum.saturating_add(disk.bytes))
    };
    let all_points_bytes = points.iter().map(size).fold(0_u64, u64::saturating_add);
    let (new_bytes, known_bytes) = (bytes(work.new_blocks), bytes(work.known_blocks));
    Ok(ServerInfo {
        server: server.to_string(),
        name: name.to_owned(),
        points: points.len() as u64,
        newest_point: points.last().map(|newest| newest.id.to_string()),
        newest_started: points.last().map(|newest| newest.started),
        oldest_started: points.first().map(|oldest| oldest.started),
        disk_bytes: points.last().map_or(0, size),
        all_points_bytes,
        stored,
        new_bytes,
        known_bytes,
        sent_bytes: work.stored_bytes,
        compression: ratio(new_bytes, work.stored_bytes),
        sharing: ratio(new_bytes.saturating_add(known_bytes), new_bytes),
        saving: ratio(all_points_bytes, stored.bytes),
        trouble: trouble.map(|error| error.to_string()),
    })
}

/// The points, from indexes where there are any; from what still opens where the chain is not whole.
fn points_of(access: &Access, server: ServerId) -> Result<(Vec<Summary>, Option<Error>), Error> {
    let trouble = match roster::points(access, server) {
        Ok(entries) => {
            let summaries = entries.iter().filter_map(|entry| entry.point().cloned());
            return Ok((summaries.collect(), None));
        }
        Err(error) if error.blame == Blame::Device => return Err(error),
        Err(error) => error,
    };
    let (view, first) = read_chain_leniently(access, server)?;
    let entries = view.points().map(Entry::of);
    let summaries = entries.filter_map(|entry| entry.point().cloned()).collect();
    Ok((summaries, Some(first.unwrap_or(trouble))))
}

fn ratio(over: u64, under: u64) -> Option<f64> {
    (under > 0).then(|| over as f64 / under as f64)
}

fn cost(total: &Class, prices: &Prices) -> Cost {
    let gib = |bytes: u64| bytes as f64 / GIB;
    let online = total.bytes.saturating_sub(total.archived_bytes);
    let storage_month = gib(online) * prices.online_gib_month
        + gib(total.archived_bytes) * prices.archive_gib_month;
    let calls = |objects: u64, price: f64| objects as f64 / 10_000.0 * price;
    let writes_month = calls(total.recent_objects, prices.writes_10k);
    Cost {
        prices: prices.clone(),
        storage_month,
        writes_month,
        month: storage_month + writes_month,
        read_all_once: calls(total.objects, prices.reads_10k),
    }
}
