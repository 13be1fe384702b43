//! Everything that was ever sealed and left a machine: no key and nonce for two different contents.

use std::collections::HashMap;

use pipeline::ids::Digest;
use pipeline::seal::{derive, digest, open_in_place};
use pipeline::segment::layout::{
    ENTRY_BYTES, ORIGIN_BYTES, TABLE_HEAD_BYTES, TABLE_ORDINAL, entry, header, origin, table_head,
};
use pipeline::segment::{HEADER_BYTES, SegmentHeader};

use crate::keys::OneKey;

/// Which key: a segment's name and salt, or an object's name and salt.
type Key = (Vec<u8>, Vec<u8>);

/// What was sealed with which key and nonce.
#[derive(Default)]
pub(crate) struct Seals {
    sealed: HashMap<(Key, Vec<u8>), Digest>,
}

impl Seals {
    /// Takes in an object that a machine sent, whether or not the store took it.
    pub(crate) fn take(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        match SegmentHeader::parse(bytes) {
            Ok(header) => self.segment(&header, bytes),
            Err(_) => self.object(name, bytes),
        }
        .map_err(|what| format!("{name}: {what}"))
    }

    /// The offsets are those of FORMAT.md's table of sealed objects.
    fn object(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let key = (name.as_bytes().to_vec(), bytes[32..64].to_vec());
        self.note(key, bytes[72..84].to_vec(), &bytes[88..])
    }

    fn segment(&mut self, parsed: &SegmentHeader, bytes: &[u8]) -> Result<(), String> {
        let identity = parsed.identity();
        let key = (identity.segment.0.to_vec(), identity.salt.to_vec());
        let place = usize::try_from(parsed.table_offset()).expect("a segment is small");
        let sealed = &bytes[place..place + parsed.table_bytes()];
        let head = &bytes[..HEADER_BYTES];
        let table_nonce = nonce(&TABLE_ORDINAL.to_le_bytes(), &head[header::TABLE_NONCE_TAIL]);
        self.note(key.clone(), table_nonce.to_vec(), sealed)?;

        let mut table = sealed.to_vec();
        let opens = derive(&OneKey::of_segment(identity), &[], &[b"seal"]);
        let tag = array(&head[header::TABLE_TAG]);
        open_in_place(&opens, &table_nonce, &head[..header::TABLE_TAG.start], &mut table, &tag)
            .map_err(|error| error.to_string())?;
        let (frames, origins) =
            (number(&table[table_head::FRAMES]), number(&table[table_head::ORIGINS]));
        let entries = &table[TABLE_HEAD_BYTES + origins * ORIGIN_BYTES..];
        for entry_bytes in entries.chunks_exact(ENTRY_BYTES).take(frames) {
            let from = number(&entry_bytes[entry::ORIGIN]);
            let key = match from.checked_sub(1) {
                None => key.clone(),
                Some(at) => {
                    let origin = &table[TABLE_HEAD_BYTES + at * ORIGIN_BYTES..];
                    (origin[origin::SEGMENT].to_vec(), origin[origin::SALT].to_vec())
                }
            };
            let nonce = nonce(&entry_bytes[entry::ORDINAL], &entry_bytes[entry::NONCE_TAIL]);
            let start = number(&entry_bytes[entry::OFFSET]);
            let length = number(&entry_bytes[entry::SEALED_BYTES]);
            self.note(key, nonce.to_vec(), &bytes[start..start + length])?;
        }
        Ok(())
    }

    fn note(&mut self, key: Key, nonce: Vec<u8>, sealed: &[u8]) -> Result<(), String> {
        let now = digest(&[sealed]);
        let before = *self.sealed.entry((key, nonce)).or_insert(now);
        if before == now {
            Ok(())
        } else {
            Err("one nonce sealed two different contents".to_owned())
        }
    }

    /// Frames, tables and objects seen.
    pub(crate) fn len(&self) -> usize {
        self.sealed.len()
    }
}

fn nonce(ordinal: &[u8], tail: &[u8]) -> [u8; 12] {
    array(&[ordinal, tail].concat())
}

fn array<const BYTES: usize>(bytes: &[u8]) -> [u8; BYTES] {
    bytes.try_into().expect("the layout says how long a field is")
}

fn number(field: &[u8]) -> usize {
    usize::try_from(u32::from_le_bytes(array(field))).expect("a small number")
}
