//! The network out of a configuration file: the table `[network]` of `lifeboat.toml`, beside which others may stand.

use std::path::Path;

use hal::net::config::{Checked, Network};
use pipeline_vault::Error;
use serde::Deserialize;

/// A configuration file is written by hand; one that is longer is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    network: Network,
}

/// Reads the network out of a text; `name` is what a complaint calls it.
pub fn parse(name: &str, text: &str) -> Result<Checked, Error> {
    let page: Page = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Error::misuse(name, format!("{place}{}", error.message().trim()))
            .remedy("mend that line; lifeboat net keep --help shows an example")
    })?;
    page.network.check().map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::misuse(name, told.join("; "))
            .remedy("mend it; lifeboat net keep --help shows an example")
    })
}

/// Reads the network out of a file.
pub fn read(path: &Path) -> Result<Checked, Error> {
    let name = path.display().to_string();
    let unreadable =
        |error: std::io::Error| Error::misuse(&name, format!("cannot be read: {error}"));
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    if facts.len() > FILE_BYTES_MAX {
        return Err(Error::misuse(&name, "is larger than a configuration file can be"));
    }
    parse(&name, &std::fs::read_to_string(path).map_err(unreadable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_read_beside_other_tables() {
        let text =
            "role = \"appliance\"\n[vault]\nplace = \"dir:/x\"\n[network]\ndns = [\"10.0.0.1\"]\n";
        assert_eq!(parse("x", text).unwrap().dns.len(), 1);
        assert!(parse("x", "").unwrap().links.is_empty());
    }

    #[test]
    fn complaints_name_file_line_and_remedy() {
        let error = parse("a.toml", "[network]\ndns = [\n\"nonsense\"]\n").unwrap_err().to_string();
        assert!(error.starts_with("a.toml: line ") && error.contains("mend"), "{error}");
        let error = parse("a.toml", "[[network.link]]\nname = \"a\"\n").unwrap_err().to_string();
        assert!(error.contains("link «a»: says not what it is"), "{error}");
    }
}
