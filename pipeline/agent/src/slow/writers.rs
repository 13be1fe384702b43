//! Who writes most, by the kernel's own counts, and which control groups they are in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Of what is written, the part whose writers are slowed down, in percent; who writes the rest is let be.
const SHARE_PERCENT: u64 = 90;
/// Groups that are slowed down at most.
const GROUPS_MAX: usize = 16;
/// What pauses nobody: who starts everything, and who is in no group.
const NEVER: [&str; 2] = ["/", "/init.scope"];

/// Where the kernel tells of processes, and where control groups are.
pub(super) struct System<'a> {
    proc: &'a Path,
    root: &'a Path,
}

impl<'a> System<'a> {
    pub(super) fn new(proc: &'a Path, root: &'a Path) -> Self {
        Self { proc, root }
    }

    /// What each process has had written in its life, bytes.
    pub(super) fn written(&self) -> BTreeMap<u32, u64> {
        let entries = fs::read_dir(self.proc).into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        processes.filter_map(|process| Some((process, self.written_by(process)?))).collect()
    }

    fn written_by(&self, process: u32) -> Option<u64> {
        let text = fs::read_to_string(self.proc.join(format!("{process}/io"))).ok()?;
        text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
    }

    /// The folders of the groups of whoever wrote most of it in between, the busiest first.
    pub(super) fn groups_of_writers(
        &self,
        before: &BTreeMap<u32, u64>,
        after: &BTreeMap<u32, u64>,
    ) -> Vec<PathBuf> {
        let mut groups: BTreeMap<String, u64> = BTreeMap::new();
        for (process, now) in after {
            // One that was not there before began with nothing.
            let wrote = now.saturating_sub(before.get(process).copied().unwrap_or(0));
            if wrote > 0
                && let Some(group) = self.group_of(&process.to_string())
            {
                let sum = groups.entry(group).or_default();
                *sum = sum.saturating_add(wrote);
            }
        }
        let all = groups.values().fold(0_u64, |sum, wrote| sum.saturating_add(*wrote));
        let mut groups: Vec<(u64, String)> =
            groups.into_iter().map(|(group, wrote)| (wrote, group)).collect();
        groups.sort_unstable_by(|one, other| other.cmp(one));
        let Some(own) = self.group_of("self") else { return Vec::new() };
        let mut found = Vec::new();
        let mut seen = 0_u64;
        for (wrote, group) in groups {
            if seen.saturating_mul(100) >= all.saturating_mul(SHARE_PERCENT) {
                break;
            }
            seen = seen.saturating_add(wrote);
            found.extend(self.may_pause(&group, &own).filter(|_| found.len() < GROUPS_MAX));
        }
        found
    }

    /// The group of version 2 that a process is in.
    fn group_of(&self, process: &str) -> Option<String> {
        let text = fs::read_to_string(self.proc.join(process).join("cgroup")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("0::")).map(ToOwned::to_owned)
    }

    /// Its folder, where it is there to be paused: not around us, and not paused by somebody else.
    fn may_pause(&self, group: &str, own: &str) -> Option<PathBuf> {
        let below = own.strip_prefix(group);
        let around = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // Of a group outside of what this process sees, the kernel says so by dots.
        if NEVER.contains(&group) || around || group.contains("/..") {
            return None;
        }
        let folder = self.root.join(group.strip_prefix('/')?);
        let state = fs::read_to_string(super::switch(&folder)).ok()?;
        (state.trim() == "0").then_some(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes and groups that are made up.
    struct World(PathBuf);

    impl World {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir()
                .join(format!("lifeboat-writers-{name}-{}", std::process::id()));
            let world = Self(folder);
            world.set("proc/self/cgroup", "0::/system.slice/lifeboat-agent.service\n");
            world
        }

        fn set(&self, file: &str, text: &str) {
            let file = self.0.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        fn process(&self, process: u32, group: &str, bytes: u64) {
            self.set(
                &format!("proc/{process}/cgroup"),
                &format!("1:name=systemd:/x\n0::{group}\n"),
            );
            self.wrote(process, bytes);
            if group != "/" && !self.0.join(format!("groups{group}/cgroup.freeze")).exists() {
                self.set(&format!("groups{group}/cgroup.freeze"), "0\n");
            }
        }

        fn wrote(&self, process: u32, bytes: u64) {
            let text =
                format!("rchar: 9\nwchar: 99\nwrite_bytes: {bytes}\ncancelled_write_bytes: 0\n");
            self.set(&format!("proc/{process}/io"), &text);
        }

        /// Who is slowed down, where each process has written so much more.
        fn found(&self, more: &[(u32, u64)]) -> Vec<String> {
            let (proc, root) = (self.0.join("proc"), self.0.join("groups"));
            let system = System::new(&proc, &root);
            let before = system.written();
            for (process, bytes) in more {
                self.wrote(*process, before.get(process).copied().unwrap_or(0) + bytes);
            }
            let found = system.groups_of_writers(&before, &system.written());
            let plain = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
            found.iter().map(plain).collect()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn who_writes_most_now_is_slowed_down_and_nobody_else() {
        let world = World::new("most");
        world.process(10, "/system.slice/db.service", 5);
        world.process(11, "/system.slice/db.service", 0);
        world.process(12, "/user.slice/user-0.slice/session-1.scope", 1 << 50);
        world.process(13, "/system.slice/small.service", 0);
        world.process(14, "/system.slice/quiet.service", 0);
        let found = world.found(&[(10, 500), (11, 300), (12, 150), (13, 50)]);
        let expected = ["system.slice/db.service", "user.slice/user-0.slice/session-1.scope"];
        assert_eq!(found, expected);
        assert!(world.found(&[]).is_empty(), "nobody writes");
    }

    #[test]
    fn what_holds_everything_or_us_or_is_paused_already_is_let_be() {
        let world = World::new("never");
        world.process(1, "/init.scope", 0);
        world.process(2, "/", 0);
        world.process(3, "/system.slice/lifeboat-agent.service", 0);
        world.process(4, "/system.slice", 0);
        world.process(5, "/system.slice/lifeboat-agent.service-not", 0);
        world.process(6, "/docker/a", 0);
        world.process(7, "/gone", 0);
        world.process(8, "/../outside", 0);
        world.set("groups/docker/a/cgroup.freeze", "1\n");
        fs::remove_dir_all(world.0.join("groups/gone")).unwrap();
        let all: Vec<_> = (1..=8).map(|process| (process, 100)).collect();
        assert_eq!(world.found(&all), ["system.slice/lifeboat-agent.service-not"]);
    }

    #[test]
    fn no_more_groups_are_paused_than_a_person_can_read() {
        let world = World::new("many");
        let all: Vec<_> = (1..=100).map(|process| (process, 100)).collect();
        for (process, _) in &all {
            world.process(*process, &format!("/s/{process}"), 0);
        }
        assert_eq!(world.found(&all).len(), GROUPS_MAX);
    }
}
