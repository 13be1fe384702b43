//! What an order and a plan's run came to: values for programs, and a page to print, without scripts and with nothing to fetch.

use serde::Serialize;

use crate::order::{Evidence, Note, Order, PointFacts, Standing, State, Step, StepRecord};
use crate::plan::{Entry, Plan, Run, RunState};

/// An order as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderFacts<'a> {
    /// Its identity.
    pub order: String,
    /// The server's name.
    pub server: &'a str,
    /// `drill`, `failover`, `planned`.
    pub kind: crate::order::Kind,
    /// Where it stands.
    pub state: State,
    /// By whom.
    pub by: &'a str,
    /// When it was given, milliseconds since 1970.
    pub ordered_millis: u64,
    /// The point.
    pub point: Option<&'a PointFacts>,
    /// Its steps.
    pub steps: &'a [StepRecord],
    /// Whether the server came up.
    pub up: Option<bool>,
    /// From the order to the last signal.
    pub rto_millis: u64,
    /// Bytes that went into its disks.
    pub filled_bytes: u64,
    /// What is there of it, in words.
    pub made: Vec<String>,
    /// What the machine said and showed.
    pub evidence: &'a Evidence,
    /// Its diary.
    pub notes: &'a [Note],
    /// Why it stands.
    pub trouble: Option<&'a str>,
    /// Of a drill on somebody's own machine: which, and what was brought where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<&'a crate::order::Here>,
}

/// An order as a value.
#[must_use]
pub fn order_facts(order: &Order) -> OrderFacts<'_> {
    OrderFacts {
        order: order.id.to_string(),
        server: &order.server_name,
        kind: order.kind,
        state: order.state,
        by: &order.ordered_by,
        ordered_millis: order.ordered_millis,
        point: order.point.as_ref(),
        steps: &order.steps,
        up: order.evidence.up,
        rto_millis: order.rto_millis(),
        filled_bytes: order.filled_bytes(),
        made: order.made.iter().map(ToString::to_string).collect(),
        evidence: &order.evidence,
        notes: &order.notes,
        trouble: order.trouble.as_deref(),
        here: order.here.as_ref(),
    }
}

/// A run of a plan as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunFacts<'a> {
    /// The plan's name.
    pub plan: &'a str,
    /// The run's identity.
    pub run: String,
    /// Whether it is a drill.
    pub drill: bool,
    /// How it stands.
    pub state: RunState,
    /// By whom.
    pub by: &'a str,
    /// When it was begun, milliseconds since 1970.
    pub began_millis: u64,
    /// What was done.
    pub entries: &'a [Entry],
    /// What a person is waited for, where one is.
    pub waits_for: Option<String>,
    /// Why it stands.
    pub trouble: Option<&'a str>,
    /// Its orders.
    pub orders: Vec<OrderFacts<'a>>,
}

/// A run as a value.
#[must_use]
pub fn run_facts<'a>(plan: &'a Plan, run: &'a Run, orders: &'a [Order]) -> RunFacts<'a> {
    RunFacts {
        plan: &plan.text.name,
        run: run.id.to_string(),
        drill: run.drill,
        state: run.state,
        by: &run.by,
        began_millis: run.began_millis,
        entries: &run.entries,
        waits_for: waits_for(plan, run),
        trouble: run.trouble.as_deref(),
        orders: orders.iter().map(order_facts).collect(),
    }
}

/// What a person is to do before a run goes on.
#[must_use]
pub fn waits_for(plan: &Plan, run: &Run) -> Option<String> {
    if run.state != RunState::Waits {
        return None;
    }
    let group = plan.text.groups.get(run.place.group)?;
    let actions = match run.place.part {
        crate::plan::Part::After => &group.after,
        _ => &group.before,
    };
    actions.get(run.place.action).map(crate::plan::Action::words)
}

/// The page of an order.
#[must_use]
pub fn order_page(order: &Order) -> String {
    let title = format!("{} of {}", capital(&order.kind.to_string()), order.server_name);
    page(&title, &order_part(order))
}

/// The page of a run.
#[must_use]
pub fn run_page(plan: &Plan, run: &Run, orders: &[Order]) -> String {
    let kind = if run.drill { "Drill" } else { "Failover" };
    let mut body =
        format!("<p>Run {} by {}, begun {}.</p>", run.id, escaped(&run.by), utc(run.began_millis));
    if let Some(trouble) = &run.trouble {
        body += &format!("<p class=\"bad\">{}</p>", escaped(trouble));
    }
    body += "<table><tr><th>what</th><th>begun</th><th>took</th><th></th></tr>";
    for entry in &run.entries {
        body += &format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"bad\">{}</td></tr>",
            escaped(&entry.what),
            utc(entry.began_millis),
            span(entry.took_millis),
            escaped(entry.failed.as_deref().unwrap_or_default())
        );
    }
    body += "</table>";
    for order in orders {
        body += &format!("<h2>{}</h2>{}", escaped(&order.server_name), order_part(order));
    }
    page(&format!("{kind} of plan {}", plan.text.name), &body)
}

fn order_part(order: &Order) -> String {
    let (class, words) = verdict(order);
    let mut body = format!("<p class=\"{class}\"><b>{}</b></p>", escaped(&words));
    if let Some(trouble) = &order.trouble {
        body += &format!("<p class=\"bad\">{}</p>", escaped(trouble));
    }
    body += "<table>";
    for (name, text) in facts(order) {
        // What is not known yet has no row.
        if !text.is_empty() {
            body += &format!("<tr><th>{name}</th><td>{}</td></tr>", escaped(&text));
        }
    }
    body += "</table><h3>Steps</h3><table><tr><th>step</th><th></th><th>begun</th><th>took</th><th>tries</th><th></th></tr>";
    for record in &order.steps {
        let (name, words) = (record.step.name().replace('_', " "), does(record.step));
        let begun = record.began_millis.map(utc).unwrap_or_default();
        let (took, tries) = match record.tries {
            0 => (String::new(), String::new()),
            tries => (span(record.took_millis), tries.to_string()),
        };
        body += &format!(
            "<tr><td>{name}</td><td>{words}</td><td>{begun}</td><td>{took}</td><td>{tries}</td><td>{}</td></tr>",
            stands(record.standing)
        );
    }
    body += "</table>";
    if !order.notes.is_empty() {
        body += "<h3>Diary</h3><ul>";
        for note in &order.notes {
            body += &format!("<li>{} {}</li>", utc(note.at_millis), escaped(&note.text));
        }
        body += "</ul>";
    }
    if let Some(picture) = order.evidence.screenshot.as_ref().filter(|uri| is_picture(uri)) {
        body += &format!(
            "<h3>Its screen, when it was last looked at</h3><p><img alt=\"screen\" src=\"{picture}\"></p>"
        );
    }
    if !order.evidence.console.is_empty() {
        let console = escaped(&order.evidence.console);
        body += &format!("<h3>The end of its console</h3><pre>{console}</pre>");
    }
    body
}

/// What an order came to, for who sees nothing else of it: whether the server runs, where, and what comes next.
fn verdict(order: &Order) -> (&'static str, String) {
    let (id, name, took) = (order.id, &order.server_name, span(order.rto_millis()));
    let up = |more: String| ("good", format!("The server came up in {took}{more}"));
    match (order.state, order.evidence.up) {
        (State::Drilled, Some(true)) if order.here.is_some() => {
            let host = order.here.as_ref().map_or("", |here| here.host.as_str());
            up(format!(" here, on {host}, from the point's export. Nothing that it wrote is left."))
        }
        (State::Drilled, Some(true)) => {
            up(". All that the drill made in Azure is taken away again.".to_owned())
        }
        (State::Open, Some(true)) if order.keeps => {
            up(format!(" and stays in Azure, where it costs, until: lifeboat cleanup --order {id}"))
        }
        (State::Up, Some(true)) => up(format!(
            " and runs in Azure. To keep it: lifeboat commit --server {name}. To take it back: lifeboat failover --server {name} --cancel"
        )),
        (State::Committed, Some(true)) => {
            up(" and runs in Azure: its failover is kept.".to_owned())
        }
        (State::Cancelled, Some(true)) => up(". It was taken away again.".to_owned()),
        (_, Some(true)) => up(".".to_owned()),
        (_, Some(false)) => {
            let words = "The server did not come up: it was started, and what was to say that it is up did not come.";
            ("bad", words.to_owned())
        }
        (State::Cancelled, None) if order.here.is_some() => {
            ("", "It ended before the server was up. Nothing of it is left.".to_owned())
        }
        (State::Cancelled, None) => (
            "",
            "It was taken back before the server was up. Nothing of it is left in Azure."
                .to_owned(),
        ),
        (State::Cancelling, None) => ("", "It is being taken back.".to_owned()),
        (_, None) => (
            "",
            "It is under way or was interrupted: whether the server comes up is not known yet."
                .to_owned(),
        ),
    }
}

/// What is known of an order, by names that say what they are.
fn facts(order: &Order) -> [(&'static str, String); 6] {
    let evidence = &order.evidence;
    let point = order.point.as_ref().map(|point| {
        let kept = match point.consistency.as_str() {
            "crash" => "crash-consistent: its disks at one instant, as after a power cut",
            "application" => "application-consistent: its applications had written all",
            other => other,
        };
        format!("{} ({kept}), {}", utc(point.time_millis), point.id)
    });
    let ordered = format!("by {}, {}, {}", order.ordered_by, utc(order.ordered_millis), order.id);
    [
        ("ordered", ordered),
        ("the server as it was", point.unwrap_or_default()),
        ("size of its machine", evidence.size.clone().unwrap_or_default()),
        ("its address there", evidence.address.clone().unwrap_or_default()),
        ("what said that it is up", evidence.signals.join("; ")),
        ("bytes in its disks", thousands(order.filled_bytes())),
    ]
}

/// What a step does, for who has never seen an order.
fn does(step: Step) -> &'static str {
    match step {
        Step::Stop => "the server's applications stop",
        Step::LastPoint => "all that it wrote until then is in the vault",
        Step::PowerDown => "it goes down, with proof that nothing was written after that",
        Step::Check => "what would be in the way is looked for before anything is made",
        Step::Group => "a resource group for all that the drill makes",
        Step::Disks => "empty disks in Azure",
        Step::Hydrate => "the point is written into them",
        Step::Network => "a network, an address and a card",
        Step::Fork => "the original is no longer the server, should it come back",
        Step::Machine => "a virtual machine is started from these disks",
        Step::Signal => "it says that it is up",
        Step::Evidence => "what its console and its screen show is kept",
        Step::Cleanup => "all that the drill made is taken away again",
    }
}

/// How a step stands.
fn stands(standing: Standing) -> &'static str {
    match standing {
        Standing::Waits => "not yet",
        Standing::Begun => "under way",
        Standing::Done => "done",
        Standing::Failed => "failed",
    }
}

/// A number as people read long ones; nothing for none.
fn thousands(number: u64) -> String {
    let digits = if number == 0 { String::new() } else { number.to_string() };
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// Whether a text is a picture and nothing that could leave its attribute.
fn is_picture(uri: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "+/=:;,".contains(letter);
    uri.starts_with("data:image/") && uri.chars().all(letter)
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <style>body{{font:14px/1.4 sans-serif;margin:2em auto;max-width:60em}}table{{border-collapse:collapse;margin:1em 0}}\
         td,th{{border:1px solid #999;padding:.2em .6em;text-align:left;vertical-align:top}}pre{{white-space:pre-wrap;border:1px solid #999;padding:.5em}}\
         .bad{{color:#a00}}.good{{color:#060}}img{{max-width:100%}}</style></head>\n<body><h1>{title}</h1>{body}</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            '\n' | '\t' => safe.push(letter),
            _ if letter.is_control() => safe.push('\u{FFFD}'),
            _ => safe.push(letter),
        }
    }
    safe
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", millis % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// An instant as people write it, by the Gregorian calendar of 400-year cycles that begin on the first of March.
fn utc(millis: u64) -> String {
    let seconds = millis / 1000;
    let shifted = seconds / 86_400 + 719_468;
    let (cycle, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + cycle * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{:02} UTC", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Kind;
    use crate::test_world::{Site, wanted};

    #[test]
    fn a_page_shows_what_was_said_and_nothing_of_it_is_run() {
        let site = Site::new();
        let mut order = site.process(1).order(7, &wanted(Kind::Drill)).expect("a drill");
        order.evidence.console = "<script>alert(1)</script> \u{1b}[2J login:".to_owned();
        order.server_name = "<b>".to_owned();
        order.trouble = Some("\"&'".to_owned());
        let page = order_page(&order);
        assert!(
            !page.contains("<script") && !page.contains("<b></h1>") && !page.contains('\u{1b}')
        );
        assert!(
            page.contains("&lt;script&gt;")
                && page.contains("login:")
                && page.contains("&quot;&amp;&#39;")
        );
        assert!(
            page.contains("src=\"data:image/png;base64,") && page.contains("The server came up")
        );
        order.evidence.screenshot = Some("data:image/png;base64,\"><script>".to_owned());
        assert!(!order_page(&order).contains("<img"));
        let facts = serde_json::to_value(order_facts(&order)).expect("JSON");
        assert_eq!((&facts["kind"], &facts["state"]), (&"drill".into(), &"drilled".into()));
    }

    #[test]
    fn a_page_says_whether_the_server_runs_where_it_is_and_what_comes_next() {
        let site = Site::new();
        let drill = site.process(1).order(7, &wanted(Kind::Drill)).expect("a drill");
        let page = order_page(&drill);
        for words in [
            "made in Azure is taken away again",
            "what said that it is up",
            "The end of its console",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let mut order = Site::new().process(1).order(7, &wanted(Kind::Failover)).expect("one");
        let says = |order: &Order| verdict(order).1;
        assert!(says(&order).contains("lifeboat commit --server"), "{}", says(&order));
        assert!(says(&order).contains("--cancel"), "{}", says(&order));
        order.evidence.up = Some(false);
        assert!(says(&order).contains("did not come up: it was started"), "{}", says(&order));
        (order.evidence.up, order.state) = (None, State::Open);
        order.evidence.signals.clear();
        assert!(
            says(&order).contains("not known yet") && !order_page(&order).contains("what said")
        );
        assert_eq!(
            (thousands(0), thousands(1_234_567)),
            (String::new(), "1\u{a0}234\u{a0}567".into())
        );
    }

    #[test]
    fn times_are_as_people_write_them() {
        assert_eq!(utc(1_767_225_600_000), "2026-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_000), "2000-02-28 23:59:59 UTC");
        assert_eq!(
            (span(4_500), span(125_000), span(7_260_000)),
            ("4.5 s".into(), "2 min 05 s".into(), "2 h 01 min".into())
        );
    }
}
