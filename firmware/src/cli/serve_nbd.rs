//! `serve-nbd`

use clap::Args;

use super::{Chosen, Opening};
use crate::nbd::layered::Place;
use crate::nbd::listen::Address;

/// `serve-nbd`
#[derive(Debug, Args)]
pub struct ServeNbd {
    /// Which vault.
    #[command(flatten)]
    pub opening: Opening,

    /// Which disk.
    #[command(flatten)]
    pub chosen: Chosen,

    /// Where to listen: ADDRESS:PORT, or unix:PATH for a socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10809")]
    pub listen: Address,

    /// Let clients write, and keep what they write in memory (1 GiB at most) or in a new file, until the end; the point
    /// stays as it is
    #[arg(long, value_name = "memory|FILE")]
    pub overlay: Option<Place>,
}
