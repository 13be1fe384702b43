//! Files of points: disks, volumes and folders are looked through, and files taken out, without restoring anything.
//!
//! A point is opened by a thread of its own, which has its disks, its mounts where nobody else sees them, and ends when nobody
//! asked for a while. Several are open at once; of too many the one that was asked for longest ago is closed. What must be
//! replayed is replayed into memory. No link is followed out of its file system.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

use firmware_recovery::guest::Open as _;
use firmware_recovery::guest::tree::{Kind, Tree, join};
use firmware_recovery::guest::volumes::content::Content;
use firmware_recovery::guest::volumes::{GuestDisk, Volume, Volumes};
use firmware_web::api::Refusal;
use firmware_web::api::site::Answer;
use firmware_web::api::views::files::{FileBytes, FileEntry, FilePlace, Listing};
use pipeline_vault::Error;
use pipeline_vault::points::ChainView;

use super::refuse::{in_the_way, missing, not_now, refusal, wrong};
use super::{LiveSite, lock};
use crate::guest_disks::{Kernel, disks_of_point};

/// Entries of one answer.
const ENTRIES_MAX: usize = 5000;
/// Bytes of one answer.
const READ_BYTES_MAX: usize = 8 << 20;
/// A point that nobody asks for is closed after so long.
const IDLE: Duration = Duration::from_secs(60);
/// A file system of a stranger may take so long to open or to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests that wait for the one before them.
const WAITING_MAX: usize = 32;
const PATH_BYTES_MAX: usize = 4096;
/// Points that are open at once: each has its disks, tables and mounts in memory.
const OPEN_MAX: usize = 4;

/// Points that are open, the last used at the end.
#[derive(Default)]
pub(super) struct Files(Mutex<VecDeque<Open>>);

struct Open {
    /// Server and point.
    of: (String, String),
    ask: SyncSender<Asked>,
}

enum Wants {
    List,
    Read(u64, usize),
}

enum Gives {
    Listing(Listing),
    Bytes(FileBytes),
}

struct Asked {
    place: FilePlace,
    wants: Wants,
    answer: SyncSender<Answer<Gives>>,
}

impl Files {
    /// Closes what is open.
    pub(super) fn close(&self) {
        lock(&self.0).clear();
    }
}

impl LiveSite {
    pub(super) fn list_files(&self, place: &FilePlace) -> Answer<Listing> {
        match self.ask_point(place, Wants::List)? {
            Gives::Listing(listing) => Ok(listing),
            Gives::Bytes(_) => Err(lost()),
        }
    }

    pub(super) fn read_file(
        &self,
        place: &FilePlace,
        offset: u64,
        limit: usize,
    ) -> Answer<FileBytes> {
        if place.volume.is_empty() || place.path.is_empty() {
            return Err(wrong("/path", "a file", "is not named"));
        }
        match self.ask_point(place, Wants::Read(offset, limit.min(READ_BYTES_MAX)))? {
            Gives::Bytes(bytes) => Ok(bytes),
            Gives::Listing(_) => Err(lost()),
        }
    }

    fn ask_point(&self, place: &FilePlace, wants: Wants) -> Answer<Gives> {
        check_path(&place.path)?;
        let ask = self.open_point(place)?;
        let (answer, answered) = sync_channel(1);
        let asked = Asked { place: place.clone(), wants, answer };
        if ask.try_send(asked).is_err() {
            let remedy = "try it again in a moment";
            return Err(not_now("the files of this point", "are asked for by many", remedy));
        }
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(not_now(
                "the files of this point",
                "did not answer in time",
                "try it again; restore the disk if it stays so",
            )),
            Err(RecvTimeoutError::Disconnected) => Err(lost()),
        }
    }

    /// Who has the point open: opened now where it is not, in place of the one used longest ago where there are too many.
    fn open_point(&self, place: &FilePlace) -> Answer<SyncSender<Asked>> {
        let of = (place.server.clone(), place.point.clone());
        let mut open = lock(&self.files.0);
        let at = open.iter().position(|open| open.of == of);
        if let Some(known) = at.and_then(|at| open.remove(at)).filter(|it| is_alive(&it.ask)) {
            let ask = known.ask.clone();
            open.push_back(known);
            return Ok(ask);
        }
        let server = self.server_id(&place.server)?;
        let point = self.point(&place.server, server, &place.point)?;
        let opened = self.opened()?;
        // Whoever reads from the one that goes opens it again.
        while open.len() >= OPEN_MAX {
            open.pop_front();
        }
        let vault = opened.vault.clone();
        let (ask, asked) = sync_channel(WAITING_MAX);
        let (ready, is_ready) = sync_channel(1);
        let work = move || {
            let disks = || -> Result<Vec<GuestDisk>, Error> {
                let view: ChainView = vault.session().chain(server)?;
                let link = view.find(&point.id.to_string())?;
                let session = vault.session();
                disks_of_point(&session, &view, link)
            };
            match disks() {
                Ok(disks) => {
                    let _ = ready.send(Ok(()));
                    serve(&disks, &asked);
                }
                Err(error) => drop(ready.send(Err(refusal(error)))),
            }
        };
        std::thread::Builder::new().name("files".to_owned()).spawn(work).map_err(|error| {
            not_now("this machine", format!("starts no thread: {error}"), "wait")
        })?;
        is_ready.recv().map_err(|_| lost())??;
        open.push_back(Open { of, ask: ask.clone() });
        Ok(ask)
    }
}

/// Whether somebody is at the other end.
fn is_alive(ask: &SyncSender<Asked>) -> bool {
    let (answer, answered) = sync_channel(1);
    let nothing = Asked { place: FilePlace::default(), wants: Wants::Read(0, 0), answer };
    // A queue that is full has somebody at its end.
    let gone = matches!(ask.try_send(nothing), Err(TrySendError::Disconnected(_)));
    drop(answered);
    !gone
}

fn lost() -> Refusal {
    not_now(
        "the files of this point",
        "could not be opened: reading them came to a bad end",
        "try it again",
    )
}

/// No path leads up.
fn check_path(path: &str) -> Result<(), Refusal> {
    let bad = path.len() > PATH_BYTES_MAX
        || path.starts_with('/')
        || path.contains('\0')
        || path.split('/').any(|name| name == ".." || name == ".");
    if bad {
        Err(wrong("/path", format!("path {path:?}"), "is no path from a volume's root"))
    } else {
        Ok(())
    }
}

/// Answers until nobody asks any more.
fn serve(disks: &[GuestDisk], asked: &Receiver<Asked>) {
    let mut point = match Point::open(disks) {
        Ok(point) => point,
        Err(error) => {
            let words = error.to_string();
            while let Ok(asked) = asked.recv_timeout(IDLE) {
                let refused =
                    not_now("the disks of this point", words.clone(), "look at its verification");
                let _ = asked.answer.send(Err(refused));
            }
            return;
        }
    };
    while let Ok(asked) = asked.recv_timeout(IDLE) {
        // Whoever only wanted to know whether somebody is here has gone.
        let done = match asked.wants {
            Wants::Read(_, 0) => continue,
            Wants::List => point.list(&asked.place).map(Gives::Listing),
            Wants::Read(offset, limit) => point.read(&asked.place, offset, limit).map(Gives::Bytes),
        };
        let _ = asked.answer.send(done);
    }
    point.close();
}

/// A point's disks, and its file systems as far as they were opened.
struct Point<'a> {
    disks: &'a [GuestDisk],
    volumes: Volumes,
    kernel: Kernel,
    trees: BTreeMap<String, Rc<dyn Tree>>,
}

impl<'a> Point<'a> {
    fn open(disks: &'a [GuestDisk]) -> io::Result<Self> {
        let volumes = Volumes::find(disks)?;
        Ok(Self { disks, volumes, kernel: Kernel::new(true), trees: BTreeMap::new() })
    }

    fn close(self) {
        drop(self.trees);
        if let Err(error) = self.kernel.close() {
            log::warn!("the files of a point: {error}");
        }
    }

    fn disk(&self, name: &str) -> Answer<usize> {
        let found = self.disks.iter().position(|disk| disk.name == name);
        found.ok_or_else(|| missing(format!("disk {name}"), "is not in this point"))
    }

    /// Volumes of a disk, and those that lie on several.
    fn volumes_of(&self, disk: usize) -> impl Iterator<Item = &Volume> {
        let name = &self.disks[disk].name;
        let others: Vec<&String> = self.disks.iter().map(|disk| &disk.name).collect();
        self.volumes.volumes.iter().filter(move |volume| match &volume.partition {
            Some(partition) => partition.disk == disk,
            None => volume.name == *name || !others.contains(&&volume.name),
        })
    }

    fn list(&mut self, place: &FilePlace) -> Answer<Listing> {
        if place.disk.is_empty() {
            let entry = |disk: &GuestDisk| FileEntry {
                name: disk.name.clone(),
                kind: "disk".to_owned(),
                bytes: disk.view.bytes(),
                ..FileEntry::default()
            };
            return Ok(Listing { entries: self.disks.iter().map(entry).collect(), cut: false });
        }
        let disk = self.disk(&place.disk)?;
        if place.volume.is_empty() {
            let entries = self.volumes_of(disk).map(volume_entry).collect();
            return Ok(Listing { entries, cut: false });
        }
        let tree = self.tree(disk, &place.volume)?;
        list_folder(&*tree, &place.path).map_err(|error| unreadable(&place.path, &error))
    }

    fn read(&mut self, place: &FilePlace, offset: u64, limit: usize) -> Answer<FileBytes> {
        let disk = self.disk(&place.disk)?;
        let tree = self.tree(disk, &place.volume)?;
        let read = || -> io::Result<FileBytes> {
            let Some(Kind::File(file_bytes)) = tree.kind(&place.path)? else {
                return Err(ErrorKind::NotFound.into());
            };
            let mut bytes = Vec::new();
            if offset < file_bytes {
                tree.open_at(&place.path, offset)?.take(limit as u64).read_to_end(&mut bytes)?;
            }
            Ok(FileBytes { bytes, file_bytes })
        };
        read().map_err(|error| unreadable(&place.path, &error))
    }

    fn tree(&mut self, disk: usize, name: &str) -> Answer<Rc<dyn Tree>> {
        if let Some(tree) = self.trees.get(name) {
            return Ok(Rc::clone(tree));
        }
        let volume = self.volumes_of(disk).find(|volume| volume.name == name);
        let volume =
            volume.ok_or_else(|| missing(format!("volume {name}"), "is not on this disk"))?;
        let object = format!("volume {name}");
        let Content::FileSystem { kind, .. } = &volume.content else {
            return Err(in_the_way(
                object,
                format!("holds {}", volume.content),
                "take another volume",
            ));
        };
        let tree = self.kernel.open(volume, kind).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => not_now(
                object.clone(),
                "is mounted for this, which only root may",
                "run serve as root, or use the appliance",
            ),
            // A file system that cannot be there twice, at two points of one server.
            ErrorKind::AlreadyExists => not_now(
                object.clone(),
                "is open at another point of this server",
                "try again in a minute, once nobody looks at that",
            ),
            _ => not_now(
                object.clone(),
                format!("cannot be opened: {error}"),
                "restore its disk instead",
            ),
        })?;
        self.trees.insert(name.to_owned(), Rc::clone(&tree));
        Ok(tree)
    }
}

fn volume_entry(volume: &Volume) -> FileEntry {
    let label = match &volume.content {
        Content::FileSystem { label, .. } if !label.is_empty() => format!(" «{label}»"),
        _ => String::new(),
    };
    FileEntry {
        name: volume.name.clone(),
        kind: "volume".to_owned(),
        bytes: volume.view.bytes(),
        changed_millis: None,
        detail: format!("{}{label}", volume.content),
    }
}

fn list_folder(tree: &dyn Tree, path: &str) -> io::Result<Listing> {
    if tree.link(path)?.is_some() && !path.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is a link"));
    }
    match tree.kind(path)? {
        Some(Kind::Folder) => {}
        Some(_) => return Err(ErrorKind::NotADirectory.into()),
        None if path.is_empty() => {}
        None => return Err(ErrorKind::NotFound.into()),
    }
    let mut names = tree.list(path)?;
    let cut = names.len() > ENTRIES_MAX;
    names.truncate(ENTRIES_MAX);
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        let path = join(path, &name);
        // One damaged entry hides no other.
        entries.push(entry(tree, name, &path).unwrap_or_else(|(name, error)| FileEntry {
            name,
            kind: "other".to_owned(),
            detail: error.to_string(),
            ..FileEntry::default()
        }));
    }
    entries.sort_by_key(|entry| entry.kind != "folder");
    Ok(Listing { entries, cut })
}

fn entry(tree: &dyn Tree, name: String, path: &str) -> Result<FileEntry, (String, io::Error)> {
    let look = || -> io::Result<FileEntry> {
        if let Some(target) = tree.link(path)? {
            let kind = "link".to_owned();
            return Ok(FileEntry { kind, detail: target, ..FileEntry::default() });
        }
        let (kind, bytes) = match tree.kind(path)? {
            Some(Kind::File(bytes)) => ("file", bytes),
            Some(Kind::Folder) => ("folder", 0),
            Some(Kind::Other) | None => ("other", 0),
        };
        let changed = tree.modified(path)?.map(|nanos| nanos / 1_000_000);
        Ok(FileEntry {
            kind: kind.to_owned(),
            bytes,
            changed_millis: changed.and_then(|millis| i64::try_from(millis).ok()),
            ..FileEntry::default()
        })
    };
    match look() {
        Ok(entry) => Ok(FileEntry { name, ..entry }),
        Err(error) => Err((name, error)),
    }
}

fn unreadable(path: &str, error: &io::Error) -> Refusal {
    let object = format!("/{path}");
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            missing(object, "is not there, or is no such thing")
        }
        ErrorKind::InvalidInput => wrong("/path", object, "is a link: open what it leads to"),
        _ => not_now(object, format!("cannot be read: {error}"), "restore the disk instead"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use firmware_recovery::guest::tree::FolderTree;

    use super::*;

    #[test]
    fn no_path_leads_up_and_no_link_out() {
        for bad in ["/etc", "../x", "a/../../x", "a/./b", "a\0b", &"x".repeat(5000)] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        assert!(check_path("").is_ok() && check_path("etc/passwd").is_ok());
        let root = std::env::temp_dir().join(format!("site-files-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a folder")).unwrap();
        std::fs::write(root.join("b"), b"0123456789").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("c")).unwrap();
        std::os::unix::fs::symlink("b", root.join("d")).unwrap();
        let tree = FolderTree::new(File::open(&root).unwrap()).unwrap();
        let listing = list_folder(&tree, "").unwrap();
        let kinds: Vec<(&str, &str, u64)> = listing
            .entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.kind.as_str(), entry.bytes))
            .collect();
        let expected =
            [("a folder", "folder", 0), ("b", "file", 10), ("c", "link", 0), ("d", "link", 0)];
        assert_eq!(kinds, expected);
        assert_eq!(listing.entries[2].detail, "/etc");
        for (path, status) in [("c", 422), ("b", 404), ("nothing", 404), ("c/passwd", 404)] {
            let refused = list_folder(&tree, path).map_err(|error| unreadable(path, &error));
            assert_eq!(refused.unwrap_err().status, status, "{path}");
        }
        let mut text = String::new();
        tree.open_at("b", 7).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "789");
        std::fs::remove_dir_all(root).unwrap();
    }
}
