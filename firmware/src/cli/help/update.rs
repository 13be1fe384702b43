//! The long text of `update`.

/// `update`
pub(in super::super) const UPDATE: &str = "\
Examples:
  lifeboat update lifeboat-0.2.0.update --check --keys release-keys
  lifeboat update lifeboat-0.2.0.update --medium /dev/sdb --running a --keys release-keys

On an appliance this is done at its console (key u) or by its API; by hand it is for a medium that is
plugged into another machine. The update goes into the slot that does not run: its signature is checked before
anything of it is used, what was written is read back, and only then the boot manager sees it. It is tried three
times; a system that proves itself is kept, and otherwise the machine goes back to the one before by itself.

Refused, with nothing written: what is not signed, is for another kind of machine, is no newer than what runs, or
is older than what the machine lets in. What is cut off or damaged leaves the other slot empty and the running one
as it was.

Exit codes: 0 done, 1 failed or refused, 2 wrong command line.";
