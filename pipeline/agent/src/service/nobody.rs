//! What there is before there are disks: nothing that can be read, and nobody who makes instants.

use std::sync::Arc;

use hal::disk::{DiskError, ErrorKind};

use crate::blocks::BlockSet;
use crate::content::{Content, Each};
use crate::cut::{Failed, Outcome};
use crate::replicate::maker::{Maker, Order, Piece};
use crate::session::exchange::Exchange;
use crate::tracker::Tracker;

/// Stands where something else will.
pub(super) struct Nobody;

impl Content for Nobody {
    fn read(&mut self, _blocks: &[u64], _each: &mut Each<'_>) -> Result<(), DiskError> {
        self.bytes().map(drop)
    }

    fn bytes(&mut self) -> Result<u64, DiskError> {
        Err(DiskError::new(ErrorKind::Gone, "the disk is not open"))
    }
}

impl Maker for Nobody {
    fn make(
        &mut self,
        _order: &Order,
        _tracker: &mut dyn Tracker,
        _changed: &mut [BlockSet],
        _exchange: &Arc<Exchange>,
    ) -> Result<Outcome, Failed> {
        Err("there are no disks yet".to_owned().into())
    }

    fn piece(&self, _at: usize) -> Option<Piece<'_>> {
        None
    }

    fn forget(&mut self) {}

    fn unread(&mut self, _disk: usize, _into: &mut BlockSet) {}

    fn changed_blank(&mut self) -> Option<Vec<(BlockSet, Vec<u64>)>> {
        None
    }
}
