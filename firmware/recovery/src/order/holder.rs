//! Who carries an order out at the moment, so that two do not, and so that a killed one is not waited for.
//!
//! Times are the vault's own, which no wall clock of ours can turn.

use serde::{Deserialize, Serialize};

/// For how long nobody else may go on after the last sign of life.
pub const HOLD_MILLIS: u64 = 90_000;

/// Who carries an order out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who, as `USER@HOST`.
    pub who: String,
    /// The machine and its start, so that a process of the same machine can be looked for.
    pub machine: String,
    /// The process and its start.
    pub process: String,
    /// Until when, by the vault's clock, it counts without another sign.
    pub until_millis: u64,
}

/// Whether somebody may go on with what `holder` had.
#[must_use]
pub fn may_take_over(
    holder: &Holder,
    me: &Holder,
    now_millis: u64,
    runs_here: &dyn Fn(&str) -> bool,
) -> bool {
    if holder.machine == me.machine {
        return holder.process == me.process || !runs_here(&holder.process);
    }
    now_millis > holder.until_millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(machine: &str, process: &str) -> Holder {
        Holder {
            who: "ann@one".to_owned(),
            machine: machine.to_owned(),
            process: process.to_owned(),
            until_millis: 1000,
        }
    }

    #[test]
    fn a_dead_process_of_this_machine_is_not_waited_for_and_a_foreign_one_is() {
        let me = holder("one", "2");
        let nobody = |_: &str| false;
        let runs = |_: &str| true;
        assert!(may_take_over(&holder("one", "1"), &me, 5, &nobody));
        assert!(!may_take_over(&holder("one", "1"), &me, 5000, &runs));
        assert!(may_take_over(&holder("one", "2"), &me, 5, &runs), "it is this one");
        assert!(!may_take_over(&holder("two", "1"), &me, 1000, &nobody));
        assert!(may_take_over(&holder("two", "1"), &me, 1001, &runs));
    }
}
