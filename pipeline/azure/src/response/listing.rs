//! Pages of a listing: XML of Azure's own making, read without building a tree of it.

use pipeline_vault::store::ObjectFacts;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::{Malformed, tier};
use crate::date::parse_http_date;
use crate::encode::percent_decode;

/// Objects on one page: Azure's own limit.
pub const PAGE_OBJECTS_MAX: usize = 5000;
/// Largest page that is read: 5000 entries of the longest names, and what else Azure says of each.
pub const PAGE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Deepest nesting that a listing has.
const DEPTH_MAX: usize = 8;

/// One page as Azure sends it, with full names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects, ascending by name.
    pub objects: Vec<ObjectFacts>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// Reads a page.
pub fn parse(body: &[u8]) -> Result<Page, Malformed> {
    let text = core::str::from_utf8(body).map_err(|_| Malformed("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let mut walk = Walk::default();
    loop {
        match reader.read_event().map_err(|_| Malformed("it is not XML"))? {
            Event::Start(start) => {
                let encoded = start.attributes().flatten().any(|attribute| {
                    attribute.key.as_ref() == "Encoded" && attribute.value.as_ref() == "true"
                });
                walk.open(start.name().as_ref(), encoded)?;
            }
            Event::Empty(empty) => {
                walk.open(empty.name().as_ref(), false)?;
                walk.close()?;
            }
            Event::End(_) => walk.close()?,
            Event::Text(text) => walk.text.push_str(&text.xml10_content()),
            Event::CData(data) => walk.text.push_str(&data.xml10_content()),
            Event::GeneralRef(reference) => walk.text.push(resolve(&reference)?),
            Event::DocType(_) => return Err(Malformed("it declares a document type")),
            Event::Eof => return walk.finish(),
            _ => {}
        }
    }
}

/// Where in the page we are, and what was read of the entry at hand.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    text: String,
    encoded: bool,
    seen_root: bool,
    ended: bool,
    entry: Entry,
    page: Page,
}

#[derive(Default)]
struct Entry {
    name: Option<String>,
    bytes: Option<u64>,
    modified: Option<u64>,
    tier: Option<String>,
}

impl Walk {
    fn open(&mut self, name: &str, encoded: bool) -> Result<(), Malformed> {
        if self.path.is_empty() && (name != "EnumerationResults" || self.seen_root) {
            return Err(Malformed("it is no listing"));
        }
        if self.path.len() >= DEPTH_MAX {
            return Err(Malformed("it is nested too deep"));
        }
        self.seen_root = true;
        self.path.push(name.to_owned());
        self.text.clear();
        self.encoded = encoded;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let text = core::mem::take(&mut self.text);
        match path.as_slice() {
            [_, "NextMarker"] if !text.is_empty() => self.page.next = Some(text),
            [_, "Blobs", "Blob", "Name"] => {
                let name = if self.encoded { percent_decode(&text) } else { Some(text) };
                self.entry.name = Some(name.ok_or(Malformed("a name has a broken escape"))?);
            }
            [_, "Blobs", "Blob", "Properties", "Content-Length"] => {
                let bytes = text.trim().parse().ok();
                self.entry.bytes = Some(bytes.ok_or(Malformed("a length is no number"))?);
            }
            [_, "Blobs", "Blob", "Properties", "Last-Modified"] => {
                let date = parse_http_date(&text);
                self.entry.modified = Some(date.ok_or(Malformed("a date is none"))?);
            }
            [_, "Blobs", "Blob", "Properties", "AccessTier"] => self.entry.tier = Some(text),
            [_, "Blobs", "Blob"] => self.finish_entry()?,
            [_] => self.ended = true,
            _ => {}
        }
        self.encoded = false;
        self.path.pop();
        Ok(())
    }

    fn finish_entry(&mut self) -> Result<(), Malformed> {
        let entry = core::mem::take(&mut self.entry);
        if self.page.objects.len() >= PAGE_OBJECTS_MAX {
            return Err(Malformed("it has more than 5000 entries"));
        }
        self.page.objects.push(ObjectFacts {
            name: entry.name.ok_or(Malformed("an entry has no name"))?,
            bytes: entry.bytes.ok_or(Malformed("an entry has no length"))?,
            modified: entry.modified.ok_or(Malformed("an entry has no date"))?,
            tier: tier(entry.tier.as_deref()),
        });
        Ok(())
    }

    fn finish(self) -> Result<Page, Malformed> {
        if self.ended { Ok(self.page) } else { Err(Malformed("it ends early")) }
    }
}

/// The character that an entity stands for: the five of XML itself, and numbers.
fn resolve(reference: &BytesRef<'_>) -> Result<char, Malformed> {
    if let Ok(Some(char)) = reference.resolve_char_ref() {
        return Ok(char);
    }
    match &**reference {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err(Malformed("it uses an unknown entity")),
    }
}

#[cfg(test)]
mod tests;
