//! What is wrong, by what the API tells: pure, from views to readings.
//!
//! One alert for a cause: while the vault is refused, or a server's agent is silent, that its points grow old is no news.

use firmware_web::api::views::alerts::AlertRules;
use firmware_web::api::views::appliance::MachineDisk;
use firmware_web::api::views::servers::{Health, Overview, ServerRow, ServerView};
use serde::{Deserialize, Serialize};

/// How long it must hold before an alert is raised, and be gone before it is over: what comes and goes is no alert.
const SETTLE_MILLIS: u64 = 30_000;
const OVER_MILLIS: u64 = 60_000;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum Kind {
    /// A server's newest point is older than it may be.
    RpoMissed,
    /// The spool is nearly full.
    SpoolFilling,
    /// A server's agent is not connected.
    SourceSilent,
    /// The vault does not take or give.
    VaultRefused,
    /// A disk cannot be read, of a server or of the appliance.
    DiskFailing,
    /// A server did not come up in its last drill.
    DrillFailed,
    /// A server writes what encrypted files look like.
    Tripwire,
}

impl Kind {
    /// For machines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RpoMissed => "rpo_missed",
            Self::SpoolFilling => "spool_filling",
            Self::SourceSilent => "source_silent",
            Self::VaultRefused => "vault_refused",
            Self::DiskFailing => "disk_failing",
            Self::DrillFailed => "drill_failed",
            Self::Tripwire => "tripwire",
        }
    }
}

/// How something stands. Between raising and over lies room, so that what sways does not chatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else that it could be")]
pub enum Level {
    /// Bad enough to tell.
    Raise,
    /// Not bad enough to tell, and not good enough to be over; or hidden behind another cause.
    Between,
    /// As it should be.
    Clear,
}

/// What one rule says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// About what.
    pub kind: Kind,
    /// On which object.
    pub object: String,
    /// How it stands.
    pub level: Level,
    /// How bad it would be.
    pub health: Health,
    /// In a sentence.
    pub words: String,
    /// What to do.
    pub remedy: &'static str,
    /// For how long it must hold before it is raised.
    pub raise_millis: u64,
    /// For how long it must be gone before it is over.
    pub over_millis: u64,
}

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Everything at a glance.
    pub overview: Overview,
    /// Servers whole, as far as they are known.
    pub servers: Vec<ServerView>,
    /// Disks of the machine.
    pub disks: Vec<MachineDisk>,
}

/// What every rule says.
#[must_use]
pub fn readings(seen: &Seen, rules: &AlertRules) -> Vec<Reading> {
    let mut readings = vec![vault(&seen.overview), spool(&seen.overview, rules)];
    let is_vault_bad = seen.overview.vault == Health::Bad;
    for row in &seen.overview.servers {
        readings.push(silent(row, rules));
        readings.push(rpo(row, rules, is_vault_bad));
        readings.extend(drill(row));
    }
    readings.extend(seen.servers.iter().map(unread));
    readings.extend(seen.disks.iter().map(machine_disk));
    readings
}

fn object(row: &ServerRow) -> String {
    format!("server {}", row.name)
}

fn level(raise: bool, clear: bool) -> Level {
    match (raise, clear) {
        (true, _) => Level::Raise,
        (_, true) => Level::Clear,
        _ => Level::Between,
    }
}

fn vault(overview: &Overview) -> Reading {
    Reading {
        kind: Kind::VaultRefused,
        object: "vault".to_owned(),
        level: level(overview.vault == Health::Bad, overview.vault == Health::Good),
        health: Health::Bad,
        words: format!("The vault takes nothing: {}", overview.vault_cause),
        remedy: "look at the vault's page: it says what is refused; points wait in the spool until then",
        raise_millis: 2 * SETTLE_MILLIS,
        over_millis: OVER_MILLIS,
    }
}

fn spool(overview: &Overview, rules: &AlertRules) -> Reading {
    let (used, all) = (overview.spool_used_bytes, overview.spool_bytes);
    let percent = used.saturating_mul(100).checked_div(all).unwrap_or(0);
    let most = u64::from(rules.spool_percent);
    let short =
        |at_least: u64| overview.spool_left_seconds.is_some_and(|left| left < at_least) && all > 0;
    let least = u64::from(rules.spool_left_seconds);
    // That it is short of time counts only once something lies in it: an empty spool on a fast link is no worry.
    let soon = least > 0 && short(least) && percent >= most / 4;
    let not_soon = least == 0 || !short(least.saturating_mul(3) / 2) || percent < most / 8;
    let left = match overview.spool_left_seconds {
        Some(left) => format!(", and lasts about {} without the vault", length(left)),
        None => String::new(),
    };
    Reading {
        kind: Kind::SpoolFilling,
        object: "spool".to_owned(),
        level: level(
            percent >= most || soon,
            percent < most.saturating_sub(most / 8 + 2) && not_soon,
        ),
        health: if percent >= 95 { Health::Bad } else { Health::Attention },
        words: format!("The spool is {percent} % full{left}"),
        remedy: "look at the way to the vault and its speed; a larger spool, or a longer interval of the servers that write most",
        raise_millis: SETTLE_MILLIS,
        over_millis: OVER_MILLIS,
    }
}

/// Whether an agent is expected to be there: it is protected by one, and nobody put it to rest.
fn is_awaited(row: &ServerRow) -> bool {
    row.rpo_target_seconds > 0 && row.health != Health::Off
}

fn silent(row: &ServerRow, rules: &AlertRules) -> Reading {
    Reading {
        kind: Kind::SourceSilent,
        object: object(row),
        level: level(is_awaited(row) && !row.connected, true),
        health: Health::Bad,
        words: format!("The agent of {} is not connected", row.name),
        remedy: "see whether the server runs and reaches port 9443 of the appliance; there, systemctl status lifeboat-agent says more",
        raise_millis: u64::from(rules.silent_seconds).saturating_mul(1000),
        over_millis: OVER_MILLIS,
    }
}

fn rpo(row: &ServerRow, rules: &AlertRules, is_vault_bad: bool) -> Reading {
    let target = row.rpo_target_seconds;
    let most = target.saturating_mul(u64::from(rules.rpo_percent)) / 100;
    let age = row.rpo_seconds.unwrap_or(0);
    let level = if !is_awaited(row) || row.first_copy.is_some() {
        Level::Clear
    } else if is_vault_bad || !row.connected || row.rpo_seconds.is_none() {
        // Another alert tells the cause, or nothing is known yet.
        Level::Between
    } else {
        level(age > most, age <= target.max(most / 2))
    };
    Reading {
        kind: Kind::RpoMissed,
        object: object(row),
        level,
        health: Health::Bad,
        words: format!(
            "The newest point of {} is {} old, and {} were asked for",
            row.name,
            length(age),
            length(target)
        ),
        remedy: "look at its backlog and at what it writes: the link may be too slow for it, or the interval too short",
        raise_millis: SETTLE_MILLIS,
        over_millis: OVER_MILLIS,
    }
}

fn drill(row: &ServerRow) -> Option<Reading> {
    let drill = row.last_drill.as_ref()?;
    Some(Reading {
        kind: Kind::DrillFailed,
        object: object(row),
        level: level(!drill.up, drill.up),
        health: Health::Bad,
        words: format!("{} did not come up in its last drill", row.name),
        remedy: "read the drill's report: it has the console; mend what it names, then drill again",
        raise_millis: 0,
        over_millis: 0,
    })
}

fn unread(view: &ServerView) -> Reading {
    let bad: Vec<_> = view.disks.iter().filter(|disk| disk.unread_blocks > 0).collect();
    let named: Vec<String> = bad
        .iter()
        .take(4)
        .map(|disk| format!("{} ({} blocks)", disk.name, disk.unread_blocks))
        .collect();
    Reading {
        kind: Kind::DiskFailing,
        object: object(&view.row),
        level: level(!bad.is_empty(), bad.is_empty()),
        health: Health::Bad,
        words: format!(
            "{} has disks that cannot be read in places: {}",
            view.row.name,
            named.join(", ")
        ),
        remedy: "replace the disk: those blocks are missing from its points",
        raise_millis: 0,
        over_millis: OVER_MILLIS,
    }
}

fn machine_disk(disk: &MachineDisk) -> Reading {
    let trouble = disk.trouble.clone().unwrap_or_default();
    Reading {
        kind: Kind::DiskFailing,
        object: format!("disk {}", disk.name),
        level: level(!trouble.is_empty(), true),
        health: Health::Bad,
        words: format!("Disk {} of the appliance fails: {trouble}", disk.name),
        remedy: match disk.used.as_str() {
            "medium" => {
                "plug the medium in again, or write the image onto another one; until then, what is set is forgotten at the next start"
            }
            "vault" => "copy the vault to another disk while it can be read; it has every point",
            _ => {
                "replace it; the vault has every point, and what was in the spool is asked of the servers again"
            }
        },
        raise_millis: SETTLE_MILLIS,
        over_millis: OVER_MILLIS,
    }
}

/// A length of time as people say it.
fn length(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware_web::api::views::recovery::LastDrill;
    use firmware_web::api::views::servers::Progress;

    fn row() -> ServerRow {
        ServerRow {
            name: "web1".to_owned(),
            connected: true,
            rpo_seconds: Some(10),
            rpo_target_seconds: 60,
            ..ServerRow::default()
        }
    }

    fn level_of(seen: &Seen, kind: Kind) -> Vec<Level> {
        let all = readings(seen, &AlertRules::default());
        all.iter().filter(|one| one.kind == kind).map(|one| one.level).collect()
    }

    fn with(row: ServerRow) -> Seen {
        Seen { overview: Overview { servers: vec![row], ..Overview::default() }, ..Seen::default() }
    }

    #[test]
    fn points_that_grow_old_are_told_unless_another_alert_says_why() {
        let old = ServerRow { rpo_seconds: Some(121), ..row() };
        assert_eq!(level_of(&with(row()), Kind::RpoMissed), [Level::Clear]);
        assert_eq!(level_of(&with(old.clone()), Kind::RpoMissed), [Level::Raise]);
        let edge = ServerRow { rpo_seconds: Some(100), ..row() };
        assert_eq!(level_of(&with(edge), Kind::RpoMissed), [Level::Between]);
        let mut refused = with(old.clone());
        refused.overview.vault = Health::Bad;
        assert_eq!(level_of(&refused, Kind::RpoMissed), [Level::Between]);
        assert_eq!(level_of(&refused, Kind::VaultRefused), [Level::Raise]);
        let silent = with(ServerRow { connected: false, ..old.clone() });
        assert_eq!(level_of(&silent, Kind::RpoMissed), [Level::Between]);
        assert_eq!(level_of(&silent, Kind::SourceSilent), [Level::Raise]);
        for fine in [
            ServerRow { health: Health::Off, ..old.clone() },
            ServerRow { first_copy: Some(Progress::default()), ..old.clone() },
            ServerRow { rpo_target_seconds: 0, connected: false, ..old },
        ] {
            assert_eq!(level_of(&with(fine.clone()), Kind::RpoMissed), [Level::Clear], "{fine:?}");
        }
    }

    #[test]
    fn a_server_that_rests_or_has_no_agent_is_not_silent() {
        for health in [Health::Good, Health::Bad] {
            let row = ServerRow { connected: false, health, ..row() };
            assert_eq!(level_of(&with(row), Kind::SourceSilent), [Level::Raise]);
        }
        for row in [
            ServerRow { connected: false, health: Health::Off, ..row() },
            ServerRow { connected: false, rpo_target_seconds: 0, ..row() },
        ] {
            assert_eq!(level_of(&with(row), Kind::SourceSilent), [Level::Clear]);
        }
    }

    #[test]
    fn the_spool_is_told_by_its_fill_and_by_its_hours() {
        let spool = |used, left| {
            let overview = Overview {
                spool_bytes: 100,
                spool_used_bytes: used,
                spool_left_seconds: left,
                ..Overview::default()
            };
            level_of(&Seen { overview, ..Seen::default() }, Kind::SpoolFilling)[0]
        };
        assert_eq!(spool(10, None), Level::Clear);
        assert_eq!(spool(80, None), Level::Raise);
        assert_eq!(spool(75, None), Level::Between);
        assert_eq!(spool(60, None), Level::Clear);
        assert_eq!(spool(30, Some(3600)), Level::Raise);
        assert_eq!(spool(2, Some(3600)), Level::Clear, "nearly empty: the link keeps up");
        assert_eq!(spool(30, Some(5 * 3600)), Level::Between);
        assert_eq!(spool(30, Some(9 * 3600)), Level::Clear);
        let none = Overview { spool_left_seconds: Some(0), ..Overview::default() };
        let none = Seen { overview: none, ..Seen::default() };
        assert_eq!(level_of(&none, Kind::SpoolFilling), [Level::Clear], "there is no spool");
    }

    #[test]
    fn disks_and_drills_that_fail_are_told_and_good_ones_end_it() {
        let drill = |up| {
            let last_drill = Some(LastDrill { up, ..LastDrill::default() });
            level_of(&with(ServerRow { last_drill, ..row() }), Kind::DrillFailed)
        };
        assert_eq!((drill(false), drill(true)), (vec![Level::Raise], vec![Level::Clear]));
        assert!(level_of(&with(row()), Kind::DrillFailed).is_empty());
        let disk = firmware_web::api::views::servers::DiskView {
            name: "sda".to_owned(),
            unread_blocks: 3,
            ..Default::default()
        };
        let view = ServerView { row: row(), disks: vec![disk], ..ServerView::default() };
        let disks = vec![
            MachineDisk {
                name: "sdb".to_owned(),
                trouble: Some("4 errors".to_owned()),
                ..Default::default()
            },
            MachineDisk::default(),
        ];
        let seen = Seen { servers: vec![view], disks, ..Seen::default() };
        assert_eq!(level_of(&seen, Kind::DiskFailing), [Level::Raise, Level::Raise, Level::Clear]);
    }
}
