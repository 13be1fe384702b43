//! Lists of system calls, made into a program for the kernel that judges each call of a thread.
//!
//! It refuses to know which calls are good: that is its callers' list. What is on no list ends as its caller says.

use libc::sock_filter;

/// What the kernel calls this architecture (`AUDIT_ARCH_X86_64`).
const ARCHITECTURE: u32 = 0xC000_003E;
/// Calls of the other interface of the same architecture begin here.
const OTHER_INTERFACE: u32 = 0x4000_0000;
/// Where a filter finds the number of the call, the architecture, and the low half of the first argument.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const JUMP: u16 = 0x05;
const ANSWER: u16 = 0x06;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Allow,
    /// It is not made, and fails with this errno.
    Refuse(u16),
    /// The process ends at once.
    Kill,
}

impl Verdict {
    const fn word(self) -> u32 {
        match self {
            Self::Allow => 0x7FFF_0000,
            // Widens: nothing is lost.
            Self::Refuse(errno) => 0x0005_0000 | errno as u32,
            Self::Kill => 0x8000_0000,
        }
    }
}

/// What an argument must be: of `argument` only the bits of `mask` count, and they are one of `values`. Only the low half
/// is looked at: all that is tested here is an `int` to the kernel, or a flag of the low half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub(crate) argument: u32,
    pub(crate) mask: u32,
    pub(crate) values: &'static [u32],
}

/// A call, what its arguments must be, and what becomes of it then. Where a test fails the next rows are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) call: i64,
    pub(crate) test: Option<Test>,
    pub(crate) verdict: Verdict,
}

/// A call that fails with `EPERM`.
pub(crate) const REFUSE: Verdict = Verdict::Refuse(1);

/// A row that refuses a call.
pub(crate) const fn refused(call: i64) -> Row {
    Row { call, test: None, verdict: REFUSE }
}

/// The program. Calls of another architecture, or of the other interface of this one, are never judged by their numbers:
/// they end as what is on no list.
pub(crate) fn program<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
    otherwise: Verdict,
    foreign: Verdict,
) -> Vec<sock_filter> {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut steps = vec![
        step(LOAD, 0, 0, ARCHITECTURE_AT),
        step(IF_EQUAL, 1, 0, ARCHITECTURE),
        step(ANSWER, 0, 0, foreign.word()),
        step(LOAD, 0, 0, NUMBER_AT),
        step(IF_AT_LEAST, 0, 1, OTHER_INTERFACE),
        step(ANSWER, 0, 0, foreign.word()),
    ];
    for row in rows {
        // No number of ours is negative; one that were would match nothing.
        let Ok(number) = u32::try_from(row.call) else { continue };
        let mut body = Vec::new();
        if let Some(test) = &row.test {
            body.push(step(LOAD, 0, 0, ARGUMENTS_AT + ARGUMENT_BYTES * test.argument));
            body.push(step(AND, 0, 0, test.mask));
            for (place, value) in test.values.iter().enumerate() {
                // Over the values that are left, and over the two steps before the answer.
                let left = jump(test.values.len() - place + 1);
                body.push(step(IF_EQUAL, left, 0, *value));
            }
            // None fits: the call's number again, for the rows below.
            body.push(step(LOAD, 0, 0, NUMBER_AT));
            body.push(step(JUMP, 0, 0, 1));
        }
        body.push(step(ANSWER, 0, 0, row.verdict.word()));
        steps.push(step(IF_EQUAL, 0, jump(body.len()), number));
        steps.extend(body);
    }
    steps.push(step(ANSWER, 0, 0, otherwise.word()));
    steps
}

/// A jump over so many steps. Rows are short: no list of values here comes near what a jump holds.
fn jump(steps: usize) -> u8 {
    u8::try_from(steps).expect("a row of the tables is shorter than 256 steps")
}

#[cfg(test)]
mod tests;
