//! The protocol's bytes as plain values, and back. All numbers are big-endian.
//!
//! Parsers take whole messages of a length that the caller has bounded, and end in an error, never in a panic.

/// Greeting of the server, before its flags.
const GREETING: [u8; 8] = *b"NBDMAGIC";
const OPTION_MAGIC: [u8; 8] = *b"IHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_E889_0455_65A9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668E_33EF;

/// Flags of the greeting and of the client's answer: fixed newstyle.
pub const FIXED_NEWSTYLE: u32 = 1;
/// Flags of the greeting and of the client's answer: no 124 zeros after the oldest form of agreement.
pub const NO_ZEROES: u32 = 2;

/// Export flags: flags are present, flush is understood, several connections see the same content.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 8;
/// Export flag: read only.
const EXPORT_FLAG_READ_ONLY: u16 = 1 << 1;
/// Export flags of one that can be written to: "force unit access", trim and write zeros are understood.
const EXPORT_FLAGS_WRITE: u16 = 1 << 3 | 1 << 5 | 1 << 6;
/// Export flag with structured replies: "do not fragment" is understood.
const EXPORT_FLAG_DF: u16 = 1 << 7;

/// Longest read, and longest write: the protocol's customary limit.
pub const READ_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// Longest option; names are at most 4096 bytes by the protocol.
pub const OPTION_BYTES_MAX: u32 = 16 * 1024;
/// Longest name.
pub const NAME_BYTES_MAX: usize = 4096;
/// The request header's length.
pub const REQUEST_BYTES: usize = 28;
/// An option header's length.
pub const OPTION_HEADER_BYTES: usize = 16;
/// The one metadata context that is served.
pub const ALLOCATION: &str = "base:allocation";
/// Its number in block status replies.
const ALLOCATION_ID: u32 = 1;

/// Bytes that no client following the protocol sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation(pub &'static str);

/// Errors of requests, as numbers of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Errno {
    /// Not permitted: a write.
    Permission = 1,
    /// The content cannot be read.
    Io = 5,
    /// A request that makes no sense.
    Invalid = 22,
    /// There is no room for what is written.
    NoSpace = 28,
}

/// Kinds of answers to options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// Done.
    Acknowledged = 1,
    /// One export of a list.
    Server = 2,
    /// A fact about an export.
    Info = 3,
    /// A metadata context.
    MetaContext = 4,
    /// The option is unknown here.
    Unsupported = 1 << 31 | 1,
    /// The option's content makes no sense.
    Invalid = 1 << 31 | 3,
    /// There is no such export.
    UnknownExport = 1 << 31 | 6,
    /// The option is too long.
    TooBig = 1 << 31 | 9,
}

/// An option that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOption {
    /// The oldest form of agreement: this export, or the connection ends.
    ExportName(String),
    /// End of the negotiation without an export.
    Abort,
    /// Which exports are there?
    List,
    /// Facts about an export, by name and the kinds of facts asked for.
    Info(String, Vec<u16>),
    /// The same, and agreement on it.
    Go(String, Vec<u16>),
    /// Structured replies from now on.
    StructuredReply,
    /// Which of these contexts are there for the export?
    ListMeta(String, Vec<String>),
    /// Use these contexts with the export.
    SetMeta(String, Vec<String>),
    /// Anything else.
    Unknown,
}

/// What the first 16 bytes of an option say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionHeader {
    /// Number of the option.
    pub number: u32,
    /// Bytes that follow.
    pub length: u32,
}

/// A request's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bytes, please.
    Read,
    /// Bytes to write follow.
    Write,
    /// Goodbye; no reply is expected.
    Disconnect,
    /// Make durable what was written.
    Flush,
    /// Forget a range.
    Trim,
    /// Write zeros to a range.
    WriteZeros,
    /// What is known of a range?
    BlockStatus,
    /// Anything else.
    Unknown,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Command flags.
    pub flags: u16,
    /// What is asked.
    pub command: Command,
    /// The client's name for the request.
    pub cookie: u64,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
}

/// Request flag: block status of the first extent only.
pub const REQUEST_ONE: u16 = 1 << 3;
/// Request flags that mean nothing bad on a read: "force unit access", "do not fragment".
pub const REQUEST_READ_FLAGS: u16 = 1 | 1 << 2;
/// Request flag: durable before it is answered.
pub const REQUEST_DURABLE: u16 = 1;
/// Request flags of what changes a range: "force unit access", and "no hole", which is as good as any zeros.
pub const REQUEST_WRITE_FLAGS: u16 = REQUEST_DURABLE | 1 << 1;

/// The server's first 18 bytes.
#[must_use]
pub fn greeting() -> Vec<u8> {
    let flags = u16::try_from(FIXED_NEWSTYLE | NO_ZEROES).expect("two low bits");
    [&GREETING[..], &OPTION_MAGIC, &flags.to_be_bytes()].concat()
}

/// An option's header.
pub fn parse_option_header(bytes: &[u8; OPTION_HEADER_BYTES]) -> Result<OptionHeader, Violation> {
    let mut reader = Reader(bytes);
    if reader.take(8)? != OPTION_MAGIC {
        return Err(Violation("an option without its magic"));
    }
    Ok(OptionHeader { number: reader.u32()?, length: reader.u32()? })
}

/// An option's content.
pub fn parse_option(number: u32, content: &[u8]) -> Result<ClientOption, Violation> {
    let mut reader = Reader(content);
    let option = match number {
        1 => ClientOption::ExportName(reader.text(content.len())?),
        2 => ClientOption::Abort,
        3 => ClientOption::List,
        6 | 7 => {
            let name = reader.counted_text()?;
            let count = reader.u16()?;
            let kinds =
                (0..count).map(|_| reader.u16()).collect::<Result<Vec<u16>, Violation>>()?;
            if number == 6 {
                ClientOption::Info(name, kinds)
            } else {
                ClientOption::Go(name, kinds)
            }
        }
        8 => ClientOption::StructuredReply,
        9 | 10 => {
            let name = reader.counted_text()?;
            let count = reader.u32()?;
            let queries = (0..count)
                .map(|_| reader.counted_text())
                .collect::<Result<Vec<String>, Violation>>()?;
            if number == 9 {
                ClientOption::ListMeta(name, queries)
            } else {
                ClientOption::SetMeta(name, queries)
            }
        }
        _ => return Ok(ClientOption::Unknown),
    };
    // Clients may send anything with Abort; it ends the talk either way.
    if !reader.0.is_empty() && option != ClientOption::Abort {
        return Err(Violation("an option with bytes left over"));
    }
    Ok(option)
}

/// An answer to an option.
#[must_use]
pub fn option_reply(number: u32, answer: Answer, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("answers are short");
    let mut bytes = Vec::with_capacity(20 + content.len());
    bytes.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend((answer as u32).to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// Content of a list's answer: a name, and words about it.
#[must_use]
pub fn server_entry(name: &str, description: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).expect("our own names are short");
    [&length.to_be_bytes(), name.as_bytes(), description.as_bytes()].concat()
}

/// Size and flags of the export, as the oldest form of agreement and `info_export` have them.
#[must_use]
pub fn export_facts(bytes: u64, structured: bool, writable: bool) -> [u8; 10] {
    let flags = EXPORT_FLAGS
        | if structured { EXPORT_FLAG_DF } else { 0 }
        | if writable { EXPORT_FLAGS_WRITE } else { EXPORT_FLAG_READ_ONLY };
    let mut facts = [0; 10];
    facts[..8].copy_from_slice(&bytes.to_be_bytes());
    facts[8..].copy_from_slice(&flags.to_be_bytes());
    facts
}

/// Facts about an export, by kind: 0 size and flags, 1 name, 2 description, 3 block sizes.
#[must_use]
pub fn info(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), content].concat()
}

/// Block sizes: any byte, best by the vault's block, at most `READ_BYTES_MAX`.
#[must_use]
pub fn block_sizes(preferred: u32) -> Vec<u8> {
    [1_u32, preferred, READ_BYTES_MAX].iter().flat_map(|size| size.to_be_bytes()).collect()
}

/// A metadata context's answer; its number counts only when it was set, not listed.
#[must_use]
pub fn meta_context() -> Vec<u8> {
    [&ALLOCATION_ID.to_be_bytes(), ALLOCATION.as_bytes()].concat()
}

/// A request. The magic is the only thing that can be wrong with it here.
pub fn parse_request(bytes: &[u8; REQUEST_BYTES]) -> Result<Request, Violation> {
    let mut reader = Reader(bytes);
    if reader.u32()? != REQUEST_MAGIC {
        return Err(Violation("a request without its magic"));
    }
    let flags = reader.u16()?;
    let command = match reader.u16()? {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        4 => Command::Trim,
        6 => Command::WriteZeros,
        7 => Command::BlockStatus,
        _ => Command::Unknown,
    };
    Ok(Request {
        flags,
        command,
        cookie: reader.u64()?,
        offset: reader.u64()?,
        length: reader.u32()?,
    })
}

/// Header of a simple reply; data follows where a read succeeded.
#[must_use]
pub fn simple_reply(cookie: u64, error: Option<Errno>) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    bytes[4..8].copy_from_slice(&error.map_or(0, |error| error as u32).to_be_bytes());
    bytes[8..].copy_from_slice(&cookie.to_be_bytes());
    bytes
}

/// A structured reply's only chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Done, nothing to say.
    Done,
    /// Data of this length follows, from this offset.
    Data(u64, u32),
    /// These bytes from this offset are zeros.
    Hole(u64, u32),
    /// Lengths, and whether each is zeros.
    Status(&'a [(u32, bool)]),
    /// It failed.
    Error(Errno, &'a str),
}

/// Header room that `Chunk::Data` takes.
pub const DATA_HEADER_BYTES: usize = 28;

/// One chunk that ends its reply; `Data`'s bytes go behind it.
#[must_use]
pub fn chunk(cookie: u64, chunk: Chunk<'_>) -> Vec<u8> {
    const DONE: u16 = 1;
    let mut content = Vec::new();
    let mut following = 0;
    let kind: u16 = match chunk {
        Chunk::Done => 0,
        Chunk::Data(offset, length) => {
            content.extend(offset.to_be_bytes());
            following = length;
            1
        }
        Chunk::Hole(offset, length) => {
            content.extend(offset.to_be_bytes());
            content.extend(length.to_be_bytes());
            2
        }
        Chunk::Status(extents) => {
            content.extend(ALLOCATION_ID.to_be_bytes());
            for &(length, zero) in extents {
                content.extend(length.to_be_bytes());
                content.extend((if zero { 0b11_u32 } else { 0 }).to_be_bytes());
            }
            5
        }
        Chunk::Error(error, words) => {
            let words = &words.as_bytes()[..words.len().min(NAME_BYTES_MAX)];
            content.extend((error as u32).to_be_bytes());
            content.extend(u16::try_from(words.len()).expect("cut to 4096 bytes").to_be_bytes());
            content.extend(words);
            1 << 15 | 1
        }
    };
    let length = u32::try_from(content.len()).expect("chunks without data are short") + following;
    let mut bytes = Vec::with_capacity(20 + content.len());
    bytes.extend(CHUNK_MAGIC.to_be_bytes());
    bytes.extend(DONE.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// Takes values off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Violation> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(Violation("a message too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked"))
    }

    fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Violation> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, Violation> {
        if length > NAME_BYTES_MAX {
            return Err(Violation("a name longer than 4096 bytes"));
        }
        let bytes = self.take(length)?;
        core::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| Violation("a name that is no UTF-8"))
    }

    fn counted_text(&mut self) -> Result<String, Violation> {
        let length = self.u32()?;
        self.text(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests;
