//! The page for people: one document and what it loads, as they lie in `firmware/web/page/`, and a table of plain words for
//! whoever lets no script run.

use core::fmt::Write as _;
use std::sync::OnceLock;

use miniz_oxide::deflate::compress_to_vec_zlib;

use crate::status::{Status, VaultState};

/// How hard files are packed, once: the most.
const LEVEL: u8 = 10;

/// Something that the page loads.
pub(crate) struct Asset {
    /// Its kind of content.
    pub(crate) kind: &'static str,
    /// As it lies in its file.
    pub(crate) text: &'static str,
    /// The same, packed.
    pub(crate) packed: Vec<u8>,
}

macro_rules! script {
    ($name:literal) => {
        ($name, "text/javascript; charset=utf-8", include_str!(concat!("../page/", $name)))
    };
}

const DOCUMENT: &str = include_str!("../page/index.html");

/// Every file but the document: its name behind the slash, its kind of content, its text.
const FILES: [(&str, &str, &str); 24] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../page/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
    script!("access.js"),
    script!("add.js"),
    script!("alerts.js"),
    script!("api.js"),
    script!("app.js"),
    script!("appliance.js"),
    script!("chart.js"),
    script!("dom.js"),
    script!("events.js"),
    script!("files.js"),
    script!("form.js"),
    script!("jobs.js"),
    script!("live.js"),
    script!("login.js"),
    script!("order.js"),
    script!("overview.js"),
    script!("recovery.js"),
    script!("server.js"),
    script!("setup.js"),
    script!("timeline.js"),
    script!("vault.js"),
    script!("words.js"),
];

/// What the page loads from this path.
pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    static ASSETS: OnceLock<Vec<Asset>> = OnceLock::new();
    let name = path.strip_prefix('/')?;
    let place = FILES.iter().position(|(known, _, _)| *known == name)?;
    let pack = |&(_, kind, text): &(_, _, &'static str)| Asset {
        kind,
        text,
        packed: compress_to_vec_zlib(text.as_bytes(), LEVEL),
    };
    ASSETS.get_or_init(|| FILES.iter().map(pack).collect()).get(place)
}

/// The document. What a script would show stands in it for those that run none, as far as everybody may know it.
pub(crate) fn render(status: &Status) -> String {
    // Modules are asked for at once, not one after the other as each names the next.
    let scripts = FILES.iter().filter(|(name, _, _)| name.ends_with(".js"));
    let modules = scripts.fold(String::new(), |mut links, (name, _, _)| {
        let _ = writeln!(links, "<link rel=\"modulepreload\" href=\"/{name}\">");
        links
    });
    DOCUMENT.replace("<!--modules-->\n", &modules).replace("<!--facts-->\n", &facts(status))
}

/// How the machine fares, as a table.
fn facts(status: &Status) -> String {
    let name = escape(&status.name);
    let title = if name.is_empty() { "Lifeboat".to_owned() } else { format!("{name} - Lifeboat") };
    let mut page = format!("<h1>{title}</h1>\n");
    page.push_str(
        "<p>This page needs JavaScript, and only its own: nothing is loaded from elsewhere.</p>\n",
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
        For scripts: <a href=\"/status.json\">status.json</a>, <a href=\"/health\">health</a>.</p>\n",
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

    /// All files together, as they lie there.
    const BYTES_MAX: usize = 150 * 1024;
    /// And as they are sent.
    const PACKED_BYTES_MAX: usize = 75 * 1024;

    #[test]
    fn all_of_it_is_small() {
        let all = FILES.iter().filter_map(|(name, _, _)| asset(&format!("/{name}")));
        let (packed, plain) = all.fold((DOCUMENT.len(), DOCUMENT.len()), |(packed, plain), it| {
            (packed + it.packed.len(), plain + it.text.len())
        });
        println!("{packed} bytes as they are sent, {plain} unpacked");
        assert!(plain <= BYTES_MAX, "{plain} bytes, more than {BYTES_MAX}");
        assert!(packed <= PACKED_BYTES_MAX, "{packed} bytes packed, more than {PACKED_BYTES_MAX}");
    }

    #[test]
    fn whatever_a_module_names_is_there() {
        for (name, _, text) in FILES {
            for part in text.split("from \"./").skip(1) {
                let named = part.split('"').next().unwrap();
                assert!(asset(&format!("/{named}")).is_some(), "{name} names {named}");
            }
        }
        for part in render(&Status::default()).split("href=\"/").skip(1) {
            let named = part.split('"').next().unwrap();
            let known = ["status.json", "health"].contains(&named);
            assert!(known || asset(&format!("/{named}")).is_some(), "the document names {named}");
        }
        for strange in
            ["", "/", "style.css", "//style.css", "/../style.css", "/style.css/", "/index.html"]
        {
            assert!(asset(strange).is_none(), "{strange:?}");
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_makes_markup_of_text() {
        let document = render(&Status::default());
        for inline in ["<style", " style=", " onclick", " onload", "javascript:"] {
            assert!(!document.contains(inline), "{inline}");
        }
        assert_eq!(document.matches("<script").count(), 1);
        for (name, _, text) in FILES {
            // The names of SVG's own words are no addresses.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for maker in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "http://",
                "https://x",
            ] {
                assert!(!text.contains(maker), "{name} holds {maker}");
            }
        }
    }

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
        assert!(!page.contains("<script>") && !page.contains('\u{1b}'), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 5, "as many as there are texts");
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
