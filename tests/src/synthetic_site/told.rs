//! What is told of a made-up appliance: all of it follows from the seed and from what was changed.

use firmware_web::api::views::appliance::{
    ApplianceView, MachineDisk, MachineLink, Measured, MeasurementsView, Register,
};
use firmware_web::api::views::events::{EventFilter, EventPage};
use firmware_web::api::views::files::{FileBytes, FileEntry, FilePlace, Listing};
use firmware_web::api::views::servers::{
    DiskView, Figure, Health, Overview, PointView, Readiness, SeedView, Series, SeriesAsked,
    ServerView,
};
use firmware_web::api::views::vault::{DayBytes, JobState, VaultView};
use firmware_web::api::{Answer, Refusal};
use hal_sim::random::Random;

use super::{GIB, POINTS, Server, SyntheticSite, find, missing, now};

/// Values of a series.
const VALUES: u64 = 240;
/// The file that can be read.
const FILE: &str = "motd <img src=x onerror=alert(2)>";
const FILE_TEXT: &[u8] = b"Welcome to a made-up server.\n";
const DAY_MILLIS: u64 = 86_400_000;

fn point(server: &Server, number: u64) -> Option<PointView> {
    let newest = server.row.newest_point_millis?;
    let step = server.row.rpo_target_seconds * 1000;
    let mut random = Random::new(server.seed ^ number);
    let id = format!("{:032x}", u128::from(server.seed) << 64 | u128::from(number));
    Some(PointView {
        pinned: server.pins.get(&id).cloned(),
        id,
        at_millis: newest - number * step,
        consistency: if number % 12 == 3 { "application" } else { "crash" }.into(),
        read_bytes: 200 << 20,
        stored_bytes: random.below(120 << 20),
        frozen_micros: Some(12_000 + random.below(20_000)),
        ..PointView::default()
    })
}

/// One event, and the register that it went into.
pub(super) fn measurements() -> MeasurementsView {
    let sha256 = "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969";
    let event = Measured {
        register: 7,
        kind: 4,
        kind_name: "EV_SEPARATOR".into(),
        sha256: Some(sha256.into()),
        words: String::new(),
    };
    let register =
        Register { number: 7, sha256: sha256.into(), replayed_sha256: Some(sha256.into()) };
    MeasurementsView { events: vec![event], whole: true, registers: vec![register] }
}

impl SyntheticSite {
    pub(super) fn told_overview(&self) -> Overview {
        let state = self.state();
        let running = state.jobs.iter().filter(|job| job.state == JobState::Running);
        Overview {
            name: "lifeboat-made-up".into(),
            version: "0.1.0".into(),
            now_millis: now(),
            vault: Health::Good,
            vault_cause: String::new(),
            spool_bytes: 200 * GIB,
            spool_used_bytes: 31 * GIB,
            spool_left_seconds: Some(50_000),
            servers: state.servers.iter().map(|server| server.row.clone()).collect(),
            jobs: running.cloned().collect(),
        }
    }

    pub(super) fn told_server(&self, name: &str) -> Answer<ServerView> {
        let state = self.state();
        let server = find(&state, name)?;
        let disk = |name: &str, bytes| DiskView {
            name: name.into(),
            identity: format!("S{:011X}", server.seed >> 20),
            bytes,
            left_out: server.policy.left_out.iter().any(|out| out == name),
            hour_bytes: 3 * GIB / 2,
            unread_blocks: 0,
        };
        Ok(ServerView {
            row: server.row.clone(),
            disks: vec![disk("sda", 240 * GIB), disk("sdb", 2000 * GIB)],
            policy: server.policy.clone(),
            doing: "waits for the next point".into(),
            troubles: Vec::new(),
            revoked: server.revoked,
            accepts_another_machine: server.accepts,
            failed_over: server.failed_over.clone(),
            frozen_micros_max: Some(31_000),
            frozen_micros_median: Some(18_000),
            stored_percent: Some(38),
            points: server.row.newest_point_millis.map_or(0, |_| POINTS),
            seed: Some(SeedView {
                at_millis: now(),
                words: "its seed is at the newest point of the vault".into(),
                trouble: None,
            }),
        })
    }

    pub(super) fn told_points(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<PointView>> {
        let state = self.state();
        let server = find(&state, name)?;
        let points = (0..POINTS).map_while(|number| point(server, number));
        let wanted = points.filter(|point| before.is_none_or(|before| point.at_millis <= before));
        Ok(wanted.take(limit).collect())
    }

    pub(super) fn told_point(&self, name: &str, id: &str) -> Answer<PointView> {
        let points = self.told_points(name, None, usize::MAX)?;
        let found = points.into_iter().find(|point| point.id == id);
        found.ok_or_else(|| missing("point", id))
    }

    pub(super) fn told_series(&self, name: &str, asked: &SeriesAsked) -> Answer<Series> {
        let state = self.state();
        let server = find(&state, name)?;
        let mut random = Random::new(server.seed ^ asked.span_seconds);
        let most = match asked.figure {
            Figure::Rpo => server.row.rpo_target_seconds,
            Figure::Churn => 8 << 20,
            Figure::StoredPercent => 60,
            Figure::Backlog => GIB,
            Figure::Frozen => 40_000,
        };
        let value = |_| u32::try_from(random.below(most)).ok().map(f64::from);
        Ok(Series {
            began_millis: now().saturating_sub(asked.span_seconds * 1000),
            step_seconds: asked.span_seconds.div_ceil(VALUES),
            values: (0..VALUES).map(value).collect(),
        })
    }

    pub(super) fn told_readiness(&self, name: &str, with_azure: bool) -> Answer<Readiness> {
        let has_profile = find(&self.state(), name)?.target.is_some();
        let problem = "it has no target profile: write one".to_owned();
        Ok(Readiness {
            ready: has_profile,
            problems: if has_profile { Vec::new() } else { vec![problem] },
            warnings: vec!["its clock is in local time".into()],
            repairs: vec!["drivers of the platform into its initramfs".into()],
            judged_millis: Some(now()),
            asked_azure: with_azure,
            about_millis: Some(420_000),
            has_profile,
        })
    }

    pub(super) fn told_vault(&self) -> VaultView {
        let day = |ago: u64| DayBytes {
            at_millis: now() - ago * DAY_MILLIS,
            bytes: 2000 * GIB + (200 - ago) * 5 * GIB,
        };
        VaultView {
            place: "azure://madeup/vault".into(),
            vault: "f".repeat(32),
            bytes: 3000 * GIB,
            objects: 48_211,
            counted_millis: Some(now() - 3_600_000),
            month_millidollars: Some(57_020),
            cost_says: "cool blob storage, locally redundant, list price".into(),
            growth: (0..200).rev().map(day).collect(),
            retention: self.state().retention.clone(),
            key_confirmed_millis: Some(now() - 40 * DAY_MILLIS),
            ..VaultView::default()
        }
    }

    pub(super) fn told_listing(&self, place: &FilePlace) -> Answer<Listing> {
        self.told_point(&place.server, &place.point)?;
        let entry = |name: &str, kind: &str, bytes| FileEntry {
            name: name.into(),
            kind: kind.into(),
            bytes,
            changed_millis: None,
            detail: String::new(),
        };
        let size = u64::try_from(FILE_TEXT.len()).unwrap_or_default();
        let entries = match (place.disk.as_str(), place.volume.as_str(), place.path.as_str()) {
            ("", _, _) => vec![entry("sda", "disk", 240 * GIB)],
            (_, "", _) => vec![entry("1", "volume", 239 * GIB)],
            (_, _, "") => vec![entry("etc", "folder", 0), entry("readme", "link", 0)],
            (_, _, "etc") => vec![entry(FILE, "file", size)],
            _ => return Err(missing("folder", &place.path)),
        };
        Ok(Listing { entries, cut: false })
    }

    pub(super) fn told_file(
        &self,
        place: &FilePlace,
        from: u64,
        limit: usize,
    ) -> Answer<FileBytes> {
        self.told_point(&place.server, &place.point)?;
        if place.path != format!("etc/{FILE}") {
            return Err(missing("file", &place.path));
        }
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(FILE_TEXT.len());
        let bytes = FILE_TEXT[from..].iter().copied().take(limit).collect();
        Ok(FileBytes { bytes, file_bytes: u64::try_from(FILE_TEXT.len()).unwrap_or_default() })
    }

    pub(super) fn told_appliance(&self) -> ApplianceView {
        let disk = |name: &str, used: &str, celsius| MachineDisk {
            name: name.into(),
            model: "Made-up disk".into(),
            serial: "S64DNX".into(),
            bytes: 931 * GIB,
            used: used.into(),
            celsius,
            trouble: None,
        };
        let link = MachineLink {
            name: "eth0".into(),
            mac: "52:54:00:12:34:56".into(),
            carrier: true,
            speed_mbit: Some(1000),
            addresses: vec!["192.0.2.10/24".into()],
        };
        ApplianceView {
            name: "lifeboat-made-up".into(),
            version: "0.1.0".into(),
            role: "appliance".into(),
            uptime_seconds: 1_234_567,
            memory_bytes: 8 * GIB,
            memory_available_bytes: 5 * GIB,
            disks: vec![disk("sda", "medium", None), disk("nvme0n1", "spool", Some(46))],
            links: vec![link],
            spool: "nvme0n1, nothing is damaged".into(),
            spool_bytes: 200 * GIB,
            spool_used_bytes: 31 * GIB,
            spool_left_seconds: Some(50_000),
            certificate_sha256: "AB:".repeat(31) + "AB",
            zone_minutes: 60,
            calendar: self.state().calendar.clone(),
        }
    }

    pub(super) fn told_events(&self, filter: &EventFilter) -> EventPage {
        let state = self.state();
        let fits = |text: &str, event: &str| event.to_lowercase().contains(&text.to_lowercase());
        let mut wanted = state.events.iter().rev().filter(|event| {
            let words = format!("{} {} {}", event.words, event.object, event.kind);
            filter.text.as_ref().is_none_or(|text| fits(text, &words))
                && filter.at_least.is_none_or(|least| event.health >= least)
                && filter.object.as_ref().is_none_or(|object| *object == event.object)
                && filter.before.is_none_or(|before| event.number < before)
        });
        let limit = filter.limit.unwrap_or(100);
        let events = wanted.by_ref().take(limit).cloned().collect();
        EventPage { events, more: wanted.next().is_some() }
    }

    /// A refusal where a text is no `keep` of a retention.
    pub(super) fn check_keep(keep: Option<&str>) -> Answer<()> {
        let wrong = |keep: &str| {
            let refusal = Refusal::new(422, "the retention", format!("«{keep}» cannot be read"));
            refusal.remedy("write it as 72h,hourly=7d,daily=30d").at("/keep")
        };
        match keep {
            Some(keep) if pipeline_vault::retain::Policy::parse(keep).is_err() => Err(wrong(keep)),
            _ => Ok(()),
        }
    }
}
