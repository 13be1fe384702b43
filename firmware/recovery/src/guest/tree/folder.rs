//! A folder of this machine, such as where a file system is mounted, as a file system of its own.
//!
//! Every path is looked up by the kernel as if the folder were all there is: a link to `/etc/shadow` leads to the
//! folder's own, and no link, and no name with dots, leads out of it.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use super::{Kind, Rights, Tree, parent};

/// Names in a folder that are looked at.
const NAMES_MAX: usize = 65_536;

/// A folder as a file system.
#[derive(Debug)]
pub struct FolderTree {
    root: OwnedFd,
}

impl FolderTree {
    /// The folder that this descriptor is of.
    pub fn new(folder: impl AsFd) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::openat(folder, ".", flags, Mode::empty())? })
    }

    fn at(&self, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // What is only looked up is not opened, and may not be told how.
        let how = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
        let flags = flags | how | OFlags::CLOEXEC;
        // A rename elsewhere may come between; here nobody renames, and it is asked for again only a few times.
        let mut last = Errno::AGAIN;
        for _ in 0..8 {
            match rustix::fs::openat2(&self.root, path, flags, mode, resolve) {
                Err(Errno::AGAIN) => last = Errno::AGAIN,
                other => return other,
            }
        }
        Err(last)
    }

    fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        match self.at(path, OFlags::PATH, Mode::empty()) {
            Ok(found) => Ok(Some(rustix::fs::fstat(&found)?)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(named(path, errno)),
        }
    }

    /// A file to write to; never a device or a pipe, which would be opened by opening them.
    fn writable(&self, path: &str) -> io::Result<File> {
        if !matches!(self.kind(path)?, Some(Kind::File(_))) {
            return Err(named(path, Errno::NOENT));
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        self.at(path, flags, Mode::empty()).map(File::from).map_err(|errno| named(path, errno))
    }

    fn folder_of(&self, path: &str) -> io::Result<OwnedFd> {
        let folder = parent(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        self.at(folder, flags, Mode::empty()).map_err(|errno| named(folder, errno))
    }
}

impl Tree for FolderTree {
    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        Ok(self.stat(path)?.map(|stat| match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Directory => Kind::Folder,
            _ => Kind::Other,
        }))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = match self.at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(named(path, errno)),
        };
        let mut names = Vec::new();
        for entry in Dir::new(folder)?.take(NAMES_MAX) {
            // A name that is no text is none that is looked for.
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        self.open_at(path, 0)
    }

    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut file = self.file(path)?.ok_or_else(|| named(path, Errno::NOENT))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn file(&self, path: &str) -> io::Result<Option<File>> {
        if !matches!(self.kind(path)?, Some(Kind::File(_))) {
            return Err(named(path, Errno::NOENT));
        }
        let file = self.at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        file.map(|file| Some(File::from(file))).map_err(|errno| named(path, errno))
    }

    fn modified(&self, path: &str) -> io::Result<Option<i128>> {
        let nanos =
            |stat: Stat| i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        Ok(self.stat(path)?.map(nanos))
    }

    fn rights(&self, path: &str) -> io::Result<Option<Rights>> {
        let rights = |stat: Stat| Rights {
            mode: stat.st_mode & 0o7777,
            owner: stat.st_uid,
            group: stat.st_gid,
        };
        Ok(self.stat(path)?.map(rights))
    }

    fn write(&self, path: &str, bytes: &[u8], rights: Option<Rights>) -> io::Result<()> {
        let mut file = if self.kind(path)?.is_some() {
            self.writable(path)?
        } else {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            let mode = Mode::from_raw_mode(rights.map_or(0o644, |rights| rights.mode));
            let made = self.at(path, flags, mode).map_err(|errno| named(path, errno))?;
            // Whatever mask of ours was in the way.
            rustix::fs::fchmod(&made, mode)?;
            if let Some(rights) = rights {
                let (owner, group) = (Uid::from_raw(rights.owner), Gid::from_raw(rights.group));
                rustix::fs::fchown(&made, Some(owner), Some(group))?;
            }
            File::from(made)
        };
        file.set_len(0)?;
        file.write_all(bytes).map_err(|error| unwritten(path, &error))
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.writable(path)?;
        let before = file.seek(SeekFrom::End(0))?;
        // Half of it would be worse than nothing.
        let done = file.write_all(bytes).inspect_err(|_| drop(file.set_len(before)));
        done.map_err(|error| unwritten(path, &error))
    }

    fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writable(path)?.write_all_at(bytes, offset)
    }

    fn truncate(&self, path: &str, bytes: u64) -> io::Result<()> {
        self.writable(path)?.set_len(bytes)
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        let mut made = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            made = super::join(&made, name);
            if self.kind(&made)? == Some(Kind::Folder) {
                continue;
            }
            let folder = self.folder_of(&made)?;
            let done = rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755));
            done.map_err(|errno| named(&made, errno))?;
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let folder = self.folder_of(path)?;
        let done = match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR),
            other => other,
        };
        done.map_err(|errno| named(path, errno))
    }

    fn link(&self, path: &str) -> io::Result<Option<String>> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let Ok(folder) = self.folder_of(path) else { return Ok(None) };
        match rustix::fs::readlinkat(&folder, name, Vec::new()) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(named(path, errno)),
        }
    }
}

fn unwritten(path: &str, error: &Error) -> Error {
    let then = match error.kind() {
        ErrorKind::StorageFull => ": make room on that file system of the server",
        _ => "",
    };
    Error::new(error.kind(), format!("/{path} cannot be written: {error}{then}"))
}

fn named(path: &str, errno: Errno) -> Error {
    let error = Error::from(errno);
    let kind = if errno == Errno::NOSPC { ErrorKind::StorageFull } else { error.kind() };
    Error::new(kind, format!("/{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn tree(name: &str) -> (PathBuf, FolderTree) {
        let path =
            std::env::temp_dir().join(format!("lifeboat-tree-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let tree = FolderTree::new(File::open(&path).unwrap()).unwrap();
        (path, tree)
    }

    #[test]
    fn no_link_leads_out_of_it() {
        let (path, tree) = tree("links");
        fs::create_dir_all(path.join("etc")).unwrap();
        fs::write(path.join("etc/passwd"), "of the server").unwrap();
        symlink("/etc/passwd", path.join("absolute")).unwrap();
        symlink("../../../../../../etc/passwd", path.join("etc/relative")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        let tree: &dyn Tree = &tree;
        for name in ["absolute", "etc/relative", "../etc/passwd"] {
            assert_eq!(tree.text(name).unwrap().as_deref(), Some("of the server"), "{name}");
        }
        tree.write("absolute", b"changed", None).unwrap();
        assert_eq!(fs::read(path.join("etc/passwd")).unwrap(), b"changed");
        assert_eq!(tree.kind("loop").unwrap(), None);
        assert_eq!(tree.link("absolute").unwrap().as_deref(), Some("/etc/passwd"));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn files_are_written_appended_cut_and_removed_with_their_rights_kept() {
        let (path, tree) = tree("files");
        let rights = Rights { mode: 0o600, owner: rustix::process::geteuid().as_raw(), group: 0 };
        tree.make_folder("boot/loader/entries").unwrap();
        let given = rustix::process::geteuid().is_root().then_some(rights);
        tree.write("boot/a", b"one", given).unwrap();
        tree.append("boot/a", b" two").unwrap();
        let dynamic: &dyn Tree = &tree;
        assert_eq!(dynamic.text("boot/a").unwrap().as_deref(), Some("one two"));
        tree.write("boot/a", b"three", None).unwrap();
        if given.is_some() {
            assert_eq!(tree.rights("boot/a").unwrap(), Some(rights));
        }
        tree.truncate("boot/a", 2).unwrap();
        assert_eq!(dynamic.text("boot/a").unwrap().as_deref(), Some("th"));
        assert_eq!(tree.list("boot").unwrap(), ["a", "loader"]);
        assert!(dynamic.read("boot/a", 1).is_err(), "too long");
        tree.remove("boot/a").unwrap();
        tree.remove("boot/loader/entries").unwrap();
        assert_eq!(tree.list("boot/loader").unwrap(), [""; 0]);
        assert!(tree.write("nowhere/a", b"", None).is_err());
        fs::remove_dir_all(path).unwrap();
    }
}
