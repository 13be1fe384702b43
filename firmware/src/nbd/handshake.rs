//! From the first byte to the agreement on an export. The caller bounds its time.

use std::io;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::prelude::*;

use crate::nbd::codec::{
    ALLOCATION, Answer, ClientOption, FIXED_NEWSTYLE, NO_ZEROES, OPTION_BYTES_MAX,
    OPTION_HEADER_BYTES, OptionHeader, Violation, block_sizes, export_facts, greeting, info,
    meta_context, option_reply, parse_option, parse_option_header, server_entry,
};
use crate::nbd::source::Export;

/// Options that a client may send before it must have agreed.
const OPTIONS_MAX: usize = 128;
/// An option whose length is beyond this is no mistake but an attack: the connection ends.
const OPTION_DRAIN_MAX: u32 = 1024 * 1024;
/// What reads fastest: the vault's block.
const PREFERRED_BYTES: u32 = 65_536;

/// What was agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Replies are structured.
    pub structured: bool,
    /// Block status may be asked for.
    pub allocation: bool,
}

/// Negotiates; `None` where the client ended the talk in order.
pub async fn negotiate<S>(stream: &mut S, export: &Export) -> io::Result<Option<Terms>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&greeting()).await?;
    let mut flags = [0; 4];
    stream.read_exact(&mut flags).await?;
    let flags = u32::from_be_bytes(flags);
    if flags & !(FIXED_NEWSTYLE | NO_ZEROES) != 0 || flags & FIXED_NEWSTYLE == 0 {
        return Err(violation(Violation("flags that are not fixed newstyle")));
    }
    let mut talk = Talk { export, structured: false, allocation_for: None };
    for _ in 0..OPTIONS_MAX {
        let mut header = [0; OPTION_HEADER_BYTES];
        stream.read_exact(&mut header).await?;
        let header = parse_option_header(&header).map_err(violation)?;
        let Some(content) = content(stream, header).await? else {
            stream.write_all(&option_reply(header.number, Answer::TooBig, b"")).await?;
            continue;
        };
        let next = match parse_option(header.number, &content) {
            Ok(option) => talk.answer(header.number, option, flags & NO_ZEROES != 0),
            // The oldest form has no way to say no.
            Err(problem) if header.number == 1 => return Err(violation(problem)),
            Err(problem) => {
                Next::say(option_reply(header.number, Answer::Invalid, problem.0.as_bytes()))
            }
        };
        stream.write_all(&next.bytes).await?;
        match next.then {
            Then::GoOn => (),
            Then::Start(terms) => return Ok(Some(terms)),
            Then::End => return Ok(None),
        }
    }
    Err(violation(Violation("more options than anybody needs")))
}

fn violation(problem: Violation) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the client sent {}", problem.0))
}

/// Reads an option's content; `None` for one too long to be meant well, which is read past.
async fn content<S>(stream: &mut S, header: OptionHeader) -> io::Result<Option<Vec<u8>>>
where
    S: AsyncRead + Unpin,
{
    if header.length > OPTION_DRAIN_MAX {
        return Err(violation(Violation("an option of more than 1 MiB")));
    }
    if header.length > OPTION_BYTES_MAX {
        let mut rest = stream.take(u64::from(header.length));
        smol::io::copy(&mut rest, &mut smol::io::sink()).await?;
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(header.length).expect("at most 16 KiB")];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

struct Next {
    bytes: Vec<u8>,
    then: Then,
}

enum Then {
    GoOn,
    Start(Terms),
    End,
}

impl Next {
    fn say(bytes: Vec<u8>) -> Self {
        Self { bytes, then: Then::GoOn }
    }
}

/// What has been said so far.
struct Talk<'a> {
    export: &'a Export,
    structured: bool,
    /// The export name that block status was asked for with.
    allocation_for: Option<String>,
}

impl Talk<'_> {
    fn terms(&self, name: &str) -> Terms {
        Terms {
            structured: self.structured,
            allocation: self.allocation_for.as_deref() == Some(name),
        }
    }

    fn answer(&mut self, number: u32, option: ClientOption, no_zeroes: bool) -> Next {
        let acknowledged = option_reply(number, Answer::Acknowledged, b"");
        match option {
            ClientOption::ExportName(name) => self.export_name(&name, no_zeroes),
            ClientOption::Abort => Next { bytes: acknowledged, then: Then::End },
            ClientOption::List => {
                let entry = server_entry(&self.export.name, &self.export.description);
                Next::say([option_reply(number, Answer::Server, &entry), acknowledged].concat())
            }
            ClientOption::Info(name, kinds) => Next::say(self.facts(number, &name, &kinds).0),
            ClientOption::Go(name, kinds) => {
                let (bytes, known) = self.facts(number, &name, &kinds);
                let then = if known { Then::Start(self.terms(&name)) } else { Then::GoOn };
                Next { bytes, then }
            }
            ClientOption::StructuredReply => {
                self.structured = true;
                Next::say(acknowledged)
            }
            ClientOption::ListMeta(name, queries) => {
                let shown = queries.is_empty()
                    || queries.iter().any(|query| query == "base:" || query == ALLOCATION);
                Next::say(self.contexts(number, &name, shown))
            }
            ClientOption::SetMeta(name, queries) => {
                let wanted = queries.iter().any(|query| query == ALLOCATION);
                let usable = self.structured && self.export.answers_to(&name);
                self.allocation_for = (wanted && usable).then(|| name.clone());
                Next::say(self.contexts(number, &name, wanted))
            }
            ClientOption::Unknown => Next::say(option_reply(number, Answer::Unsupported, b"")),
        }
    }

    fn export_name(&self, name: &str, no_zeroes: bool) -> Next {
        if !self.export.answers_to(name) {
            return Next { bytes: Vec::new(), then: Then::End };
        }
        let mut bytes = self.export_facts().to_vec();
        if !no_zeroes {
            bytes.extend([0; 124]);
        }
        Next { bytes, then: Then::Start(self.terms(name)) }
    }

    fn export_facts(&self) -> [u8; 10] {
        let source = &self.export.source;
        export_facts(source.bytes(), self.structured, source.sink().is_some())
    }

    /// The facts of an export and whether there is one.
    fn facts(&self, number: u32, name: &str, kinds: &[u16]) -> (Vec<u8>, bool) {
        if !self.export.answers_to(name) {
            return (self.no_such_export(number), false);
        }
        let mut bytes = Vec::new();
        let mut add = |kind: u16, content: &[u8]| {
            bytes.extend(option_reply(number, Answer::Info, &info(kind, content)));
        };
        add(0, &self.export_facts());
        if kinds.contains(&1) {
            add(1, self.export.name.as_bytes());
        }
        if kinds.contains(&2) {
            add(2, self.export.description.as_bytes());
        }
        add(3, &block_sizes(PREFERRED_BYTES));
        bytes.extend(option_reply(number, Answer::Acknowledged, b""));
        (bytes, true)
    }

    fn contexts(&self, number: u32, name: &str, shown: bool) -> Vec<u8> {
        if !self.structured {
            let words = b"structured replies come first";
            return option_reply(number, Answer::Invalid, words);
        }
        if !self.export.answers_to(name) {
            return self.no_such_export(number);
        }
        let mut bytes = Vec::new();
        if shown {
            bytes.extend(option_reply(number, Answer::MetaContext, &meta_context()));
        }
        bytes.extend(option_reply(number, Answer::Acknowledged, b""));
        bytes
    }

    fn no_such_export(&self, number: u32) -> Vec<u8> {
        let words = format!("there is no such export here; there is «{}»", self.export.name);
        option_reply(number, Answer::UnknownExport, words.as_bytes())
    }
}
