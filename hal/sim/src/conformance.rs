//! The one suite that every implementation of `hal::disk::Disk` passes.
