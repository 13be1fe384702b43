//! Instructions of the kernel's BPF machine, put together by hand: labels, jumps, and no more than programs here need.

use std::collections::HashMap;

/// A register. R0 is an answer, R1 to R5 are arguments and lost in calls, R6 to R9 stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their numbers are their names")]
pub(super) enum Register {
    R0 = 0,
    R1 = 1,
    R2 = 2,
    R3 = 3,
    R4 = 4,
    R6 = 6,
    R7 = 7,
    R8 = 8,
    R9 = 9,
    /// The end of the stack, which lies below it.
    Stack = 10,
}

/// How wide a load or store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 4 bytes.
    Word = 0x00,
    /// 1 byte.
    Byte = 0x10,
    /// 8 bytes.
    Double = 0x18,
}

/// What is done to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub(super) enum Operation {
    Add = 0x00,
    Subtract = 0x10,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
}

/// When a jump is taken; numbers are compared without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub(super) enum Condition {
    Equal = 0x10,
    NotEqual = 0x50,
    Below = 0xA0,
    AtMost = 0xB0,
}

/// Functions of the kernel's that programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helper {
    /// R1 a map, R2 a key: R0 where its value is, or 0.
    Lookup = 1,
    /// R1 a map, R2 a key, R3 a value, R4 how.
    Update = 2,
}

/// A place in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Label(u32);

/// A program as it grows.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<u64>,
    labels: u32,
    places: HashMap<Label, usize>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A place that is not put anywhere yet.
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    /// Puts a place here.
    pub(super) fn place(&mut self, label: Label) {
        self.places.insert(label, self.code.len());
    }

    /// `to = from`
    pub(super) fn copy(&mut self, to: Register, from: Register) {
        self.push(0xBF, to, from, 0, 0);
    }

    /// `to` = the lower half of `from`: a number, also where that is a pointer.
    pub(super) fn copy_half(&mut self, to: Register, from: Register) {
        self.push(0xBC, to, from, 0, 0);
    }

    /// `to = value`
    pub(super) fn set(&mut self, to: Register, value: i32) {
        self.push(0xB7, to, Register::R0, 0, value);
    }

    /// `to = to OPERATION value`
    pub(super) fn with(&mut self, operation: Operation, to: Register, value: i32) {
        self.push(0x07 | operation as u8, to, Register::R0, 0, value);
    }

    /// `to = to OPERATION from`
    pub(super) fn with_register(&mut self, operation: Operation, to: Register, from: Register) {
        self.push(0x0F | operation as u8, to, from, 0, 0);
    }

    /// `to = *(from + at)`
    pub(super) fn load(&mut self, width: Width, to: Register, from: Register, at: i16) {
        self.push(0x61 | width as u8, to, from, at, 0);
    }

    /// `*(to + at) = from`
    pub(super) fn store(&mut self, width: Width, to: Register, at: i16, from: Register) {
        self.push(0x63 | width as u8, to, from, at, 0);
    }

    /// `*(to + at) = value`
    pub(super) fn store_value(&mut self, width: Width, to: Register, at: i16, value: i32) {
        self.push(0x62 | width as u8, to, Register::R0, at, value);
    }

    /// `*(to + at) += from`, 64 bits, whoever else adds.
    pub(super) fn add_atomically(&mut self, to: Register, at: i16, from: Register) {
        self.push(0xDB, to, from, at, 0);
    }

    /// Calls a function of the kernel's.
    pub(super) fn call(&mut self, helper: Helper) {
        self.push(0x85, Register::R0, Register::R0, 0, helper as i32);
    }

    /// Ends the program with what R0 holds.
    pub(super) fn exit(&mut self) {
        self.push(0x95, Register::R0, Register::R0, 0, 0);
    }

    /// `to` = the map of this descriptor.
    pub(super) fn map(&mut self, to: Register, descriptor: i32) {
        // Two instructions wide; 1 in place of the source says that it is a map.
        self.code.push(encoded(0x18, to as u8, 1, 0, descriptor));
        self.code.push(0);
    }

    /// Goes on there.
    pub(super) fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(0x05, Register::R0, Register::R0, 0, 0);
    }

    /// Goes on there if it is so.
    pub(super) fn jump_if(
        &mut self,
        left: Register,
        condition: Condition,
        right: i32,
        label: Label,
    ) {
        self.jumps.push((self.code.len(), label));
        self.push(0x05 | condition as u8, left, Register::R0, 0, right);
    }

    /// Goes on there if it is so of two registers.
    pub(super) fn jump_if_registers(
        &mut self,
        left: Register,
        condition: Condition,
        right: Register,
        label: Label,
    ) {
        self.jumps.push((self.code.len(), label));
        self.push(0x0D | condition as u8, left, right, 0, 0);
    }

    /// The finished program.
    ///
    /// # Errors
    /// A jump goes nowhere or too far: a mistake of ours.
    pub(super) fn finish(mut self) -> Result<Vec<u64>, String> {
        for (at, label) in &self.jumps {
            let place = self.places.get(label).ok_or("a jump to nowhere in a program of ours")?;
            let distance =
                i64::try_from(*place).unwrap_or(i64::MAX) - i64::try_from(*at).unwrap_or(0) - 1;
            let distance =
                i16::try_from(distance).map_err(|_| "a jump too far in a program of ours")?;
            if let Some(instruction) = self.code.get_mut(*at) {
                *instruction |= u64::from(distance.cast_unsigned()) << 16;
            }
        }
        Ok(self.code)
    }

    fn push(&mut self, code: u8, to: Register, from: Register, at: i16, value: i32) {
        self.code.push(encoded(code, to as u8, from as u8, at, value));
    }
}

fn encoded(code: u8, to: u8, from: u8, at: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(to) << 8
        | u64::from(from) << 12
        | u64::from(at.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_the_kernels() {
        let mut assembler = Assembler::default();
        let (again, end) = (assembler.label(), assembler.label());
        assembler.set(Register::R6, 3);
        assembler.place(again);
        assembler.with(Operation::Subtract, Register::R6, 1);
        assembler.jump_if(Register::R6, Condition::Equal, 0, end);
        assembler.jump(again);
        assembler.place(end);
        assembler.map(Register::R1, 9);
        assembler.load(Width::Double, Register::R2, Register::Stack, -8);
        assembler.exit();
        let code = assembler.finish().unwrap();
        let expected: [u64; 8] = [
            0x0000_0003_0000_06B7,
            0x0000_0001_0000_0617,
            0x0000_0000_0001_0615,
            0x0000_0000_FFFD_0005,
            0x0000_0009_0000_1118,
            0,
            0x0000_0000_FFF8_A279,
            0x95,
        ];
        assert_eq!(code, expected, "{code:#018x?}");
    }

    #[test]
    fn a_jump_to_nowhere_is_an_error() {
        let mut assembler = Assembler::default();
        let label = assembler.label();
        assembler.jump(label);
        assert!(assembler.finish().is_err());
    }
}
