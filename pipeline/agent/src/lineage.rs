//! A copy of a server that was drilled or failed over, and the mark by which it knows that it is one.
//!
//! Hydration puts the mark onto the copy's disks. Whoever finds it stays silent: no appliance is dialled, nothing is said in
//! the original's name. Only a person makes a failed over copy a server of its own, by a new token.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Where the mark is.
pub const MARK: &str = "/var/lib/lifeboat/replica";
/// Where it goes when the copy is a server of its own.
const ADOPTED: &str = "adopted";
/// The mark is a few lines; what is longer is cut off.
const MARK_BYTES_MAX: usize = 4096;

/// What a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a mark that says anything else is of no kind that is known"
)]
pub enum Kind {
    /// Made to be tried and thrown away.
    Drill,
    /// It runs in the original's place.
    Failover,
    /// The mark does not say.
    Unknown,
}

/// What the mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What the copy is.
    pub kind: Kind,
    /// The order that made it.
    pub order: String,
    /// The point that it was made of.
    pub point: String,
}

impl Mark {
    /// The mark of this machine. One that cannot be read is one: in doubt a copy is silent.
    #[must_use]
    pub fn find(path: &Path) -> Option<Self> {
        match fs::read(path) {
            Ok(bytes) => Some(Self::parse(&String::from_utf8_lossy(
                bytes.get(..MARK_BYTES_MAX).unwrap_or(&bytes),
            ))),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                None
            }
            Err(_) => Some(Self::parse("")),
        }
    }

    /// Lines of TOML, `name = "value"`; what is not understood is passed over.
    fn parse(text: &str) -> Self {
        let mut mark = Self { kind: Kind::Unknown, order: String::new(), point: String::new() };
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.:~".contains(*letter);
            let value: String = value.chars().filter(plain).take(128).collect();
            match (name.trim(), value.as_str()) {
                ("kind", "drill") => mark.kind = Kind::Drill,
                ("kind", "failover") => mark.kind = Kind::Failover,
                ("order", _) => mark.order = value,
                ("point", _) => mark.point = value,
                _ => {}
            }
        }
        mark
    }

    /// Why nothing is said, and what to do.
    #[must_use]
    pub fn words(&self) -> String {
        let (what, then) = match self.kind {
            Kind::Drill => ("a drill", "it is thrown away when the drill is cleaned up"),
            Kind::Failover => {
                ("a failover", "to protect it as a server of its own: lifeboat-agent adopt TOKEN")
            }
            Kind::Unknown => {
                ("a drill or a failover", "its mark cannot be read: see /var/lib/lifeboat/replica")
            }
        };
        let order =
            if self.order.is_empty() { String::new() } else { format!(" (order {})", self.order) };
        format!("this machine is a copy, made by {what}{order}: nothing is sent; {then}")
    }

    /// Whether a copy may become a server of its own.
    ///
    /// Errors: why not, with what to do.
    pub fn may_be_adopted(&self) -> Result<(), String> {
        match self.kind {
            Kind::Failover => Ok(()),
            Kind::Drill => Err(
                "this machine is a drill's copy, which is never a server: it is thrown away when the drill is cleaned up"
                    .to_owned(),
            ),
            Kind::Unknown => Err(format!(
                "{MARK} does not say what this machine is a copy of; where you are sure that it runs in the original's place, write kind = \"failover\" into it"
            )),
        }
    }
}

/// The copy is a server of its own from now on: the mark is kept beside, and silences nobody.
///
/// Errors: in words.
pub fn adopted(path: &Path) -> Result<(), String> {
    fs::rename(path, path.with_extension(ADOPTED))
        .map_err(|error| format!("{}: {error}; nothing is sent while it is there", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_what_a_copy_is_and_anything_else_in_its_place_silences_too() {
        let mark = Mark::parse(
            "order = \"f-7\"\nkind = \"failover\"\npoint = \"66aa\"\ntime = 1800000000000\n",
        );
        assert_eq!(
            (mark.kind, mark.order.as_str(), mark.point.as_str()),
            (Kind::Failover, "f-7", "66aa")
        );
        assert!(mark.may_be_adopted().is_ok() && mark.words().contains("adopt TOKEN"));
        let drill = Mark::parse("kind='drill'");
        assert!(drill.kind == Kind::Drill && drill.may_be_adopted().is_err());
        for text in ["", "\0\u{1b}[2J", "kind = \"other\"", "kind", "====\n=\n"] {
            let mark = Mark::parse(text);
            assert_eq!(mark.kind, Kind::Unknown, "{text:?}");
            assert!(mark.may_be_adopted().is_err() && !mark.words().contains('\u{1b}'));
        }
    }

    #[test]
    fn where_no_mark_is_nobody_is_silent_and_what_cannot_be_read_is_one() {
        let folder = std::env::temp_dir().join(format!("lineage-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("replica");
        assert_eq!(Mark::find(&path), None);
        fs::create_dir(&path).unwrap();
        assert_eq!(Mark::find(&path).unwrap().kind, Kind::Unknown, "a folder");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "kind = \"failover\"\norder = \"f-1\"\n").unwrap();
        assert_eq!(Mark::find(&path).unwrap().order, "f-1");
        adopted(&path).unwrap();
        assert_eq!(Mark::find(&path), None);
        assert!(folder.join("replica.adopted").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
