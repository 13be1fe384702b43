//! Debian's own `apt-get`, with a list of sources, a state and a cache of its own: it needs no root and changes nothing
//! of the machine. It checks the signatures of the mirrors' lists; what it downloads is checked against them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Blame, Error};
use crate::files;
use crate::recipe::{Locked, Source};

/// Keys that Debian signs its lists with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a mirror says of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What to ask for and what must come.
    pub package: Locked,
    /// What it depends on, as written.
    pub depends: String,
}

/// Debian's mirrors, asked through apt.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Reads the mirrors' lists into a folder.
    pub fn update(folder: &Path, sources: &[Source]) -> Result<Self, Error> {
        let folder = std::path::absolute(folder).map_err(|error| Error::file(folder, &error))?;
        for inner in ["lists/partial", "cache/archives/partial", "debs"] {
            files::make_folder(&folder.join(inner))?;
        }
        let mut list = String::new();
        for source in sources {
            for suite in &source.suites {
                list.push_str(&format!(
                    "deb [arch=amd64 signed-by={KEYRING}] {} {suite} {}\n",
                    source.uri,
                    source.components.join(" ")
                ));
            }
        }
        files::write(&folder.join("sources.list"), list.as_bytes())?;
        files::write(&folder.join("status"), b"")?;
        let apt = Self { folder };
        apt.run("apt-get", &["-qq", "-o", "APT::Update::Error-Mode=any", "update"], &apt.folder)?;
        Ok(apt)
    }

    /// Every version of a package that the mirrors have, the one that apt prefers first.
    pub fn offers(&self, name: &str) -> Result<Vec<Offer>, Error> {
        let preferred =
            self.run("apt-cache", &["--no-all-versions", "show", name], &self.folder)?;
        let all = self.run("apt-cache", &["--all-versions", "show", name], &self.folder)?;
        let mut offers = read_offers(&preferred);
        for offer in read_offers(&all) {
            if !offers.contains(&offer) {
                offers.push(offer);
            }
        }
        Ok(offers)
    }

    /// Downloads a package; the path of its file.
    pub fn download(&self, package: &Locked) -> Result<PathBuf, Error> {
        let folder = self.folder.join("debs").join(&package.sha256);
        files::make_folder(&folder)?;
        let what = format!("{}={}", package.name, package.version);
        self.run("apt-get", &["-qq", "download", &what], &folder)?;
        let entries = std::fs::read_dir(&folder).map_err(|error| Error::file(&folder, &error))?;
        let deb = entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "deb"));
        deb.ok_or_else(|| {
            Error::new(
                Blame::Refused,
                what,
                "apt-get download left no file",
                "try again, or use another mirror in the recipe",
            )
        })
    }

    fn run(&self, program: &str, arguments: &[&str], folder: &Path) -> Result<String, Error> {
        let option = |key: &str, value: &str| ["-o".to_owned(), format!("{key}={value}")];
        let inner = |name: &str| self.folder.join(name).display().to_string();
        let options = [
            option("Dir::Etc::sourcelist", &inner("sources.list")),
            option("Dir::Etc::sourceparts", "/dev/null"),
            option("Dir::Etc::preferences", "/dev/null"),
            option("Dir::Etc::preferencesparts", "/dev/null"),
            option("Dir::State", &inner("")),
            option("Dir::State::lists", &inner("lists")),
            option("Dir::State::status", &inner("status")),
            option("Dir::Cache", &inner("cache")),
            option("Dir::Cache::archives", &inner("cache/archives")),
            option("APT::Architecture", "amd64"),
            option("APT::Architectures::", "amd64"),
            // Root's apt would otherwise download as another user, who may not write here.
            option("APT::Sandbox::User", ""),
            option("Acquire::Languages", "none"),
            option("Acquire::Retries", "3"),
            option("Acquire::http::Timeout", "60"),
        ];
        let output = Command::new(program)
            .args(options.iter().flatten())
            .args(arguments)
            .current_dir(folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                Error::new(
                    Blame::Machine,
                    program,
                    error.to_string(),
                    "build the image on Debian or Ubuntu, where it is part of the package apt",
                )
            })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
        Err(Error::new(
            Blame::Refused,
            format!("{program} {}", arguments.join(" ")),
            words.join(" "),
            "check the network and the mirrors in the recipe",
        ))
    }
}

/// Reads what `apt-cache show` prints: paragraphs of `Key: value`.
fn read_offers(text: &str) -> Vec<Offer> {
    let mut offers = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |key: &str| {
            let values = paragraph.lines().filter_map(|line| line.strip_prefix(key));
            values
                .filter_map(|value| value.strip_prefix(": "))
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let package = Locked {
            name: field("Package"),
            version: field("Version"),
            sha256: field("SHA256"),
            path: field("Filename"),
        };
        if !package.name.is_empty() && package.sha256.len() == 64 {
            offers.push(Offer { package, depends: field("Depends") });
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_become_offers() {
        let sum = "a".repeat(64);
        let text = format!(
            "Package: x\nVersion: 2-1\nDepends: y (= 2), z\nDescription: long\n more: words\nFilename: pool/x.deb\n\
             SHA256: {sum}\n\nPackage: broken\nVersion: 1\n\n"
        );
        let offers = read_offers(&text);
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].depends, "y (= 2), z");
        let package = &offers[0].package;
        assert_eq!((package.version.as_str(), package.path.as_str()), ("2-1", "pool/x.deb"));
        assert_eq!(read_offers("nothing\n\n: \nPackage"), []);
    }
}
