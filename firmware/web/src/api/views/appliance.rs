//! The machine that Lifeboat runs on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs here, and what an update meets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpdateView {
    /// The version that runs.
    pub version: String,
    /// The slot of the medium that it runs from; null where it was not started from one.
    pub slot: Option<String>,
    /// It has yet to prove itself: else the machine goes back to the other slot.
    pub on_trial: bool,
    /// What was put in since the start, and is tried at the next one.
    pub next: Option<String>,
    /// Why none can be put in, and what to do instead.
    pub obstacle: Option<String>,
}

/// Where an update is got from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateAsked {
    /// Its address, `https://` or `http://`: what counts is its signature.
    pub from: String,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApplianceView {
    /// What it is called.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// `appliance`, or `program` where it runs beside others.
    pub role: String,
    /// Since it started.
    pub uptime_seconds: u64,
    /// Bytes of memory, and of that what is of use.
    pub memory_bytes: u64,
    /// See `memory_bytes`.
    pub memory_available_bytes: u64,
    /// Its disks.
    pub disks: Vec<MachineDisk>,
    /// Its network cards.
    pub links: Vec<MachineLink>,
    /// The spool in words.
    pub spool: String,
    /// Bytes that it holds at most; 0 where there is none.
    pub spool_bytes: u64,
    /// Bytes taken.
    pub spool_used_bytes: u64,
    /// At the pace of the last hour, how long it lasts without the vault.
    pub spool_left_seconds: Option<u64>,
    /// SHA-256 of the certificate.
    pub certificate_sha256: String,
    /// The time zone, as minutes east of UTC.
    pub zone_minutes: i16,
    /// Limits of what is sent.
    pub calendar: CalendarView,
}

/// A disk of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineDisk {
    /// As the kernel calls it.
    pub name: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Size.
    pub bytes: u64,
    /// What it is used for: `medium`, `spool`, `vault`, or empty.
    pub used: String,
    /// Where a sensor tells.
    pub celsius: Option<i16>,
    /// What is wrong with it, in a sentence; nothing where nothing is.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// A network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineLink {
    /// As the kernel calls it.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// A cable is in, and somebody at its end.
    pub carrier: bool,
    /// Megabits a second.
    pub speed_mbit: Option<u64>,
    /// With their prefix.
    pub addresses: Vec<String>,
}

/// How much may be sent at which hours of the week; where no row holds, as much as goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalendarView {
    /// Rows; the first that holds counts.
    pub rows: Vec<CalendarRow>,
    /// Where none holds; 0 for no limit.
    pub otherwise_bytes_per_second: u64,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalendarRow {
    /// Days, 0 is Monday.
    pub days: Vec<u8>,
    /// The first hour, 0 to 23.
    pub from_hour: u8,
    /// The hour that no longer counts, 1 to 24.
    pub to_hour: u8,
    /// 0 for no limit.
    pub bytes_per_second: u64,
}

/// What was measured before the machine's first process began, and what its security chip (TPM) holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeasurementsView {
    /// Events as firmware, boot manager and stub wrote them down, the first first: at most 2048.
    pub events: Vec<Measured>,
    /// Whether the log was read to its end.
    pub whole: bool,
    /// The first 16 registers. What the log does not tell of went into some of them after it: register 9 by the kernel, 11 by
    /// Lifeboat, which locks it.
    pub registers: Vec<Register>,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// Which register it went into.
    pub register: u32,
    /// What kind it is, by number.
    pub kind: u32,
    /// The same, as the specification of PC Client firmware calls it.
    pub kind_name: String,
    /// What went into the register; nothing where the log has no SHA-256.
    pub sha256: Option<String>,
    /// What it says, as far as it is text.
    pub words: String,
}

/// One register, bank of SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    /// Its number.
    pub number: u8,
    /// What it holds.
    pub sha256: String,
    /// What it would hold if there was nothing but the log.
    pub replayed_sha256: Option<String>,
}
