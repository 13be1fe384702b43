//! The two programs in the kernel.
//!
//! *Completion* runs when the kernel learns that a request is done, before whoever waits for it: so whoever saw a write
//! finish finds it marked. It marks by plain stores of a byte: nothing is read back, so no mark is lost to another
//! processor or to the agent that clears them. *Learning* runs where NVMe's own multipath hands a write from the disk
//! to a path whose number stands nowhere in sysfs.
//!
//! They are licensed under the GPL-2.0 too, besides the licence of everything else here: kernels since 6.2 let no
//! others read their structures.

use super::assembler::{Assembler, Condition, Helper, Label, Operation, Register, Width};
use super::layout::{BLOCK_SHIFT, COPIES, LEVEL_SHIFT, LEVELS, PAGE_BYTES, slot};
use super::places::Fields;

use Condition::{AtMost, Below, Equal, NotEqual};
use Operation::{Add, And, Or, ShiftLeft, ShiftRight, Subtract};
use Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, Stack};
use Width::{Byte, Double, Word};

/// What the kernel is told of the programs' licence.
pub(super) const LICENSE: &str = "GPL";
/// Stores for one range less one: a write of 1 MiB is 17 blocks at most.
const SPAN: i32 = 16;
/// The same for one of many ranges: the verifier looks at each of them again and again.
const SPAN_OF_MANY: i32 = 3;
/// Ranges of one request. Drivers take at most 256.
const RANGES_MAX: i32 = 260;
/// The kernel's number for discards.
const DISCARD: i32 = 3;
/// From here on operations are drivers' own.
const PASSTHROUGH: i32 = 32;
/// Places in the stack.
const KEY: i16 = -8;
const REQUEST: i16 = -16;
const BYTES: i16 = -24;
const OPERATION: i16 = -32;
const PAGE: i16 = -40;
const BIO: i16 = -48;
/// Requests of one processor that copies tell each other of. Two that complete inside of each other must not share a place:
/// one would be counted twice, and a disk compared for nothing.
pub(super) const SEEN: u16 = 4 * SETS;
const SETS: u16 = 256;
/// Four that would have the same place stand beside each other, so many bytes from its start: of some the last copy never ran.
const WAYS: [i16; 4] = [0, 8, 16, 24];
/// A set takes this power of two of bytes.
const SET_SHIFT: i32 = 5;
/// A driver's requests lie in a row, this many bits apart or more: those of one queue never share a place.
const REQUEST_SHIFT: i32 = 6;
/// They lie in chunks that begin at multiples of this power of two.
const CHUNK_SHIFT: i32 = 16;

/// When a write is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moment {
    /// When it is done.
    #[default]
    Completion,
    /// When it is handed to the driver: wrong, as what is on the disk is then still the old.
    Issue,
}

/// How the programs are made. Everything but the default is wrong, and there for tests that must see it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Making {
    /// When writes are marked.
    pub moment: Moment,
    /// How many copies, 1 to 3.
    pub copies: u8,
    /// Turns of an empty loop in each run.
    pub delay: u16,
    /// Whether the ranges of a discard are looked at one by one.
    pub walk: bool,
}

impl Default for Making {
    fn default() -> Self {
        Self { moment: Moment::Completion, copies: COPIES, delay: 0, walk: true }
    }
}

/// Descriptors of the maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    pub(super) marks: i32,
    pub(super) slots: i32,
    pub(super) disks: i32,
    pub(super) seen: i32,
}

/// The program that marks; `copy` counts from 0.
pub(super) fn marker(
    fields: &Fields,
    maps: Descriptors,
    making: Making,
    copy: u8,
) -> Result<Vec<u64>, String> {
    let mut program = Marker { code: Assembler::default(), fields, maps, making, copy };
    let out = program.code.label();
    program.begin(out);
    program.find_slot(out);
    program.delay();
    program.passthrough(out);
    program.count();
    if making.walk {
        program.many_ranges(out);
    }
    program.one_range(out);
    program.code.place(out);
    program.code.set(R0, 0);
    program.code.exit();
    program.code.finish()
}

struct Marker<'a> {
    code: Assembler,
    fields: &'a Fields,
    maps: Descriptors,
    making: Making,
    copy: u8,
}

impl Marker<'_> {
    /// Keeps the request, its bytes and its operation; goes out where it writes nothing.
    fn begin(&mut self, out: Label) {
        let (code, fields) = (&mut self.code, self.fields);
        code.copy(R9, R1);
        match self.making.moment {
            Moment::Completion => {
                code.load(Double, R6, R9, 0);
                code.load(Word, R1, R9, 16);
            }
            Moment::Issue => {
                code.load(Double, R6, R9, fields.issued_argument * 8);
                code.load(Word, R1, R6, fields.request_bytes);
            }
        }
        code.store(Double, Stack, BYTES, R1);
        code.store(Double, Stack, REQUEST, R6);
        code.load(Word, R8, R6, fields.request_flags);
        code.with(And, R8, 0xFF);
        code.store(Double, Stack, OPERATION, R8);
        // All that change a disk are odd: writes, discards, zeros, and drivers' own commands with data.
        code.with(And, R8, 1);
        code.jump_if(R8, Equal, 0, out);
    }

    /// R7 becomes the disk's slot; goes out where it is not tracked.
    fn find_slot(&mut self, out: Label) {
        let (code, fields) = (&mut self.code, self.fields);
        match fields.request_disk {
            Some(at) => code.load(Double, R6, R6, at),
            None => {
                code.load(Double, R6, R6, fields.request_queue);
                code.jump_if(R6, Equal, 0, out);
                code.load(Double, R6, R6, fields.queue_disk);
            }
        }
        code.jump_if(R6, Equal, 0, out);
        number_of_disk(code, fields);
        lookup(code, self.maps.disks, KEY, out);
        code.load(Word, R1, R0, 0);
        code.store(Word, Stack, PAGE, R1);
        lookup(code, self.maps.slots, PAGE, out);
        code.copy(R7, R0);
    }

    fn delay(&mut self) {
        if self.making.delay > 0 {
            let code = &mut self.code;
            code.set(R6, i32::from(self.making.delay));
            let again = code.label();
            code.place(again);
            code.with(Subtract, R6, 1);
            code.jump_if(R6, NotEqual, 0, again);
        }
    }

    fn passthrough(&mut self, out: Label) {
        let code = &mut self.code;
        let known = code.label();
        code.load(Double, R1, Stack, OPERATION);
        code.jump_if(R1, Below, PASSTHROUGH, known);
        add_one(code, slot::PASSTHROUGH);
        code.jump(out);
        code.place(known);
    }

    /// Counts the sectors: those that this copy saw, and once those that any copy saw.
    fn count(&mut self) {
        let code = &mut self.code;
        let counted = code.label();
        code.load(Double, R9, Stack, BYTES);
        code.with(ShiftRight, R9, 9);
        code.add_atomically(R7, offset(slot::SECTORS_OF + 8 * self.copy), R9);
        code.store_value(Word, Stack, KEY, 0);
        lookup(code, self.maps.seen, KEY, counted);
        // Where the request lies tells it from others that are completing on this processor, and what it writes to from
        // its own use before, of which the last copy may not have run: the lower halves of both are one number.
        code.load(Double, R6, Stack, REQUEST);
        code.load(Double, R8, R6, self.fields.request_sector);
        code.copy(R2, R8);
        code.copy_half(R1, R6);
        code.with(ShiftLeft, R8, 32);
        code.with_register(Or, R8, R1);
        // Where it may be noted. Queues have their requests at the same places of chunks of their own: so the chunk counts,
        // and which block is written.
        code.with(ShiftRight, R2, i32::from(BLOCK_SHIFT) - 9);
        code.copy(R3, R1);
        code.with(ShiftRight, R3, CHUNK_SHIFT);
        code.with(ShiftRight, R1, REQUEST_SHIFT);
        code.with_register(Add, R1, R2);
        code.with_register(Add, R1, R3);
        code.with(And, R1, i32::from(SETS) - 1);
        code.with(ShiftLeft, R1, SET_SHIFT);
        code.with_register(Add, R0, R1);
        if self.copy > 0 {
            let last = self.copy + 1 == self.making.copies;
            at_way(code, R8, |code, at| {
                if last {
                    code.store_value(Double, R0, at, 0);
                }
                code.jump(counted);
            });
        }
        // The last one leaves nothing behind, as the same request will come again with another write.
        if self.copy + 1 < self.making.copies {
            let noted = code.label();
            code.set(R2, 0);
            at_way(code, R2, |code, at| {
                code.store(Double, R0, at, R8);
                code.jump(noted);
            });
            code.store(Double, R0, 0, R8);
            code.place(noted);
        }
        code.add_atomically(R7, offset(slot::SECTORS), R9);
        add_one(code, slot::WRITES);
        code.place(counted);
    }

    /// A discard of several ranges, which lie anywhere; goes on behind this where there is but one.
    fn many_ranges(&mut self, out: Label) {
        let fields = self.fields;
        let (single, again, next) = (self.code.label(), self.code.label(), self.code.label());
        let code = &mut self.code;
        code.load(Double, R1, Stack, OPERATION);
        code.jump_if(R1, NotEqual, DISCARD, single);
        code.load(Double, R6, Stack, REQUEST);
        code.load(Double, R8, R6, fields.request_bio);
        code.jump_if(R8, Equal, 0, single);
        code.store(Double, Stack, BIO, R8);
        code.load(Double, R9, R8, fields.bio_next);
        code.jump_if(R9, Equal, 0, single);
        add_one(code, slot::RANGES);
        code.set(R6, RANGES_MAX);
        code.place(again);
        code.load(Double, R8, Stack, BIO);
        code.load(Double, R1, R8, fields.bio_sector);
        code.load(Word, R2, R8, fields.bio_bytes);
        code.jump_if(R2, Equal, 0, next);
        self.mark(SPAN_OF_MANY);
        let code = &mut self.code;
        code.place(next);
        code.load(Double, R8, Stack, BIO);
        code.load(Double, R8, R8, fields.bio_next);
        code.jump_if(R8, Equal, 0, out);
        code.store(Double, Stack, BIO, R8);
        code.with(Subtract, R6, 1);
        code.jump_if(R6, NotEqual, 0, again);
        add_one(code, slot::LOST);
        code.jump(out);
        code.place(single);
    }

    fn one_range(&mut self, out: Label) {
        let code = &mut self.code;
        code.load(Double, R6, Stack, REQUEST);
        code.load(Double, R1, R6, self.fields.request_sector);
        code.load(Double, R2, Stack, BYTES);
        code.jump_if(R2, Equal, 0, out);
        self.mark(SPAN);
    }

    /// Marks from sector R1 on R2 bytes, by at most `span` + 1 stores. R6 and R7 stay.
    fn mark(&mut self, span: i32) {
        let (done, unmarked) = (self.code.label(), self.code.label());
        self.blocks_of_sectors(done);
        let (code, maps) = (&mut self.code, self.maps);
        let common = code.label();
        let fits: Vec<Label> = (0..LEVELS).map(|_| code.label()).collect();
        for fits in &fits {
            code.copy(R3, R2);
            code.with_register(Subtract, R3, R1);
            code.jump_if(R3, AtMost, span, *fits);
            code.with(ShiftRight, R1, i32::from(LEVEL_SHIFT));
            code.with(ShiftRight, R2, i32::from(LEVEL_SHIFT));
        }
        code.jump(unmarked);
        for (level, fits) in (0..).zip(&fits) {
            code.place(*fits);
            code.load(Double, R4, R7, offset(slot::LEVEL + 8 * level));
            code.jump(common);
        }
        code.place(common);
        code.copy(R8, R1);
        code.with_register(Add, R8, R4);
        code.copy(R9, R3);
        for store in 0..=span {
            code.copy(R1, R8);
            code.with(ShiftRight, R1, PAGE_BYTES.ilog2().cast_signed());
            code.store(Word, Stack, PAGE, R1);
            lookup(code, maps.marks, PAGE, unmarked);
            code.copy(R1, R8);
            code.with(And, R1, PAGE_BYTES.cast_signed() - 1);
            code.with_register(Add, R0, R1);
            code.store_value(Byte, R0, 0, 1);
            if store < span {
                code.jump_if(R9, Equal, 0, done);
                code.with(Subtract, R9, 1);
                code.with(Add, R8, 1);
            }
        }
        code.jump(done);
        code.place(unmarked);
        add_one(code, slot::LOST);
        code.place(done);
    }

    /// Sector R1 and bytes R2 become the first block and the last; what lies beyond the disk is counted and cut off.
    fn blocks_of_sectors(&mut self, done: Label) {
        let code = &mut self.code;
        let (within, begins) = (code.label(), code.label());
        code.with(ShiftLeft, R1, 9);
        code.with_register(Add, R2, R1);
        code.with(Subtract, R2, 1);
        code.with(ShiftRight, R1, i32::from(BLOCK_SHIFT));
        code.with(ShiftRight, R2, i32::from(BLOCK_SHIFT));
        code.load(Double, R3, R7, offset(slot::BLOCKS));
        code.jump_if_registers(R2, Below, R3, within);
        code.set(R4, 1);
        code.add_atomically(R7, offset(slot::BEYOND), R4);
        code.jump_if_registers(R1, Below, R3, begins);
        code.jump(done);
        code.place(begins);
        code.copy(R2, R3);
        code.with(Subtract, R2, 1);
        code.place(within);
    }
}

/// Does something where the first of the places from R0 on holds what this register does; goes on behind it where none does.
fn at_way(code: &mut Assembler, wanted: Register, act: impl Fn(&mut Assembler, i16)) {
    for at in WAYS {
        let other = code.label();
        code.load(Double, R1, R0, at);
        code.jump_if_registers(R1, NotEqual, wanted, other);
        act(code, at);
        code.place(other);
    }
}

/// The program that learns the numbers of NVMe's paths.
pub(super) fn learner(fields: &Fields, disks: i32) -> Result<Vec<u64>, String> {
    const SLOT: i16 = -24;
    let mut code = Assembler::default();
    let (out, unknown) = (code.label(), code.label());
    code.load(Double, R6, R1, fields.remapped_argument * 8);
    // From which disk it came.
    code.load(Double, R8, R1, fields.remapped_argument * 8 + 8);
    code.store(Word, Stack, KEY, R8);
    lookup(&mut code, disks, KEY, out);
    code.load(Word, R7, R0, 0);
    code.store(Word, Stack, SLOT, R7);
    // Where it goes.
    code.load(Double, R6, R6, fields.bio_device);
    code.jump_if(R6, Equal, 0, out);
    if let Some(at) = fields.device_disk {
        code.load(Double, R6, R6, at);
        code.jump_if(R6, Equal, 0, out);
    }
    number_of_disk(&mut code, fields);
    lookup(&mut code, disks, KEY, unknown);
    code.jump(out);
    code.place(unknown);
    for (register, at) in [(R2, KEY), (R3, SLOT)] {
        code.copy(register, Stack);
        code.with(Add, register, i32::from(at));
    }
    code.map(R1, disks);
    // Only where it is still unknown.
    code.set(R4, 1);
    code.call(Helper::Update);
    code.place(out);
    code.set(R0, 0);
    code.exit();
    code.finish()
}

/// The number of the disk R6 as a key on the stack.
fn number_of_disk(code: &mut Assembler, fields: &Fields) {
    code.load(Word, R8, R6, fields.disk_major);
    code.load(Word, R9, R6, fields.disk_minor);
    code.with(ShiftLeft, R8, 20);
    code.with_register(Or, R8, R9);
    code.store(Word, Stack, KEY, R8);
}

/// R0 becomes where the value of a key on the stack is.
fn lookup(code: &mut Assembler, map: i32, key: i16, missing: Label) {
    code.copy(R2, Stack);
    code.with(Add, R2, i32::from(key));
    code.map(R1, map);
    code.call(Helper::Lookup);
    code.jump_if(R0, Equal, 0, missing);
}

fn add_one(code: &mut Assembler, at: u8) {
    code.set(R3, 1);
    code.add_atomically(R7, offset(at), R3);
}

fn offset(at: u8) -> i16 {
    i16::from(at)
}
