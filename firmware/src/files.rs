//! Which files a server has otherwise at one point than at another: by path, size, time of the last change, and content.
//!
//! Two trees are walked side by side, folder by folder in the order of names, and what differs is handed over as it is found. Links
//! are compared as links and never followed. It refuses to open anything itself.

use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::sync::Arc;

use firmware_recovery::guest::tree::{Kind, Tree, join};
use firmware_recovery::guest::view::View;

/// What the vault's own maps say of files.
pub mod blocks;

/// Folders in folders, before a tree is taken for damaged.
const DEPTH_MAX: usize = 256;
/// Bytes of both files that are read at once.
const PART_BYTES: usize = 256 * 1024;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else that can become of one")]
pub enum Became {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It has another content.
    Changed,
}

impl Became {
    /// For people and scripts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// A file that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path on its file system, without a slash in front.
    pub path: String,
    /// What became of it.
    pub became: Became,
    /// Its size before and after; nothing where it is no file.
    pub bytes: [Option<u64>; 2],
}

/// How thoroughly files of the same size are compared whose blocks do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "thoroughly or not")]
pub enum Care {
    /// What has its time of the last change is taken for the same where nobody can say in which blocks it lies; all others are
    /// read.
    Times,
    /// All are read.
    Content,
}

/// A file system as it was and as it is, open, and where it lies.
pub struct Both {
    /// Its files.
    pub trees: [Rc<dyn Tree>; 2],
    /// Its volume.
    pub views: [Arc<dyn View>; 2],
}

/// Whether a file surely has the content that it had, by the blocks that it lies in; nothing where those are not known.
pub type AreSame<'a> = dyn Fn(&str) -> io::Result<Option<bool>> + 'a;

/// Finds what differs between a file system as it was and as it is; how many files were taken for the same by their size and
/// time alone.
///
/// Errors: a file or a folder cannot be read.
pub fn differences(
    trees: &[Rc<dyn Tree>; 2],
    care: Care,
    are_same: &AreSame<'_>,
    found: &mut dyn FnMut(Difference),
) -> io::Result<u64> {
    let (before, after) = (trees[0].as_ref(), trees[1].as_ref());
    let mut walk = Walk { before, after, care, are_same, by_times: 0, found };
    walk.folder("", 0)?;
    Ok(walk.by_times)
}

struct Walk<'a> {
    before: &'a dyn Tree,
    after: &'a dyn Tree,
    care: Care,
    are_same: &'a AreSame<'a>,
    /// Files that were taken for the same by their times.
    by_times: u64,
    found: &'a mut dyn FnMut(Difference),
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum There {
    Link(String),
    Is(Kind),
}

fn at(tree: &dyn Tree, path: &str) -> io::Result<Option<There>> {
    match tree.link(path)? {
        Some(target) => Ok(Some(There::Link(target))),
        None => Ok(tree.kind(path)?.map(There::Is)),
    }
}

fn bytes(there: &There) -> Option<u64> {
    match there {
        There::Is(Kind::File(bytes)) => Some(*bytes),
        _ => None,
    }
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            let words = format!("{folder}: folders in folders without end");
            return Err(io::Error::new(ErrorKind::InvalidData, words));
        }
        let mut names = self.before.list(folder)?;
        names.extend(self.after.list(folder)?);
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = join(folder, &name);
            let (old, new) = (at(self.before, &path)?, at(self.after, &path)?);
            match (old, new) {
                (Some(old), Some(new)) => self.both(path, &old, &new, depth)?,
                (Some(old), None) => self.one(path, &old, Became::Removed, depth)?,
                (None, Some(new)) => self.one(path, &new, Became::Added, depth)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// What is there on one side only; of a folder, all that is in it.
    fn one(&mut self, path: String, there: &There, became: Became, depth: usize) -> io::Result<()> {
        if *there == There::Is(Kind::Folder) {
            return self.folder(&path, depth + 1);
        }
        let bytes = match became {
            Became::Removed => [bytes(there), None],
            _ => [None, bytes(there)],
        };
        (self.found)(Difference { path, became, bytes });
        Ok(())
    }

    fn both(&mut self, path: String, old: &There, new: &There, depth: usize) -> io::Result<()> {
        let folder = There::Is(Kind::Folder);
        match (*old == folder, *new == folder) {
            (true, true) => return self.folder(&path, depth + 1),
            (true, false) | (false, true) => {
                self.one(path.clone(), old, Became::Removed, depth)?;
                return self.one(path, new, Became::Added, depth);
            }
            (false, false) => {}
        }
        let is_same = old == new && (bytes(new).is_none() || self.is_same_file(&path)?);
        if !is_same {
            let bytes = [bytes(old), bytes(new)];
            (self.found)(Difference { path, became: Became::Changed, bytes });
        }
        Ok(())
    }

    /// Whether two files of the same size are the same.
    fn is_same_file(&mut self, path: &str) -> io::Result<bool> {
        match (self.are_same)(path)? {
            Some(true) => return Ok(true),
            Some(false) => {}
            None if self.care == Care::Times => {
                let (old, new) = (self.before.modified(path)?, self.after.modified(path)?);
                if old.is_some() && old == new {
                    self.by_times += 1;
                    return Ok(true);
                }
            }
            None => {}
        }
        let (mut old, mut new) = (self.before.open(path)?, self.after.open(path)?);
        let (mut left, mut right) = (vec![0; PART_BYTES], vec![0; PART_BYTES]);
        loop {
            let (more, other) = (fill(&mut old, &mut left)?, fill(&mut new, &mut right)?);
            if left[..more] != right[..other] {
                return Ok(false);
            }
            if more == 0 {
                return Ok(true);
            }
        }
    }
}

/// Reads until the part is full or the file ends.
fn fill(file: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    use firmware_recovery::guest::tree::FolderTree;

    use super::*;

    fn put(root: &Path, path: &str, content: &[u8], second: u64) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    }

    fn found(roots: [&Path; 2], care: Care) -> Vec<(String, &'static str, [Option<u64>; 2])> {
        let tree = |root: &Path| -> Rc<dyn Tree> {
            Rc::new(FolderTree::new(File::open(root).unwrap()).unwrap())
        };
        let mut all = Vec::new();
        let mut take = |one: Difference| all.push((one.path, one.became.word(), one.bytes));
        let trees = [tree(roots[0]), tree(roots[1])];
        let by_times = differences(&trees, care, &|_| Ok(None), &mut take).unwrap();
        assert_eq!(by_times > 0, care == Care::Times);
        // Where blocks tell, times say nothing.
        let mut again = 0;
        let none = differences(&trees, care, &|_| Ok(Some(false)), &mut |_| again += 1).unwrap();
        assert!(none == 0 && again >= all.len());
        let same = differences(&trees, Care::Content, &|_| Ok(Some(true)), &mut |_| {}).unwrap();
        assert_eq!(same, 0);
        all
    }

    #[test]
    fn files_that_differ_are_named_and_others_are_not() {
        let folder = std::env::temp_dir().join(format!("files-{}", std::process::id()));
        let (before, after) = (folder.join("before"), folder.join("after"));
        let large = vec![7; PART_BYTES + 5];
        for root in [&before, &after] {
            put(root, "etc/same", b"same", 10);
            put(root, "srv/large", &large, 10);
            std::os::unix::fs::symlink("same", root.join("etc/link")).unwrap();
            std::os::unix::fs::symlink("/", root.join("etc/round")).unwrap();
        }
        put(&after, "etc/touched", b"as it was", 20);
        put(&before, "etc/touched", b"as it was", 10);
        assert_eq!(found([&before, &after], Care::Content), []);
        put(&before, "etc/gone", b"gone", 10);
        put(&before, "home/a/b", b"deep", 10);
        put(&after, "etc/new", b"new one", 10);
        put(&after, "srv/large", &[&large[..PART_BYTES], b"other"].concat(), 20);
        fs::remove_file(after.join("etc/link")).unwrap();
        std::os::unix::fs::symlink("new", after.join("etc/link")).unwrap();
        put(&after, "home", b"a file where a folder was", 10);
        let large = Some(PART_BYTES as u64 + 5);
        let expected = [
            ("etc/gone".to_owned(), "removed", [Some(4), None]),
            ("etc/link".to_owned(), "changed", [None, None]),
            ("etc/new".to_owned(), "added", [None, Some(7)]),
            ("home/a/b".to_owned(), "removed", [Some(4), None]),
            ("home".to_owned(), "added", [None, Some(25)]),
            ("srv/large".to_owned(), "changed", [large, large]),
        ];
        assert_eq!(found([&before, &after], Care::Times), expected);
        // What was changed and keeps its size and its time is found by content alone.
        put(&after, "etc/same", b"SAME", 10);
        assert_eq!(found([&before, &after], Care::Times), expected);
        let all = found([&before, &after], Care::Content);
        assert!(all.contains(&("etc/same".to_owned(), "changed", [Some(4), Some(4)])), "{all:?}");
        fs::remove_dir_all(folder).unwrap();
    }
}
