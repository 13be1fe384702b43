//! The first file system, which is the only one: modules and firmware in one archive, our program in a second. The
//! kernel unpacks both; only the second changes when only the program does.

use image_layout::initrd;

use crate::base::Base;
use crate::compress;
use crate::cpio::Cpio;
use crate::error::Error;
use crate::program;

/// Version of the image: that of its program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Both archives, compressed, one after the other.
pub fn join(
    base: &Base,
    program_name: &str,
    program: &[u8],
    built: u64,
    level: i32,
) -> Result<Vec<u8>, Error> {
    let mut archive = Cpio::new();
    archive.program(initrd::INIT, &program::bare(program_name, program)?)?;
    archive.file(initrd::VERSION, format!("{VERSION}\n").as_bytes())?;
    archive.file(initrd::BUILT, format!("{built}\n").as_bytes())?;
    let ours = compress::squeeze(&archive.end()?, level)?;
    let mut whole = base.archive.clone();
    whole.extend_from_slice(&ours);
    Ok(whole)
}
