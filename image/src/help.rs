//! The program of UEFI that is started where neither slot of a medium is one: it says what to do, waits for a key, and starts the
//! machine again. Without it the boot manager would take the next best entry, which gives keys to the firmware.
//!
//! It is made here, byte for byte: there are no tools for programs of UEFI on whoever builds, and it does four things.

/// What it says. A screen has 80 columns.
const WORDS: &[&str] = &[
    "",
    "Lifeboat cannot start: neither of the two systems on this medium is whole.",
    "",
    "  1. Start the machine again: a stick or drive may have answered badly once.",
    "  2. Write the image of the version that ran here, or a newer one, to a NEW",
    "     stick, and start from that. The recovery key, or the passphrase and the",
    "     settings of this site, are asked for by its page.",
    "  3. Keep this medium until then: what the machine remembers is on its last",
    "     partition, and is not damaged by this.",
    "",
    "What was sent to the vault is not touched by this, and can be recovered from",
    "any machine with the vault and the recovery key.",
    "",
    "Press a key to start the machine again.",
];
/// The machine's code, for the calling convention of UEFI: first arguments in rcx, rdx, r8 and r9, 32 bytes of room on the stack.
/// Offsets are those of UEFI 2.10: system table 4.3, boot services 4.4, runtime services 4.5, text 12.3 and 12.4.
const CODE: &[&[u8]] = &[
    &[0x53],                   // push rbx
    &[0x56],                   // push rsi
    &[0x48, 0x83, 0xec, 0x38], // sub rsp, 56
    &[0x48, 0x89, 0xd3],       // mov rbx, rdx: the system table
    // The firmware's clock would start the machine again in five minutes: SetWatchdogTimer(0, 0, 0, null).
    &[0x31, 0xc9],                         // xor ecx, ecx
    &[0x31, 0xd2],                         // xor edx, edx
    &[0x45, 0x31, 0xc0],                   // xor r8d, r8d
    &[0x45, 0x31, 0xc9],                   // xor r9d, r9d
    &[0x48, 0x8b, 0x43, 0x60],             // mov rax, [rbx + 96]: boot services
    &[0xff, 0x90, 0x00, 0x01, 0x00, 0x00], // call [rax + 256]
    // ConOut->OutputString(line), one after another: a serial line that is too slow for the firmware costs the rest of one, not
    // all that follows.
    LEA,                             // lea rsi, [rip + lines]
    &[0x66, 0x83, 0x3e, 0x00],       // next: cmp word [rsi], 0
    &[0x74, 0x17],                   // je done
    &[0x48, 0x8b, 0x4b, 0x40],       // mov rcx, [rbx + 64]
    &[0x48, 0x89, 0xf2],             // mov rdx, rsi
    &[0xff, 0x51, 0x08],             // call [rcx + 8]
    &[0x48, 0x83, 0xc6, 0x02],       // skip: add rsi, 2
    &[0x66, 0x83, 0x7e, 0xfe, 0x00], // cmp word [rsi - 2], 0
    &[0x75, 0xf5],                   // jne skip
    &[0xeb, 0xe3],                   // jmp next; done:
    // ConIn->Reset(false): a key that was pressed before is none.
    &[0x48, 0x8b, 0x4b, 0x30], // mov rcx, [rbx + 48]
    &[0x31, 0xd2],             // xor edx, edx
    &[0xff, 0x11],             // call [rcx]
    // WaitForEvent(1, &ConIn->WaitForKey, &index)
    &[0x48, 0x8b, 0x53, 0x30],       // mov rdx, [rbx + 48]
    &[0x48, 0x83, 0xc2, 0x10],       // add rdx, 16
    &[0xb9, 0x01, 0x00, 0x00, 0x00], // mov ecx, 1
    &[0x4c, 0x8d, 0x44, 0x24, 0x28], // lea r8, [rsp + 40]
    &[0x48, 0x8b, 0x43, 0x60],       // mov rax, [rbx + 96]
    &[0xff, 0x50, 0x60],             // call [rax + 96]
    // ResetSystem(cold, 0, 0, null), which does not come back.
    &[0x31, 0xc9],             // xor ecx, ecx
    &[0x31, 0xd2],             // xor edx, edx
    &[0x45, 0x31, 0xc0],       // xor r8d, r8d
    &[0x45, 0x31, 0xc9],       // xor r9d, r9d
    &[0x48, 0x8b, 0x43, 0x58], // mov rax, [rbx + 88]: runtime services
    &[0xff, 0x50, 0x68],       // call [rax + 104]
    &[0xeb, 0xfe],             // jmp $
];
/// The instruction whose last four bytes say where the lines are.
const LEA: &[u8] = &[0x48, 0x8d, 0x35, 0, 0, 0, 0];
const FILE_ALIGN: usize = 512;
const PAGE: usize = 4096;
/// Bytes of the headers: of DOS, PE, COFF, the optional one with 16 directories, and one section.
const PE_AT: usize = 64;
const OPTIONAL_BYTES: usize = 112 + 16 * 8;

/// The program, unsigned.
#[must_use]
pub fn program() -> Vec<u8> {
    let section = section();
    let stored = section.len().next_multiple_of(FILE_ALIGN);
    let mut bytes = vec![0; PE_AT];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60] = 64;
    bytes.extend(b"PE\0\0");
    // x86-64, one section, no time, no symbols; a program that may lie anywhere.
    halves(&mut bytes, &[0x8664, 1, 0, 0, 0, 0, 0, 0, 240, 0x0022]);
    // 64 bits, no linker's version.
    halves(&mut bytes, &[0x020b, 0]);
    words(&mut bytes, &[stored, 0, 0, PAGE, PAGE]);
    // Where it would like to lie.
    words(&mut bytes, &[0, 0, PAGE, FILE_ALIGN]);
    halves(&mut bytes, &[0; 8]);
    words(&mut bytes, &[2 * PAGE, FILE_ALIGN, 0]);
    // A program of UEFI, none of whose pages is both written and run.
    halves(&mut bytes, &[10, 0x0100]);
    words(&mut bytes, &[0; 8]);
    words(&mut bytes, &[0, 16]);
    bytes.resize(PE_AT + 24 + OPTIONAL_BYTES, 0);
    bytes.extend(b".text\0\0\0");
    words(&mut bytes, &[section.len(), PAGE, stored, FILE_ALIGN, 0, 0, 0]);
    // Code, run and read.
    halves(&mut bytes, &[0x0020, 0x6000]);
    bytes.resize(FILE_ALIGN, 0);
    bytes.extend(section);
    bytes.resize(FILE_ALIGN + stored, 0);
    bytes
}

/// Code, and behind it the lines, each with a zero behind it, and another behind the last.
fn section() -> Vec<u8> {
    let mut bytes: Vec<u8> = CODE.concat();
    let code = bytes.len();
    let lea = CODE.iter().take_while(|part| **part != LEA).map(|part| part.len()).sum::<usize>();
    let next = lea + LEA.len();
    let distance = u32::try_from(code - next).unwrap_or_default().to_le_bytes();
    bytes[next - 4..next].copy_from_slice(&distance);
    for line in WORDS {
        bytes.extend(line.encode_utf16().chain([13, 10, 0]).flat_map(u16::to_le_bytes));
    }
    bytes.extend([0, 0]);
    bytes
}

fn halves(bytes: &mut Vec<u8>, values: &[u16]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn words(bytes: &mut Vec<u8>, values: &[usize]) {
    let word = |value: &usize| u32::try_from(*value).unwrap_or_default().to_le_bytes();
    bytes.extend(values.iter().flat_map(word));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pe;

    /// That it runs, `tests/tests/secure_boot.rs` shows.
    #[test]
    fn it_is_a_program_that_others_would_sign_and_fits_a_screen() {
        let program = program();
        assert!(!pe::is_signed(&program));
        let sections = pe::sections(&program).unwrap();
        assert_eq!(sections.len(), 1);
        assert_eq!((sections[0].0.as_str(), sections[0].1), (".text", section().as_slice()));
        assert!(section().len() <= PAGE, "what it is in memory");
        assert!(WORDS.iter().all(|line| line.is_ascii() && line.len() < 80) && WORDS.len() < 24);
    }
}
