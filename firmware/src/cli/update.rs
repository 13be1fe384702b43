//! `update`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use image_layout::esp::Slot;
use image_layout::version::Version;

/// `update`
#[derive(Debug, Args)]
pub struct Update {
    /// The update: a file, or an address that begins with https:// or http://
    #[arg(value_name = "FILE|URL")]
    pub from: String,

    /// The medium: a partition, a whole stick, or an image file of one
    #[arg(long, value_name = "DISK", required_unless_present = "check")]
    pub medium: Option<PathBuf>,

    /// The slot that runs, or would: the update goes to the other
    #[arg(long, value_name = "SLOT", required_unless_present = "check")]
    pub running: Option<SlotChoice>,

    /// What it must be newer than (default: this program's own version)
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub newer_than: Option<Version>,

    /// The oldest version that is let in
    #[arg(long, value_name = "VERSION", value_parser = version, default_value = "0.0.0")]
    pub least: Version,

    /// File of the release keys that are trusted, as it lies in an image
    #[arg(long, value_name = "FILE", default_value = image_layout::initrd::KEYS)]
    pub keys: PathBuf,

    /// Only read its head and judge it: nothing is written
    #[arg(long)]
    pub check: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "there are two slots")]
pub enum SlotChoice {
    /// The first.
    A,
    /// The second.
    B,
}

impl SlotChoice {
    /// The slot.
    #[must_use]
    pub fn slot(self) -> Slot {
        match self {
            Self::A => Slot::A,
            Self::B => Slot::B,
        }
    }
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "a version is three numbers, such as 1.2.3".to_owned())
}
