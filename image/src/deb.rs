//! A Debian package's files: `ar` holds a `tar`, which is compressed with xz or Zstandard.
//!
//! Nothing is written to disk and nothing of the package is run. Whatever its bytes, it ends in an error or in files.

use std::io::{Cursor, Read};

use object::read::archive::ArchiveFile;

use crate::compress;
use crate::error::Error;

/// Largest file in a package that is taken.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most that all of a package may unpack to.
const ALL_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Memory that the decoder of xz may use.
const XZ_KIB_MAX: u32 = 256 * 1024;

/// What a path in a package is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Content {
    /// A file's bytes.
    File(Vec<u8>),
    /// A symbolic link, and where it points.
    Link(String),
}

/// Calls `keep` with every path of the package, without a slash in front, and for those that it keeps, `take` with
/// what is there.
pub fn unpack(
    name: &str,
    package: &[u8],
    keep: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(String, Content) -> Result<(), Error>,
) -> Result<(), Error> {
    let corrupt = |what: String| Error::corrupt(name, what);
    let archive = ArchiveFile::parse(package)
        .map_err(|error| corrupt(format!("no package of Debian: {error}")))?;
    for member in archive.members() {
        let member = member.map_err(|error| corrupt(format!("broken off: {error}")))?;
        let kind = member.name();
        if !kind.starts_with(b"data.tar") {
            continue;
        }
        let data = member.data(package).map_err(|error| corrupt(format!("broken off: {error}")))?;
        let plain: Box<dyn Read> = match kind {
            b"data.tar" => Box::new(data),
            b"data.tar.xz" => Box::new(xz(data)),
            b"data.tar.zst" => {
                let limit = usize::try_from(ALL_BYTES_MAX).unwrap_or(usize::MAX);
                Box::new(Cursor::new(compress::expand(data, limit).map_err(corrupt)?))
            }
            other => {
                return Err(corrupt(format!(
                    "compressed in a way unknown here: {}",
                    String::from_utf8_lossy(other).escape_debug()
                )));
            }
        };
        return files(name, plain, keep, take);
    }
    Err(corrupt("no data in it".to_owned()))
}

/// A decoder of xz with a bound on its memory.
pub(crate) fn xz<'a>(bytes: &'a [u8]) -> impl Read + 'a {
    lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_KIB_MAX)
}

fn files(
    name: &str,
    plain: Box<dyn Read + '_>,
    keep: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(String, Content) -> Result<(), Error>,
) -> Result<(), Error> {
    let corrupt = |error: std::io::Error| Error::corrupt(name, error.to_string());
    let mut archive = tar::Archive::new(plain.take(ALL_BYTES_MAX));
    for entry in archive.entries().map_err(corrupt)? {
        let mut entry = entry.map_err(corrupt)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_start_matches('/').to_owned();
        if !keep(&path) {
            continue;
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default();
            take(path, Content::Link(String::from_utf8_lossy(&target).into_owned()))?;
        } else if kind.is_file() {
            if entry.size() > FILE_BYTES_MAX {
                return Err(Error::corrupt(name, format!("{path} has {} bytes", entry.size())));
            }
            // The size that is claimed is not believed before the bytes are there.
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(corrupt)?;
            if bytes.len() as u64 != entry.size() {
                return Err(Error::corrupt(name, format!("{path} is broken off")));
            }
            take(path, Content::File(bytes))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
