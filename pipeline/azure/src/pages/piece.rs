//! What the bytes of a disk are written as: pieces of at most 4 MiB, and zeros that need not be sent.

use super::WRITE_BYTES_MAX;

/// Zeros are looked for in blocks of this length: a shorter run costs less to send than another request.
const BLOCK_BYTES: usize = 64 * 1024;

/// What becomes of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// Nothing was written there before: they are there already.
    Skip,
    /// Something may have been written there: they are made.
    Clear,
}

/// One piece of a longer body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Zeros, as many as there are.
    Zeros {
        /// Where in the body.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// Bytes that go in one request.
    Data {
        /// Where in the body.
        at: u64,
        /// The bytes.
        body: &'a [u8],
    },
}

/// The body in pieces, in order and without gaps.
pub fn pieces(body: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let rest = body.get(done..).filter(|rest| !rest.is_empty())?;
        let mut blocks = rest.chunks(BLOCK_BYTES);
        let zeros = blocks.next().is_some_and(is_zeros);
        let like_first = blocks.take_while(|block| is_zeros(block) == zeros).map(<[u8]>::len);
        let run = rest.len().min(BLOCK_BYTES) + like_first.sum::<usize>();
        let at = u64::try_from(done).unwrap_or(u64::MAX);
        if zeros {
            done += run;
            return Some(Piece::Zeros { at, bytes: u64::try_from(run).unwrap_or(u64::MAX) });
        }
        let run = run.min(WRITE_BYTES_MAX);
        done += run;
        Some(Piece::Data { at, body: &rest[..run] })
    })
}

/// Whether there is nothing but zeros.
fn is_zeros(block: &[u8]) -> bool {
    // By sixteen bytes at once: the compiler makes wide instructions of it.
    let (wide, rest) = block.as_chunks::<16>();
    wide.iter().all(|sixteen| u128::from_ne_bytes(*sixteen) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_body() {
        let mut body = vec![0_u8; 12 * 1024 * 1024 + 512];
        body[0] = 1;
        body[200_000..9_000_000].fill(2);
        *body.last_mut().unwrap() = 3;
        let (mut again, mut requests) = (Vec::new(), 0);
        for piece in pieces(&body) {
            match piece {
                Piece::Zeros { at, bytes } => {
                    assert_eq!(usize::try_from(at).unwrap(), again.len());
                    again.resize(again.len() + usize::try_from(bytes).unwrap(), 0);
                }
                Piece::Data { at, body } => {
                    assert_eq!(usize::try_from(at).unwrap(), again.len());
                    assert!(body.len() <= WRITE_BYTES_MAX && body.len().is_multiple_of(512));
                    again.extend_from_slice(body);
                    requests += 1;
                }
            }
        }
        assert!(again == body);
        assert_eq!(requests, 5, "the first block, three pieces of the long run, the last sector");
        assert_eq!(pieces(&[]).count(), 0);
        let all = pieces(&body[16_384..180_000]).collect::<Vec<_>>();
        assert_eq!(all, [Piece::Zeros { at: 0, bytes: 163_616 }]);
    }
}
