//! A fixed number of buffers, handed out and given back. It never makes another one, and never waits.
//!
//! Waiting for a buffer is the caller's (a condition variable in the vault, an executor elsewhere): this crate
//! knows no threads.

use alloc::vec::Vec;

/// Buffers at rest. What was taken and not yet given back is counted, so that nothing foreign slips in.
#[derive(Debug)]
pub struct Pool<T> {
    resting: Vec<T>,
    size: usize,
}

impl<T> Pool<T> {
    /// A pool of exactly these buffers.
    pub fn new(buffers: impl IntoIterator<Item = T>) -> Self {
        let resting: Vec<T> = buffers.into_iter().collect();
        Self { size: resting.len(), resting }
    }

    /// A buffer, the one used last (it is warm in the cache); `None` while all are out.
    pub fn take(&mut self) -> Option<T> {
        self.resting.pop()
    }

    /// Gives a buffer back. One more than were taken is handed straight back: it is not of this pool.
    pub fn give(&mut self, buffer: T) -> Result<(), T> {
        if self.resting.len() == self.size {
            return Err(buffer);
        }
        self.resting.push(buffer);
        Ok(())
    }

    /// Buffers in all.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Buffers at rest.
    pub fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Buffers taken and not yet given back.
    pub fn taken(&self) -> usize {
        self.size - self.resting.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;

    use super::*;

    #[test]
    fn an_empty_pool_gives_nothing_instead_of_growing() {
        let mut pool = Pool::new([vec![1_u8], vec![2]]);
        let (first, second) = (pool.take(), pool.take());
        assert!(first.is_some() && second.is_some());
        assert_eq!((pool.take(), pool.taken(), pool.resting()), (None, 2, 0));
    }

    #[test]
    fn buffers_come_back_as_they_are() {
        let mut pool = Pool::new([Box::new([0_u8; 64])]);
        let buffer = pool.take().unwrap();
        let address = buffer.as_ptr();
        pool.give(buffer).unwrap();
        let again = pool.take().unwrap();
        assert_eq!(again.as_ptr(), address);
    }

    #[test]
    fn a_foreign_buffer_is_refused() {
        let mut pool = Pool::new([1]);
        assert_eq!(pool.give(2), Err(2));
        assert_eq!(pool.take(), Some(1));
        assert_eq!(pool.give(3), Ok(()));
        assert_eq!(pool.give(4), Err(4));
        assert_eq!(pool.size(), 1);
    }
}
