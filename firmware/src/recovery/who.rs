//! Who this is, to others who look at the same order: person, machine and its start, process and its start.

use std::fs;

use firmware_recovery::order::Holder;

use crate::session::Settings;

/// The person as `USER@HOST`.
#[must_use]
pub fn person(settings: &Settings) -> String {
    let named = |name: &str| settings(name)?.into_string().ok().filter(|user| !user.is_empty());
    let user = named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME"));
    let user = user.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    format!("{user}@{}", crate::verbs::host_name())
}

/// This process as the holder of an order.
pub(super) fn holder(settings: &Settings) -> Holder {
    let pid = std::process::id();
    Holder {
        who: person(settings),
        machine: fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| crate::verbs::host_name(), |text| text.trim().to_owned()),
        process: format!("{pid}/{}", began(pid).unwrap_or_default()),
        until_millis: 0,
    }
}

/// Whether a process of this machine, told apart from a later one of the same number by its start, still runs.
pub(super) fn runs_here(process: &str) -> bool {
    let Some((pid, since)) = process.split_once('/') else { return false };
    pid.parse().ok().and_then(began).is_some_and(|began| began == since)
}

/// When a process began, in the kernel's own count.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in parentheses, may hold anything; what follows are numbers.
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // A process that only waits to be buried runs no more.
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19).map(|field| (*field).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_an_earlier_one_of_its_number_does_not() {
        let nobody: Settings = std::sync::Arc::new(|_| None);
        let me = holder(&nobody);
        assert!(runs_here(&me.process), "{}", me.process);
        let (pid, _) = me.process.split_once('/').unwrap();
        assert!(!runs_here(&format!("{pid}/1")));
        for odd in ["", "x/1", "4294967295/1"] {
            assert!(!runs_here(odd), "{odd}");
        }
    }
}
