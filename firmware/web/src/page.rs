//! The page for people: one table of plain words.

use core::fmt::Write as _;

use crate::status::{Status, VaultState};

/// Colours of both kinds have a contrast of at least 7 to 1.
pub(crate) const STYLE: &str = ":root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
table{border-collapse:collapse;width:100%}\
caption{text-align:left;font-weight:600;padding:.5rem 0}\
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #767676}\
th{font-weight:600;white-space:nowrap}\
td{overflow-wrap:anywhere}\
.trouble{font-weight:600;border-left:.4rem solid #b00020;padding-left:.8rem}\
@media (prefers-color-scheme:dark){body{color:#f0f0f0;background:#161616}}";

/// The page.
pub(crate) fn render(status: &Status) -> String {
    let name = escape(&status.name);
    let title = if name.is_empty() { "Lifeboat".to_owned() } else { format!("{name} - Lifeboat") };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <title>{title}</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n<main>\n\
        <h1>{title}</h1>\n"
    );
    if let Some(trouble) = status.trouble() {
        let _ = writeln!(page, "<p class=\"trouble\" role=\"status\">{}</p>", escape(trouble));
    }
    page.push_str("<table>\n<caption>How this machine fares</caption>\n<tbody>\n");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(page, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(value));
    };
    row("Status", &status.status);
    row("Role", &status.role);
    row("Version", &status.version);
    row("Up for", &span(status.uptime_seconds));
    row("Vault", &vault(status));
    if let Some(job) = &status.job {
        row("At work", &percent(job.done_bytes, job.total_bytes));
    }
    row("Certificate (SHA-256)", &status.certificate_sha256);
    page.push_str(
        "</tbody>\n</table>\n<p>The console of the machine shows the same fingerprint. \
        For scripts: <a href=\"/status.json\">status.json</a>, <a href=\"/health\">health</a>.</p>\n\
        </main>\n</body>\n</html>\n",
    );
    page
}

fn vault(status: &Status) -> String {
    let vault = &status.vault;
    match vault.state {
        VaultState::None => "none is named yet".to_owned(),
        VaultState::Unknown => "not looked at yet".to_owned(),
        VaultState::Trouble => "cannot be read: the console says why".to_owned(),
        VaultState::Readable => {
            let newest = vault
                .newest_age_seconds
                .map_or_else(String::new, |age| format!(", the newest {} old", span(age)));
            format!("{} servers, {} recovery points{newest}", vault.servers, vault.points)
        }
    }
}

fn percent(done: u64, total: u64) -> String {
    match done.saturating_mul(100).checked_div(total) {
        Some(percent) => format!("{} %", percent.min(100)),
        None => "begun".to_owned(),
    }
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{seconds} s"),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Text as HTML shows it, in elements and attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Job, Vault};

    #[test]
    fn no_text_becomes_markup() {
        let evil = "<script>alert('x')</script>\"&\u{1b}";
        let status = Status {
            name: evil.into(),
            version: evil.into(),
            role: evil.into(),
            status: evil.into(),
            certificate_sha256: evil.into(),
            ..Status::default()
        };
        let page = render(&status);
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 6, "the name stands twice");
    }

    #[test]
    fn the_vault_and_the_work_are_told_in_words() {
        let mut status = Status::default();
        assert!(render(&status).contains("none is named yet"));
        status.vault = Vault {
            state: VaultState::Readable,
            servers: 2,
            points: 7,
            newest_age_seconds: Some(3_700),
            looked_age_seconds: Some(1),
        };
        status.job = Some(Job { done_bytes: 1, total_bytes: 4 });
        let page = render(&status);
        assert!(page.contains("2 servers, 7 recovery points, the newest 1 h 1 min old"), "{page}");
        assert!(page.contains("25 %"));
        assert_eq!(percent(5, 0), "begun");
        assert_eq!(percent(9, 3), "100 %");
        assert_eq!((span(59).as_str(), span(90_000).as_str()), ("59 s", "1 d 1 h"));
    }
}
