//! A disk as the command line names it: `PATH` or `NAME=PATH`.

use core::fmt;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pipeline_vault::Error;

/// A disk's label and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskArgument {
    /// What points, `--changed` and `restore --disk` call it.
    pub name: String,
    /// A block device or an image file.
    pub path: PathBuf,
}

/// Longest name of a disk or server, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Reads `PATH` or `NAME=PATH`. What stands before the first `=` is a name only if no slash is in it,
/// so that a path with `=` in it can always be written `./a=b`.
pub fn parse(text: &OsStr) -> Result<DiskArgument, String> {
    let bytes = text.as_bytes();
    let split = bytes.iter().position(|&byte| byte == b'=' || byte == b'/');
    let (name, path) = match split {
        Some(at) if bytes[at] == b'=' => (&bytes[..at], &bytes[at + 1..]),
        _ => {
            let path = Path::new(text);
            (path.file_name().map_or(&b""[..], |name| name.as_bytes()), bytes)
        }
    };
    if path.is_empty() {
        return Err("the path of the disk is empty: give PATH or NAME=PATH".to_owned());
    }
    let name = core::str::from_utf8(name)
        .map_err(|_| "the file name is no UTF-8: give the disk a name, NAME=PATH".to_owned())?;
    check_name(name).map_err(|problem| format!("{problem}: give the disk a name, NAME=PATH"))?;
    Ok(DiskArgument { name: name.to_owned(), path: PathBuf::from(OsStr::from_bytes(path)) })
}

/// Whether `name` can label a disk or a server: one word, so that lists and `--changed` files stay readable.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("the name is longer than {NAME_BYTES_MAX} bytes"));
    }
    if name.chars().any(|letter| letter.is_whitespace() || letter.is_control() || turns(letter)) {
        return Err(format!(
            "the name «{}» holds a space or control character",
            name.escape_debug()
        ));
    }
    if name.contains(['/', '=']) {
        return Err(format!("the name «{name}» holds a / or ="));
    }
    Ok(())
}

/// Whether a letter is seen only by how it turns the text around it: with it one name is shown as another.
fn turns(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

/// Refuses two disks of the same name, or the same path twice.
pub fn refuse_duplicates(disks: &[DiskArgument]) -> Result<(), Error> {
    for (place, disk) in disks.iter().enumerate() {
        for earlier in &disks[..place] {
            if earlier.name == disk.name {
                let what = format!("names both {} and {}", show(&earlier.path), show(&disk.path));
                return Err(Error::misuse(format!("disk {}", disk.name), what)
                    .remedy("give each its own name: NAME=PATH"));
            }
            if earlier.path == disk.path {
                return Err(Error::misuse(show(&disk.path).to_string(), "is given twice")
                    .remedy("name each disk once"));
            }
        }
    }
    Ok(())
}

fn show(path: &Path) -> impl fmt::Display + '_ {
    path.display()
}

/// The parser in the shape that clap asks for.
#[derive(Clone)]
pub struct Parser;

impl clap::builder::TypedValueParser for Parser {
    type Value = DiskArgument;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<DiskArgument, clap::Error> {
        let shown = value.to_string_lossy();
        parse(value).map_err(|problem| {
            let name = argument.map_or_else(|| "DISK".to_owned(), ToString::to_string);
            clap::Error::raw(
                clap::error::ErrorKind::ValueValidation,
                format!("{name} «{}»: {problem}\n", shown.escape_debug()),
            )
            .with_cmd(command)
        })
    }

    fn parse(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: OsString,
    ) -> Result<DiskArgument, clap::Error> {
        self.parse_ref(command, argument, &value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String) {
        let disk = parse(OsStr::new(text)).unwrap();
        (disk.name, disk.path.to_string_lossy().into_owned())
    }

    fn pair(name: &str, path: &str) -> (String, String) {
        (name.to_owned(), path.to_owned())
    }

    #[test]
    fn the_default_name_is_the_file_name() {
        assert_eq!(read("/dev/sda"), pair("sda", "/dev/sda"));
        assert_eq!(read("root.img"), pair("root.img", "root.img"));
    }

    #[test]
    fn a_given_name_wins() {
        assert_eq!(read("root=/dev/sda"), pair("root", "/dev/sda"));
        assert_eq!(read("root=a=b.img"), pair("root", "a=b.img"));
    }

    #[test]
    fn an_equals_sign_behind_a_slash_belongs_to_the_path() {
        assert!(parse(OsStr::new("./a=b.img")).is_err(), "its file name cannot be a name");
        assert_eq!(read("x=./a=b.img"), pair("x", "./a=b.img"));
        assert_eq!(read("/mnt/a=b/c.img"), pair("c.img", "/mnt/a=b/c.img"));
    }

    #[test]
    fn names_that_lists_could_not_show_are_refused() {
        for text in
            ["", "root=", "=/dev/sda", "a b.img", "a\tb=/dev/sda", "/", "..", "/mnt/a b.img"]
        {
            assert!(parse(OsStr::new(text)).is_err(), "{text}");
        }
        assert!(parse(OsStr::from_bytes(b"/mnt/\xFF.img")).unwrap_err().contains("NAME=PATH"));
        assert!(parse(OsStr::new(&format!("{}=x", "n".repeat(129)))).is_err());
    }

    #[test]
    fn duplicates_are_refused_by_name_and_by_path() {
        let disks = |texts: &[&str]| -> Vec<DiskArgument> {
            texts.iter().map(|text| parse(OsStr::new(text)).unwrap()).collect()
        };
        assert!(refuse_duplicates(&disks(&["a=/x", "b=/y"])).is_ok());
        let error = refuse_duplicates(&disks(&["/x/a", "/y/a"])).unwrap_err();
        assert!(error.to_string().contains("/x/a and /y/a"), "{error}");
        assert!(refuse_duplicates(&disks(&["a=/x", "b=/x"])).is_err());
    }
}
