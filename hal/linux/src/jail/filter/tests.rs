//! The programs, judged by an interpreter of our own: what each call ends with.

use super::*;

/// Runs a program over one call, as the kernel does.
fn judge(steps: &[sock_filter], architecture: u32, call: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut held) = (0, 0_u32);
    loop {
        let step = steps[at];
        at += 1;
        let branch = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
        match step.code {
            LOAD => {
                held = match step.k {
                    NUMBER_AT => call,
                    ARCHITECTURE_AT => architecture,
                    place => {
                        let argument = usize::try_from((place - ARGUMENTS_AT) / 8).unwrap();
                        assert_eq!((place - ARGUMENTS_AT) % 8, 0, "the low half");
                        u32::try_from(arguments[argument] & 0xFFFF_FFFF).unwrap()
                    }
                }
            }
            AND => held &= step.k,
            IF_EQUAL => at += branch(held == step.k),
            IF_AT_LEAST => at += branch(held >= step.k),
            JUMP => at += usize::try_from(step.k).unwrap(),
            ANSWER => return step.k,
            other => panic!("no such step: {other:#x}"),
        }
    }
}

const ROWS: [Row; 5] = [
    Row { call: 0, test: None, verdict: Verdict::Allow },
    Row {
        call: 41,
        test: Some(Test { argument: 0, mask: !0, values: &[2, 10] }),
        verdict: Verdict::Allow,
    },
    Row {
        call: 41,
        test: Some(Test { argument: 1, mask: 0xF, values: &[5] }),
        verdict: Verdict::Allow,
    },
    Row {
        call: 9,
        test: Some(Test { argument: 2, mask: 4, values: &[0] }),
        verdict: Verdict::Allow,
    },
    Row { call: 435, test: None, verdict: Verdict::Refuse(38) },
];

const ALLOW: u32 = Verdict::Allow.word();
const KILL: u32 = Verdict::Kill.word();

#[test]
fn each_call_ends_as_its_rows_say_and_what_is_on_no_list_ends_the_process() {
    let steps = program(&ROWS, Verdict::Kill, Verdict::Kill);
    let ask = |call, arguments| judge(&steps, ARCHITECTURE, call, arguments);
    let first = |value: u64| [value, 0, 0, 0, 0, 0];
    assert_eq!(ask(0, first(7)), ALLOW);
    assert_eq!(
        [2, 10, 16, 17, 0].map(|domain| ask(41, first(domain))),
        [ALLOW, ALLOW, KILL, KILL, KILL]
    );
    assert_eq!(ask(41, [16, 0x85, 0, 0, 0, 0]), ALLOW, "the second row for the same call");
    assert_eq!(ask(41, [16, 0x83, 0, 0, 0, 0]), KILL);
    // The high half of an int is nothing to the kernel, and must not open a way around.
    assert_eq!(ask(41, first(0xFFFF_FFFF_0000_0002)), ALLOW);
    assert_eq!(ask(41, first(0xFFFF_FFFF_0000_0010)), KILL);
    for (protection, verdict) in [(0, ALLOW), (3, ALLOW), (4, KILL), (7, KILL), (5, KILL)] {
        assert_eq!(ask(9, [0, 0, protection, 0, 0, 0]), verdict, "{protection}");
    }
    assert_eq!(ask(435, [0; 6]), 0x0005_0026);
    for call in [1, 8, 10, 40, 42, 434, 436, 0x3FFF_FFFF] {
        assert_eq!(ask(call, [0; 6]), KILL, "{call}");
    }
}

#[test]
fn neither_another_architecture_nor_the_other_interface_is_judged_by_number() {
    let steps = program(&ROWS, Verdict::Allow, Verdict::Kill);
    assert_eq!(judge(&steps, ARCHITECTURE, 12, [0; 6]), ALLOW);
    for (architecture, call) in
        [(0x4000_0003, 0), (0xC000_00B7, 0), (ARCHITECTURE, OTHER_INTERFACE), (ARCHITECTURE, !0)]
    {
        assert_eq!(judge(&steps, architecture, call, [0; 6]), KILL, "{architecture:#x} {call:#x}");
    }
}
