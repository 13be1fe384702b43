//! How replication stands, in words for the console and in a word for machines. Plain values.

use core::time::Duration;

use crate::ingest::service::View;
use crate::report::{Size, Span};
use crate::serve::figures;

/// What is known of a running replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Servers that were let in and not revoked.
    pub(super) servers: usize,
    /// Servers whose agents are connected.
    pub(super) connected: u64,
    /// Bytes that the vault does not have yet.
    pub(super) backlog_bytes: u64,
    /// The age of the oldest of the servers' newest points.
    pub(super) oldest_seconds: Option<u64>,
    /// Whether the spool is a disk.
    pub(super) on_disk: bool,
}

impl Figures {
    /// As they are now.
    pub(super) fn of(view: &View, on_disk: bool) -> Self {
        let (told, roll) = (figures::public(view), view.roll().roll());
        Self {
            servers: roll.servers.iter().filter(|listed| !listed.revoked).count(),
            connected: told.connected,
            backlog_bytes: told.backlog_bytes,
            oldest_seconds: told.oldest_point_age_seconds,
            on_disk,
        }
    }

    fn words(&self) -> String {
        let servers = match (self.servers, self.connected) {
            (0, _) => "no server is let in yet: key t".to_owned(),
            (servers, connected) => format!("{connected} of {servers} connected"),
        };
        let backlog = match self.backlog_bytes {
            0 => "nothing".to_owned(),
            bytes => Size(bytes).to_string(),
        };
        let oldest = match self.oldest_seconds {
            Some(seconds) => {
                format!("oldest point {}", Span(Duration::from_secs(seconds)))
            }
            None => "no point yet".to_owned(),
        };
        let spool = if self.on_disk { "" } else { "; no spool: only the vault keeps anything" };
        match self.servers {
            0 => format!("{servers}{spool}"),
            _ => format!("{servers}, {backlog} on its way, {oldest}{spool}"),
        }
    }
}

/// How replication stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It begins, or begins anew.
    #[default]
    Begins,
    /// There is no vault to put anything into.
    NoVault,
    /// Why no agent is taken. It is tried again.
    Failed(String),
    /// Agents are taken.
    Taken(Figures),
}

impl Standing {
    /// For machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Begins => "begins",
            Self::NoVault => "none",
            Self::Failed(_) => "failed",
            Self::Taken(_) => "taken",
        }
    }

    /// For machines: where what was sent is kept.
    pub(super) fn spool(&self) -> &'static str {
        match self {
            Self::Taken(Figures { on_disk: true, .. }) => "disk",
            Self::Taken(_) => "memory",
            _ => "none",
        }
    }

    /// For a person.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Begins => "not taken yet: the vault is being opened".to_owned(),
            Self::NoVault => {
                "none are taken: no vault is named yet, by the page or by lifeboat.toml".to_owned()
            }
            Self::Failed(words) => format!("none are taken, tried again soon: {words}"),
            Self::Taken(figures) => figures.words(),
        }
    }

    /// The figures, where there are any.
    pub(super) fn figures(&self) -> Figures {
        match self {
            Self::Taken(figures) => *figures,
            _ => Figures::default(),
        }
    }

    /// Whether machines are told nothing new: ages and amounts change all the time.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let (one, two) = (self.figures(), other.figures());
        self.word() == other.word()
            && (one.servers, one.connected, one.on_disk)
                == (two.servers, two.connected, two.on_disk)
            && one.oldest_seconds.is_some() == two.oldest_seconds.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_who_is_there_what_waits_and_what_to_do() {
        let figures = Figures {
            servers: 3,
            connected: 2,
            backlog_bytes: 5 << 20,
            oldest_seconds: Some(35),
            on_disk: true,
        };
        let words = Standing::Taken(figures).words();
        assert_eq!(words, "2 of 3 connected, 5.00 MiB on its way, oldest point 35 s");
        let ring = Figures { on_disk: false, backlog_bytes: 0, oldest_seconds: None, ..figures };
        let words = Standing::Taken(ring).words();
        assert!(words.contains("nothing on its way, no point yet; no spool"), "{words}");
        let words = Standing::Taken(Figures { on_disk: true, ..Figures::default() }).words();
        assert_eq!(words, "no server is let in yet: key t");
        let words = Standing::Failed("the vault is away".to_owned()).words();
        assert!(words.contains("tried again") && words.contains("the vault is away"), "{words}");
        assert!(Standing::NoVault.words().contains("lifeboat.toml"));
    }

    #[test]
    fn machines_are_told_what_changes_now_and_then() {
        let taken = |change: &dyn Fn(&mut Figures)| {
            let mut figures = Figures { servers: 2, oldest_seconds: Some(4), ..Figures::default() };
            change(&mut figures);
            Standing::Taken(figures)
        };
        let one = taken(&|_| {});
        let later = taken(&|figures| {
            (figures.backlog_bytes, figures.oldest_seconds) = (7, Some(9));
        });
        assert!(one.is_like(&later));
        for other in [
            taken(&|figures| figures.connected = 1),
            taken(&|figures| figures.servers = 3),
            taken(&|figures| figures.on_disk = true),
            taken(&|figures| figures.oldest_seconds = None),
            Standing::Failed(String::new()),
        ] {
            assert!(!one.is_like(&other), "{other:?}");
        }
        assert_eq!((one.word(), one.spool()), ("taken", "memory"));
    }
}
