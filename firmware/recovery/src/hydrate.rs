//! Makes disks of recovery points: whatever takes blocks is a `hal::disk::Disk`, so that the vault's restore is the one engine.

/// What can be read at any byte: a point's disk, or what a test has in memory.
pub mod content;
/// A point into a page blob.
pub mod fill;
/// What Azure's disks can be, asked before anything is made.
pub mod limits;
/// What the last sector of an unfinished disk says.
pub mod mark;
/// Changes on top of a point's disk, which stays as it is.
pub mod overlay;
/// A page blob that is written to no faster than it may be.
pub mod paced;
/// A page blob as a disk.
pub mod page_disk;
/// What a page blob can do.
pub mod pages;
/// A page blob that follows the vault, point by point.
pub mod seed;
/// Where warm seeds are, and what they are called.
pub mod seed_place;
/// The last sector of a fixed VHD, which says that it is one and whose.
pub mod vhd;

#[cfg(test)]
mod test_bed;
