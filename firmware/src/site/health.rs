//! How a server fares, in one word with the cause in a sentence: facts go in, a verdict comes out.
//!
//! The worst cause is told, and what a person put to rest before all others. It refuses to read a clock or a vault.

use core::time::Duration;

use firmware_web::api::views::servers::{Health, Progress};

use crate::report::{Size, Span};

/// An agent may be away for so long before somebody should look, seconds.
const AWAY_SECONDS_MAX: u64 = 30;
/// A drill older than this is told, milliseconds.
const DRILL_MILLIS_MAX: u64 = 90 * 86_400_000;
/// A spool that is fuller than this is told, in percent.
const SPOOL_PERCENT_MAX: u64 = 80;

/// What is known of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Why the vault cannot be read.
    pub(super) vault_trouble: Option<String>,
    /// Why its chain cannot be read.
    pub(super) chain_trouble: Option<String>,
    pub(super) revoked: bool,
    pub(super) paused: bool,
    /// The order of a failover that stands.
    pub(super) failed_over: Option<String>,
    /// It has an agent: it is on the roll, and agents are taken here.
    pub(super) has_agent: bool,
    pub(super) connected: bool,
    /// For how long its agent has been away.
    pub(super) away_seconds: u64,
    pub(super) points: u64,
    pub(super) rpo_seconds: Option<u64>,
    pub(super) target_seconds: u64,
    pub(super) first_copy: Option<Progress>,
    pub(super) troubles: Vec<String>,
    pub(super) backlog_bytes: u64,
    pub(super) spool_bytes: u64,
    pub(super) spool_used_bytes: u64,
    pub(super) unread_blocks: u64,
    /// When its last drill was, and whether it came up.
    pub(super) drill: Option<(u64, bool)>,
    /// What was in the way of a recovery when that was looked at last.
    pub(super) problems: Vec<String>,
    pub(super) now_millis: u64,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) health: Health,
    /// For machines: `rpo_missed`, `agent_silent`.
    pub(super) kind: &'static str,
    pub(super) cause: String,
}

fn say(health: Health, kind: &'static str, cause: impl Into<String>) -> Verdict {
    Verdict { health, kind, cause: cause.into() }
}

fn span(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

/// Judges it.
pub(super) fn judge(facts: &Facts) -> Verdict {
    if facts.revoked {
        return say(
            Health::Off,
            "revoked",
            "It was revoked: no agent comes in as it; its points stay.",
        );
    }
    let causes = [bad(facts), rest(facts), working(facts), attention(facts)];
    let found = causes.into_iter().flatten().next();
    found.unwrap_or_else(|| good(facts))
}

/// It does not do what it is for.
fn bad(facts: &Facts) -> Option<Verdict> {
    if let Some(trouble) = &facts.chain_trouble {
        let words = format!("Its points cannot be read: {trouble}");
        return Some(say(Health::Bad, "points_unreadable", words));
    }
    let (rpo, target) = (facts.rpo_seconds?, facts.target_seconds);
    let is_judged = facts.has_agent && !facts.paused && facts.failed_over.is_none() && target > 0;
    let missed = rpo > target.saturating_mul(3).saturating_add(60);
    (is_judged && missed).then(|| {
        let silent = if facts.connected {
            String::new()
        } else {
            format!(" Its agent has been away for {}.", span(facts.away_seconds))
        };
        let words = format!(
            "The newest point is {} old, the target is {}.{silent}",
            span(rpo),
            span(target)
        );
        say(Health::Bad, "rpo_missed", words)
    })
}

/// A person's word that it rests.
fn rest(facts: &Facts) -> Option<Verdict> {
    if facts.paused {
        return Some(say(Health::Off, "paused", "Its policy is paused: no points are made."));
    }
    let order = facts.failed_over.as_ref()?;
    let words = format!(
        "It was failed over by order {order}: its original gets no points until that has ended."
    );
    Some(say(Health::Off, "failed_over", words))
}

fn working(facts: &Facts) -> Option<Verdict> {
    if facts.points > 0 || !facts.connected {
        return None;
    }
    let words = match facts.first_copy {
        Some(Progress { done_bytes, total_bytes, left_seconds }) if total_bytes > 0 => {
            let left = left_seconds.map(|left| format!(", about {} left", span(left)));
            let percent = u128::from(done_bytes) * 100 / u128::from(total_bytes);
            let (done, total) = (Size(done_bytes), Size(total_bytes));
            format!("The first copy: {done} of {total}, {percent} %{}.", left.unwrap_or_default())
        }
        _ => "The first copy has begun.".to_owned(),
    };
    Some(say(Health::Working, "first_copy", words))
}

/// Somebody should look.
fn attention(facts: &Facts) -> Option<Verdict> {
    let told = |kind, cause: String| Some(say(Health::Attention, kind, cause));
    let (rpo, target) = (facts.rpo_seconds.unwrap_or(0), facts.target_seconds);
    if facts.has_agent && !facts.connected && facts.away_seconds > AWAY_SECONDS_MAX {
        let words = format!("Its agent has been away for {}.", span(facts.away_seconds));
        return told("agent_silent", words);
    }
    if facts.has_agent && target > 0 && rpo > target.saturating_add((target / 4).max(10)) {
        let words =
            format!("The newest point is {} old, the target is {}.", span(rpo), span(target));
        return told("rpo_late", words);
    }
    if let Some(trouble) = &facts.vault_trouble {
        return told("vault_unreadable", format!("The vault cannot be read: {trouble}"));
    }
    if let Some(trouble) = facts.troubles.first() {
        return told("agent_trouble", format!("Its agent says: {trouble}"));
    }
    if facts.unread_blocks > 0 {
        let words =
            format!("{} blocks of its newest point could not be read.", facts.unread_blocks);
        return told("blocks_unread", words);
    }
    let full = facts.spool_used_bytes.saturating_mul(100).checked_div(facts.spool_bytes);
    if facts.backlog_bytes > 0 && full.is_some_and(|percent| percent > SPOOL_PERCENT_MAX) {
        let words = format!(
            "{} of it wait for the vault, and the spool is {} % full.",
            Size(facts.backlog_bytes),
            full.unwrap_or(100)
        );
        return told("spool_filling", words);
    }
    match facts.drill {
        Some((_, false)) => {
            return told("drill_failed", "It did not come up in its last drill.".to_owned());
        }
        Some((at, true)) if facts.now_millis.saturating_sub(at) > DRILL_MILLIS_MAX => {
            let words = "It was drilled more than 90 days ago.".to_owned();
            return told("drill_old", words);
        }
        _ => {}
    }
    let problem = facts.problems.first()?;
    told("not_ready", format!("It could not be recovered now: {problem}"))
}

fn good(facts: &Facts) -> Verdict {
    let words = match (facts.rpo_seconds, facts.has_agent) {
        (None, true) => "It is enrolled, and has no point yet.".to_owned(),
        (None, false) => "It has no point yet.".to_owned(),
        (Some(rpo), true) => format!("The newest point is {} old.", span(rpo)),
        (Some(rpo), false) => {
            format!("It is captured by hand; the newest point is {} old.", span(rpo))
        }
    };
    // Without points and without somebody who makes one nothing is protected.
    if facts.points == 0 && facts.rpo_seconds.is_none() {
        return say(Health::Attention, "no_points", words);
    }
    say(Health::Good, "good", words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn well() -> Facts {
        Facts {
            has_agent: true,
            connected: true,
            points: 9,
            rpo_seconds: Some(40),
            target_seconds: 60,
            spool_bytes: 1000,
            spool_used_bytes: 10,
            drill: Some((100 * DAY, true)),
            now_millis: 101 * DAY,
            ..Facts::default()
        }
    }

    fn word(facts: &Facts) -> (Health, &'static str) {
        let verdict = judge(facts);
        assert!(verdict.cause.ends_with('.') || verdict.cause.contains(": "), "{}", verdict.cause);
        (verdict.health, verdict.kind)
    }

    #[test]
    fn every_cause_has_its_word() {
        let text = |text: &str| Some(text.to_owned());
        let many = |text: &str| vec![text.to_owned()];
        let progress =
            Progress { done_bytes: 1 << 30, total_bytes: 4 << 30, left_seconds: Some(90) };
        let cases = [
            (well(), (Health::Good, "good")),
            (Facts { revoked: true, ..well() }, (Health::Off, "revoked")),
            (Facts { paused: true, rpo_seconds: Some(9999), ..well() }, (Health::Off, "paused")),
            (
                Facts { failed_over: text("ab"), connected: false, ..well() },
                (Health::Off, "failed_over"),
            ),
            (Facts { rpo_seconds: Some(76), ..well() }, (Health::Attention, "rpo_late")),
            (Facts { rpo_seconds: Some(241), ..well() }, (Health::Bad, "rpo_missed")),
            (Facts { chain_trouble: text("x"), ..well() }, (Health::Bad, "points_unreadable")),
            (Facts { vault_trouble: text("x"), ..well() }, (Health::Attention, "vault_unreadable")),
            (
                Facts { connected: false, away_seconds: 31, ..well() },
                (Health::Attention, "agent_silent"),
            ),
            (Facts { connected: false, away_seconds: 5, ..well() }, (Health::Good, "good")),
            (Facts { troubles: many("x"), ..well() }, (Health::Attention, "agent_trouble")),
            (Facts { unread_blocks: 2, ..well() }, (Health::Attention, "blocks_unread")),
            (
                Facts { spool_used_bytes: 900, backlog_bytes: 5, ..well() },
                (Health::Attention, "spool_filling"),
            ),
            (
                Facts { drill: Some((100 * DAY, false)), ..well() },
                (Health::Attention, "drill_failed"),
            ),
            (Facts { drill: Some((1, true)), ..well() }, (Health::Attention, "drill_old")),
            (Facts { problems: many("no profile"), ..well() }, (Health::Attention, "not_ready")),
            (
                Facts { points: 0, rpo_seconds: None, first_copy: Some(progress), ..well() },
                (Health::Working, "first_copy"),
            ),
            (
                Facts { points: 0, rpo_seconds: None, connected: false, ..well() },
                (Health::Attention, "no_points"),
            ),
        ];
        for (facts, expected) in cases {
            assert_eq!(word(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn who_is_captured_by_hand_misses_no_target() {
        let by_hand = Facts {
            has_agent: false,
            connected: false,
            rpo_seconds: Some(9 * 86_400),
            target_seconds: 0,
            ..well()
        };
        assert_eq!(word(&by_hand), (Health::Good, "good"));
        assert!(judge(&by_hand).cause.contains("captured by hand"));
    }

    #[test]
    fn the_first_copy_says_how_far_it_is() {
        let progress =
            Progress { done_bytes: 1 << 30, total_bytes: 4 << 30, left_seconds: Some(90) };
        let facts = Facts { points: 0, rpo_seconds: None, first_copy: Some(progress), ..well() };
        let cause = judge(&facts).cause;
        assert!(cause.contains("25 %") && cause.contains("left"), "{cause}");
    }
}
