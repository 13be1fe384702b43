//! The keys that PID 1 reads of the kernel's command line.
//!
//! Whatever else stands there is the kernel's. A key of ours that makes no sense is told and otherwise as if it were
//! not there: a machine must boot whatever its command line says.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;

/// Key: what the machine is to be.
pub const ROLE: &str = "lifeboat.role";
/// Key, as often as wanted: a device to show the console on, `ttyS0` or `tty0`.
pub const CONSOLE: &str = "lifeboat.console";
/// Key: `1` for additional lines on the console that machines read.
pub const TEST: &str = "lifeboat.test";
/// Key, with `lifeboat.test=1` only: what the machine does again and again for a test to disturb it.
pub const EXERCISE: &str = "lifeboat.exercise";
/// What every such line begins with.
pub const TEST_LINE: &str = "@lifeboat ";

/// The longest that Linux on x86 hands over.
const BYTES_MAX: usize = 4096;

/// What a machine that was booted from the image does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who asks for the role must know what to do with each")]
pub enum Role {
    /// Protects other servers, day and night.
    Appliance,
    /// Protects the disks of the machine that it was booted on.
    Capture,
    /// Brings a server back onto the machine that it was booted on.
    Recover,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Appliance, Self::Capture, Self::Recover];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Capture => "capture",
            Self::Recover => "recover",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a machine does for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "who reads it must know each")]
pub enum Exercise {
    /// Writes its state without pause.
    State,
    /// Loads every module that the image holds.
    Modules,
    /// Tries io_uring where it is allowed and where it is not.
    Rings,
    /// Tries what somebody would who took a service over, and whether the machine is shut as it should be.
    Jail,
    /// The first process hangs, once it is ready.
    Hang,
    /// On the first try of a new version the kernel panics.
    Panic,
    /// A new version proves itself on no try: on the first it hangs, on the second a service fails.
    Trial,
}

impl Exercise {
    fn named(name: &str) -> Option<Self> {
        match name {
            "state" => Some(Self::State),
            "modules" => Some(Self::Modules),
            "rings" => Some(Self::Rings),
            "jail" => Some(Self::Jail),
            "hang" => Some(Self::Hang),
            "panic" => Some(Self::Panic),
            "trial" => Some(Self::Trial),
            _ => None,
        }
    }
}

/// What the command line says to PID 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The role, where one is named; the last one counts.
    pub role: Option<Role>,
    /// Devices to show the console on, in their order; empty where none is named.
    pub consoles: Vec<String>,
    /// Whether to print lines for machines.
    pub test: bool,
    /// What to do for a test; never without lines for machines.
    pub exercise: Option<Exercise>,
    /// What made no sense, in words for a person.
    pub problems: Vec<String>,
}

impl CommandLine {
    /// Reads it as `/proc/cmdline` gives it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        let text = text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or(text);
        for word in words(text) {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            match key {
                ROLE => match Role::named(value) {
                    Some(role) => line.role = Some(role),
                    None => line.problems.push(format!(
                        "{ROLE}={} on the kernel's command line is no role: appliance, capture or recover",
                        value.escape_debug()
                    )),
                },
                CONSOLE if device(value) => line.consoles.push(value.to_owned()),
                CONSOLE => line.problems.push(format!(
                    "{CONSOLE}={} on the kernel's command line names no terminal, such as ttyS0 or tty0",
                    value.escape_debug()
                )),
                TEST => line.test = value == "1",
                EXERCISE if Exercise::named(value).is_some() => {
                    line.exercise = Exercise::named(value);
                }
                other if other.starts_with("lifeboat.") => line.problems.push(format!(
                    "{} on the kernel's command line is unknown to this version",
                    other.escape_debug()
                )),
                _ => {}
            }
        }
        if !line.test && line.exercise.take().is_some() {
            line.problems.push(format!("{EXERCISE} is for tests only, with {TEST}=1"));
        }
        line
    }
}

/// The name of a file directly in `/dev`.
fn device(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.starts_with("tty") && letters && name.len() < 32
}

/// Words as the kernel parts them: at blanks, but not at those between double quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(core::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_keys_are_read_among_the_kernels() {
        let line = CommandLine::parse(
            "console=ttyS0 quiet lifeboat.role=capture lifeboat.console=ttyS0 panic=10 \
             lifeboat.console=tty0 lifeboat.test=1\n",
        );
        assert_eq!(line.role, Some(Role::Capture));
        assert_eq!(line.consoles, ["ttyS0", "tty0"]);
        assert!(line.test && line.problems.is_empty());
        assert_eq!(CommandLine::parse(""), CommandLine::default());
    }

    #[test]
    fn quotes_hold_words_together_as_in_the_kernel() {
        let line = CommandLine::parse(
            "dyndbg=\"file a.c +p lifeboat.role=capture\" \"lifeboat.role=recover\"",
        );
        assert_eq!(line.role, Some(Role::Recover));
        assert!(line.problems.is_empty());
        let open = CommandLine::parse("x=\"lifeboat.test=1");
        assert!(!open.test, "an open quote runs to the end");
    }

    #[test]
    fn nonsense_is_told_and_costs_nothing_else() {
        let line = CommandLine::parse(
            "lifeboat.role=king lifeboat.role=appliance lifeboat.console=../sda lifeboat.colour=red lifeboat.test=0",
        );
        assert_eq!(line.role, Some(Role::Appliance));
        assert!(!line.test && line.consoles.is_empty());
        assert_eq!(line.problems.len(), 3);
        assert!(line.problems[0].contains("king"), "{}", line.problems[0]);
    }

    #[test]
    fn nothing_is_exercised_outside_of_a_test() {
        let line = CommandLine::parse("lifeboat.exercise=state lifeboat.test=1");
        assert_eq!((line.exercise, line.problems.len()), (Some(Exercise::State), 0));
        let line = CommandLine::parse("lifeboat.exercise=modules");
        assert_eq!((line.exercise, line.problems.len()), (None, 1));
        let line = CommandLine::parse("lifeboat.exercise=dance lifeboat.test=1");
        assert_eq!((line.exercise, line.problems.len()), (None, 1));
    }

    #[test]
    fn every_role_is_read_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
        }
        assert_eq!(Role::named("Appliance"), None);
    }

    #[test]
    fn any_text_ends_in_an_answer() {
        let letters = ["lifeboat.", "role", "=", "\"", " ", "\n", "é", "\u{0}", "console", "tty"];
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(letters[usize::try_from(state >> 16).unwrap() % letters.len()]);
            }
            let line = CommandLine::parse(&text);
            assert!(line.consoles.len() + line.problems.len() <= 12);
        }
        let long = "é".repeat(BYTES_MAX);
        assert_eq!(CommandLine::parse(&long), CommandLine::default());
    }
}
