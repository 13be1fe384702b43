//! What is bought in: every crate's licence and source, and a record of each that is named here, held against its own source.
//!
//! `.deny.toml` has the licences that are allowed, `.supply-chain/vetted.toml` the record. What is counted in a crate's source is
//! counted again here, so a version that reaches for more than the last one is noticed before anybody reads it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lexer::code_of;

/// Where all crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate that is named by one of ours, as it is locked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bought {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) checksum: String,
    pub(crate) seen: Seen,
}

/// What is in a crate's source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How often it says that it knows better than the compiler.
    pub(crate) unchecked: u64,
    pub(crate) build_script: bool,
    pub(crate) proc_macro: bool,
    /// Sockets, files and processes.
    pub(crate) reaches: Vec<String>,
}

/// Words of Rust's library that mean a socket, a file or a process.
const REACHES: [(&str, &[&str]); 3] = [
    ("network", &["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixDatagram"]),
    ("files", &["File", "OpenOptions", "read_dir", "read_to_string"]),
    ("processes", &["Command"]),
];

/// Counts in one file.
pub(crate) fn look(text: &str, seen: &mut Seen) {
    let code = code_of(text);
    let mut words = code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    for (word, reach) in
        REACHES.iter().flat_map(|(reach, words)| words.iter().map(move |word| (word, reach)))
    {
        if !seen.reaches.iter().any(|known| known == reach)
            && words.clone().any(|found| found == *word)
        {
            seen.reaches.push((*reach).to_owned());
        }
    }
    let _ = words.next();
    for (at, word) in code.match_indices("unsafe") {
        let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
        let rest = code[at + word.len()..].trim_start();
        let opens = ["{", "fn ", "impl ", "impl<", "extern ", "trait "];
        let alone = !code[..at].ends_with(joins) && !code[at + word.len()..].starts_with(joins);
        seen.unchecked += u64::from(alone && opens.iter().any(|open| rest.starts_with(open)));
    }
}

fn look_into(folder: &Path, seen: &mut Seen) {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                look(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()), seen);
            }
        }
    }
    seen.reaches.sort();
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What our packages name themselves, by what `cargo metadata` says; each looked into.
pub(crate) fn bought(metadata: &Value, lock: &toml::Table) -> Vec<Bought> {
    let ours: BTreeSet<&str> =
        list(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
    let nodes = list(&metadata["resolve"]["nodes"]).filter(|node| ours.contains(text(node, "id")));
    let named: BTreeSet<&str> = nodes
        .flat_map(|node| list(&node["deps"]))
        .map(|edge| text(edge, "pkg"))
        .filter(|id| !ours.contains(id))
        .collect();
    let packages =
        list(&metadata["packages"]).filter(|package| named.contains(text(package, "id")));
    packages
        .map(|package| {
            let kinds: Vec<&str> = list(&package["targets"])
                .flat_map(|target| list(&target["kind"]))
                .filter_map(Value::as_str)
                .collect();
            let mut seen = Seen {
                build_script: kinds.contains(&"custom-build"),
                proc_macro: kinds.contains(&"proc-macro"),
                ..Seen::default()
            };
            let folder = Path::new(text(package, "manifest_path")).with_file_name("src");
            look_into(&folder, &mut seen);
            let (name, version) =
                (text(package, "name").to_owned(), text(package, "version").to_owned());
            let checksum = checksum(lock, &name, &version);
            Bought { name, version, checksum, seen }
        })
        .collect()
}

fn checksum(lock: &toml::Table, name: &str, version: &str) -> String {
    let is = |package: &&toml::Value, field: &str, value: &str| {
        package.get(field).and_then(toml::Value::as_str) == Some(value)
    };
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let mut found =
        packages.filter(|package| is(package, "name", name) && is(package, "version", version));
    let checksum =
        found.next().and_then(|package| package.get("checksum")).and_then(toml::Value::as_str);
    checksum.unwrap_or_default().to_owned()
}

/// Every crate of the list has its row, which says what is so, and no row is left over.
pub(crate) fn vetted(bought: &[Bought], record: &toml::Table) -> Vec<String> {
    const RECORD: &str = ".supply-chain/vetted.toml";
    let mut complaints = Vec::new();
    let rows: Vec<&toml::Value> =
        record.get("crate").and_then(toml::Value::as_array).into_iter().flatten().collect();
    let word = |row: &toml::Value, field: &str| {
        row.get(field).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    for part in bought {
        let row = rows
            .iter()
            .find(|row| word(row, "name") == part.name && word(row, "version") == part.version);
        let Some(row) = row else {
            complaints.push(format!(
                "{RECORD}: no row for {} {}: look at it, and write what you saw",
                part.name, part.version
            ));
            continue;
        };
        let flag = |field: &str| row.get(field).and_then(toml::Value::as_bool);
        let reaches = row.get("reaches").and_then(toml::Value::as_array).into_iter().flatten();
        let told = Seen {
            unchecked: row
                .get("unsafe")
                .and_then(toml::Value::as_integer)
                .map_or(u64::MAX, i64::unsigned_abs),
            build_script: flag("build-script") == Some(true),
            proc_macro: flag("proc-macro") == Some(true),
            reaches: reaches.filter_map(toml::Value::as_str).map(str::to_owned).collect(),
        };
        if told != part.seen {
            complaints
                .push(format!("{RECORD}: {} {} has {:?}", part.name, part.version, part.seen));
        }
        if word(row, "checksum") != part.checksum || part.checksum.len() != 64 {
            complaints.push(format!(
                "{RECORD}: {} {} is locked as {}",
                part.name, part.version, part.checksum
            ));
        }
        if word(row, "by").len() < 3 || word(row, "looked").len() < 20 {
            complaints.push(format!(
                "{RECORD}: {} does not say who made it and what was looked at",
                part.name
            ));
        }
    }
    for row in &rows {
        let is_used = bought
            .iter()
            .any(|part| part.name == word(row, "name") && part.version == word(row, "version"));
        if !is_used {
            complaints.push(format!(
                "{RECORD}: {} {} is used nowhere",
                word(row, "name"),
                word(row, "version")
            ));
        }
    }
    complaints
}

/// Every locked crate comes from the registry, under a licence that `.deny.toml` allows.
pub(crate) fn allowed(metadata: &Value, rules: &toml::Table) -> Vec<String> {
    let words = |value: Option<&toml::Value>| -> Vec<String> {
        let list = value.and_then(toml::Value::as_array).into_iter().flatten();
        list.filter_map(toml::Value::as_str).map(str::to_owned).collect()
    };
    let licenses = rules.get("licenses");
    let everywhere = words(licenses.and_then(|rules| rules.get("allow")));
    let exceptions =
        licenses.and_then(|rules| rules.get("exceptions")).and_then(toml::Value::as_array);
    let mut complaints = Vec::new();
    for package in list(&metadata["packages"]).filter(|package| !package["source"].is_null()) {
        let name = text(package, "name");
        if text(package, "source") != REGISTRY {
            complaints.push(format!("{name}: comes from {}", text(package, "source")));
        }
        let mut fine = everywhere.clone();
        for exception in exceptions.into_iter().flatten() {
            if exception.get("crate").and_then(toml::Value::as_str) == Some(name) {
                fine.extend(words(exception.get("allow")));
            }
        }
        let license = text(package, "license");
        if !is_licensed(license, &fine) {
            complaints.push(format!("{name}: its licence, «{license}», is not one of .deny.toml"));
        }
    }
    complaints
}

/// Whether an expression of SPDX can be kept with these licences. `/` is how older crates write OR.
fn is_licensed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = either(&words, allowed);
    met && rest.is_empty()
}

fn either<'a, 'b>(words: &'b [&'a str], allowed: &[String]) -> (bool, &'b [&'a str]) {
    let (mut met, mut rest) = both(words, allowed);
    while let [first, more @ ..] = rest
        && *first == "OR"
    {
        let (other, left) = both(more, allowed);
        (met, rest) = (met | other, left);
    }
    (met, rest)
}

fn both<'a, 'b>(words: &'b [&'a str], allowed: &[String]) -> (bool, &'b [&'a str]) {
    let (mut met, mut rest) = one(words, allowed);
    while let [first, more @ ..] = rest
        && *first == "AND"
    {
        let (other, left) = one(more, allowed);
        (met, rest) = (met & other, left);
    }
    (met, rest)
}

fn one<'a, 'b>(words: &'b [&'a str], allowed: &[String]) -> (bool, &'b [&'a str]) {
    match words {
        ["(", more @ ..] => match either(more, allowed) {
            (met, [")", left @ ..]) => (met, left),
            (_, left) => (false, left),
        },
        [name, with, exception, left @ ..] if *with == "WITH" => {
            let whole = format!("{name} WITH {exception}");
            (allowed.contains(&whole), left)
        }
        [name, left @ ..] => (allowed.iter().any(|known| known == name), left),
        // Something was to follow: what is left over is refused.
        [] => (false, &[""]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_weighed_as_they_are_written() {
        let allowed =
            ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for fine in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/GPL-2.0",
            "(MIT OR X) AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_licensed(fine, &allowed), "{fine}");
        }
        for refused in [
            "GPL-3.0",
            "",
            "MIT AND X",
            "(MIT OR X) AND Y",
            "MIT OR",
            "(MIT",
            "MIT WITH X",
            "MIT MIT",
        ] {
            assert!(!is_licensed(refused, &allowed), "{refused}");
        }
    }

    #[test]
    fn what_a_source_reaches_for_is_seen_in_its_code_only() {
        let mut seen = Seen::default();
        let word = ["un", "safe"].concat();
        let text =
            format!("// {word} {{ }} TcpStream\n#![forbid({word}_code)]\nlet x = \"{word} {{\";");
        look(&text, &mut seen);
        assert_eq!(seen, Seen::default());
        look(
            &format!(
                "{word} fn f() {{ {word} {{ std::fs::File::open(x) }} }}\nuse std::net::UdpSocket;"
            ),
            &mut seen,
        );
        assert_eq!(seen.unchecked, 2);
        assert_eq!(seen.reaches, ["network", "files"]);
    }

    #[test]
    fn a_crate_without_row_and_a_row_that_is_wrong_or_left_over_are_noticed() {
        let row = |name: &str, version: &str, more: &str| {
            format!(
                "[[crate]]\nname = \"{name}\"\nversion = \"{version}\"\nby = \"someone\"\nchecksum = \"{}\"\n\
                looked = \"the whole of its source\"\nunsafe = 3\nreaches = [\"files\"]\n{more}",
                "a".repeat(64)
            )
        };
        let seen = Seen { unchecked: 3, reaches: vec!["files".to_owned()], ..Seen::default() };
        let part = Bought {
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            checksum: "a".repeat(64),
            seen,
        };
        let told = |text: String| vetted(core::slice::from_ref(&part), &text.parse().unwrap());
        assert_eq!(told(row("x", "1.0.0", "")), [""; 0]);
        assert_eq!(
            told(row("x", "1.0.1", "")).len(),
            2,
            "another version, and so one without a row"
        );
        assert_eq!(told(row("x", "1.0.0", "build-script = true\n")).len(), 1);
        assert_eq!(told(row("x", "1.0.0", "").replace("= 3", "= 2")).len(), 1);
        assert_eq!(told(row("x", "1.0.0", "").replace("the whole of its source", "")).len(), 1);
        assert_eq!(told(row("x", "1.0.0", "").replace("aaaa", "bbbb")).len(), 1);
        assert_eq!(told(row("x", "1.0.0", "") + &row("y", "1.0.0", "")).len(), 1);
    }

    #[test]
    fn a_crate_from_elsewhere_or_under_another_licence_is_noticed() {
        let rules =
            "[licenses]\nallow = [\"MIT\"]\nexceptions = [{ crate = \"z\", allow = [\"NCSA\"] }]"
                .parse()
                .unwrap();
        let package = |name: &str, source: &str, license: &str| serde_json::json!({ "packages": [{ "name": name, "source": source, "license": license }] });
        assert_eq!(allowed(&package("x", REGISTRY, "MIT"), &rules), [""; 0]);
        assert_eq!(allowed(&package("z", REGISTRY, "MIT AND NCSA"), &rules), [""; 0]);
        assert_eq!(allowed(&package("x", REGISTRY, "NCSA"), &rules).len(), 1);
        assert_eq!(allowed(&package("x", "git+https://x", "MIT"), &rules).len(), 1);
    }
}
