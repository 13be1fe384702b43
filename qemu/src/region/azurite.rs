//! The storage that disks lie in: page blobs by HTTP, each in a container of its own, so that an address to one can be taken back.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::Account;
use super::http::{encode, read_head};
use super::operations::date;
use super::refusal::Refusal;

/// What the blob of every disk is called in its container.
const BLOB: &str = "abcd";
/// The storage's interface that this is written for.
const VERSION: &str = "2021-12-02";
/// Longest silence of the storage.
const SILENCE: Duration = Duration::from_secs(120);
/// No answer is longer than what is asked for at once, and a list of many ranges.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How often the end of a copy is looked for, and how long.
const COPY_LOOK: Duration = Duration::from_millis(20);
const COPY_LOOKS_MAX: u32 = 30_000;

/// The storage.
#[derive(Debug)]
pub(crate) struct Storage {
    account: Account,
    authority: String,
    /// The path of the account, without a slash at its end.
    base: String,
    key: hmac::Key,
    /// How often all addresses ended: those of one such time have the same name, which none of a later one has.
    ends: AtomicU32,
}

/// An answer of the storage.
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What is asked of the storage.
#[derive(Default)]
struct Ask<'a> {
    method: &'a str,
    /// Path below the account.
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    /// Names in lower case, all of `x-ms-`.
    headers: &'a [(&'a str, String)],
    body: &'a [u8],
}

/// Bytes of a blob that were written: first and behind the last.
pub(crate) type Range = core::ops::Range<u64>;

impl Storage {
    pub(crate) fn new(account: &Account) -> Result<Self, String> {
        let wrong =
            || format!("{} is no endpoint like http://127.0.0.1:10000/account", account.endpoint);
        let rest = account.endpoint.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        let base = if base.is_empty() {
            String::new()
        } else {
            format!("/{}", base.trim_end_matches('/'))
        };
        let key =
            STANDARD.decode(&account.key).map_err(|error| format!("the account's key: {error}"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let (account, authority) = (account.clone(), authority.to_owned());
        Ok(Self { account, authority, base, key, ends: AtomicU32::new(0) })
    }

    /// A container with a page blob of this length, all zeros.
    pub(crate) fn make(&self, container: &str, bytes: u64) -> Result<(), Refusal> {
        self.container(container)?;
        let headers = [
            ("x-ms-blob-content-length", bytes.to_string()),
            ("x-ms-blob-type", "PageBlob".to_owned()),
        ];
        let path = format!("/{container}/{BLOB}");
        self.done(&Ask { method: "PUT", path: &path, headers: &headers, ..Ask::default() })
    }

    /// A container with a copy of what lies at an address of this storage. Gives its length.
    pub(crate) fn copy(&self, from: &str, container: &str) -> Result<u64, Refusal> {
        self.container(container)?;
        let path = format!("/{container}/{BLOB}");
        let headers = [("x-ms-copy-source", from.to_owned())];
        self.done(&Ask { method: "PUT", path: &path, headers: &headers, ..Ask::default() })?;
        for _ in 0..COPY_LOOKS_MAX {
            let reply = self.ask(&Ask { method: "HEAD", path: &path, ..Ask::default() })?;
            match reply.header("x-ms-copy-status") {
                Some("pending") => std::thread::sleep(COPY_LOOK),
                Some("success") | None => return reply.length(),
                Some(other) => return Err(failed(&format!("the copy of {from} is {other}"))),
            }
        }
        Err(failed(&format!("the copy of {from} does not end")))
    }

    /// A copy of a disk of ours.
    pub(crate) fn copy_disk(&self, from: &str, container: &str) -> Result<u64, Refusal> {
        self.copy(&format!("{}/{from}/{BLOB}", self.account.endpoint), container)
    }

    fn container(&self, container: &str) -> Result<(), Refusal> {
        let path = format!("/{container}");
        let query = [("restype", "container")];
        self.done(&Ask { method: "PUT", path: &path, query: &query, ..Ask::default() })
    }

    /// Lets whoever has the address read the blob, or write it too.
    pub(crate) fn grant(
        &self,
        container: &str,
        write: bool,
        until_ms: u64,
    ) -> Result<String, Refusal> {
        let (name, permission) = if write { ("write", "rw") } else { ("read", "r") };
        let id = format!("{name}-{}", self.ends.load(Ordering::Relaxed));
        let until = date(until_ms);
        let list = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><SignedIdentifiers><SignedIdentifier><Id>{id}</Id><AccessPolicy>\
             <Expiry>{until}</Expiry><Permission>{permission}</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>"
        );
        self.set_policies(container, &list)?;
        let resource = format!("/blob/{}/{container}/{BLOB}", self.account.name);
        // What the container's policy says is left empty; it is also what can be taken back.
        let text = format!("\n\n\n{resource}\n{id}\n\n\n{VERSION}\nb\n\n\n\n\n\n\n");
        let signature = encode(&self.sign(&text));
        Ok(format!(
            "{}/{container}/{BLOB}?sv={VERSION}&sr=b&si={id}&sig={signature}",
            self.account.endpoint
        ))
    }

    /// Ends every address of these blobs as their time would: none that is given later makes them good again.
    pub(crate) fn end_addresses(&self, blobs: &[String]) -> Result<(), Refusal> {
        self.ends.fetch_add(1, Ordering::Relaxed);
        blobs.iter().try_for_each(|blob| self.revoke(blob))
    }

    /// Takes back every address of a blob.
    pub(crate) fn revoke(&self, container: &str) -> Result<(), Refusal> {
        self.set_policies(
            container,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><SignedIdentifiers/>",
        )
    }

    fn set_policies(&self, container: &str, list: &str) -> Result<(), Refusal> {
        let path = format!("/{container}");
        let query = [("restype", "container"), ("comp", "acl")];
        let body = list.as_bytes();
        self.done(&Ask { method: "PUT", path: &path, query: &query, body, ..Ask::default() })
    }

    /// Removes a container; one that is not there is none.
    pub(crate) fn remove(&self, container: &str) -> Result<(), Refusal> {
        let path = format!("/{container}");
        let query = [("restype", "container")];
        let reply =
            self.ask(&Ask { method: "DELETE", path: &path, query: &query, ..Ask::default() })?;
        if reply.status == 404 { Ok(()) } else { reply.fine(&path) }
    }

    /// The blob's length.
    pub(crate) fn length(&self, container: &str) -> Result<u64, Refusal> {
        let path = format!("/{container}/{BLOB}");
        let reply = self.ask(&Ask { method: "HEAD", path: &path, ..Ask::default() })?;
        reply.fine(&path)?;
        reply.length()
    }

    /// What of a blob was written.
    pub(crate) fn ranges(&self, container: &str) -> Result<Vec<Range>, Refusal> {
        let path = format!("/{container}/{BLOB}");
        let query = [("comp", "pagelist")];
        let reply =
            self.ask(&Ask { method: "GET", path: &path, query: &query, ..Ask::default() })?;
        reply.fine(&path)?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let number = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            rest.split('<').next()?.trim().parse::<u64>().ok()
        };
        let ranges = text
            .split("<PageRange>")
            .skip(1)
            .map(|one| Some(number(one, "Start")?..number(one, "End")?.checked_add(1)?));
        let ranges: Option<Vec<Range>> = ranges.collect();
        ranges.ok_or_else(|| failed(&format!("the list of ranges of {path} cannot be read")))
    }

    /// Bytes of a blob.
    pub(crate) fn read(&self, container: &str, range: &Range) -> Result<Vec<u8>, Refusal> {
        let path = format!("/{container}/{BLOB}");
        let asked = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let headers = [("x-ms-range", asked)];
        let reply =
            self.ask(&Ask { method: "GET", path: &path, headers: &headers, ..Ask::default() })?;
        reply.fine(&path)?;
        let length = u64::try_from(reply.body.len()).unwrap_or(u64::MAX);
        if length != range.end.saturating_sub(range.start) {
            return Err(failed(&format!("{path} gave {length} bytes for {range:?}")));
        }
        Ok(reply.body)
    }

    /// Writes whole sectors of a blob, four mebibytes at most.
    pub(crate) fn write(&self, container: &str, at: u64, body: &[u8]) -> Result<(), Refusal> {
        let path = format!("/{container}/{BLOB}");
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let range = format!("bytes={at}-{}", at.saturating_add(length).saturating_sub(1));
        let headers = [("x-ms-page-write", "update".to_owned()), ("x-ms-range", range)];
        let query = [("comp", "page")];
        self.done(&Ask { method: "PUT", path: &path, query: &query, headers: &headers, body })
    }

    fn done(&self, ask: &Ask<'_>) -> Result<(), Refusal> {
        self.ask(ask)?.fine(ask.path)
    }

    fn ask(&self, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        let talked = self.talk(ask);
        talked.map_err(|error| {
            failed(&format!("{} {} at {}: {error}", ask.method, ask.path, self.authority))
        })
    }

    fn talk(&self, ask: &Ask<'_>) -> std::io::Result<Reply> {
        let mut headers: Vec<(String, String)> =
            ask.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        headers.push(("x-ms-date".to_owned(), http_date()));
        headers.push(("x-ms-version".to_owned(), VERSION.to_owned()));
        headers.sort();
        let path = format!("{}{}", self.base, ask.path);
        let query: Vec<String> =
            ask.query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let target =
            if query.is_empty() { path.clone() } else { format!("{path}?{}", query.join("&")) };
        let length = ask.body.len();
        let mut text = format!("{}\n\n\n", ask.method);
        text.push_str(&if length == 0 { String::new() } else { length.to_string() });
        text.push_str("\n\n\n\n\n\n\n\n\n");
        for (name, value) in &headers {
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("/{}{path}", self.account.name));
        let mut sorted: Vec<_> = ask.query.to_vec();
        sorted.sort_unstable();
        for (name, value) in sorted {
            text.push_str(&format!("\n{name}:{value}"));
        }
        let mut head = format!("{} {target} HTTP/1.1\r\nhost: {}\r\n", ask.method, self.authority);
        head.push_str(&format!("content-length: {length}\r\nconnection: close\r\n"));
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let signature = self.sign(&text);
        head.push_str(&format!(
            "authorization: SharedKey {}:{signature}\r\n\r\n",
            self.account.name
        ));
        let mut stream = TcpStream::connect(&self.authority)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(ask.body)?;
        read_reply(BufReader::new(stream), ask.method == "HEAD")
    }

    fn sign(&self, text: &str) -> String {
        STANDARD.encode(hmac::sign(&self.key, text.as_bytes()))
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }

    fn length(&self) -> Result<u64, Refusal> {
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        length.ok_or_else(|| failed("the blob tells no length"))
    }

    fn fine(&self, path: &str) -> Result<(), Refusal> {
        if self.status < 300 {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&self.body).chars().take(400).collect::<String>();
        let code = self.header("x-ms-error-code").unwrap_or_default();
        Err(failed(&format!("{path}: {} {code} {words}", self.status)))
    }
}

fn read_reply(mut reader: BufReader<TcpStream>, head_only: bool) -> std::io::Result<Reply> {
    let none = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (first, headers) = read_head(&mut reader)?.ok_or_else(none)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(none)?;
    let mut reply = Reply { status, headers, body: Vec::new() };
    if head_only {
        return Ok(reply);
    }
    let mut raw = Vec::new();
    // The connection ends with the answer.
    let length = reply.header("content-length").and_then(|length| length.parse::<u64>().ok());
    reader.take(length.unwrap_or(ANSWER_BYTES_MAX).min(ANSWER_BYTES_MAX)).read_to_end(&mut raw)?;
    let chunked =
        reply.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
    reply.body = if chunked { unchunked(&raw).ok_or_else(none)? } else { raw };
    Ok(reply)
}

fn unchunked(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = raw.windows(2).position(|pair| pair == b"\r\n")?;
        let line = core::str::from_utf8(raw.get(..end)?).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        raw = raw.get(end + 2..)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(raw.get(..length)?);
        raw = raw.get(length.checked_add(2)?..)?;
    }
}

/// The storage failed: nobody's fault but this stand-in's.
fn failed(words: &str) -> Refusal {
    Refusal::new(500, "InternalExecutionError", format!("the storage: {words}"))
}

/// Now, as HTTP writes it.
fn http_date() -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let whole = date(seconds.saturating_mul(1000));
    let part = |range: core::ops::Range<usize>| whole.get(range).unwrap_or_default().to_owned();
    let pick = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    let month = part(5..7).parse::<u64>().unwrap_or(1).saturating_sub(1);
    let weekday = pick(&DAYS, seconds / 86_400 % 7);
    format!(
        "{weekday}, {} {} {} {} GMT",
        part(8..10),
        pick(&MONTHS, month),
        part(0..4),
        part(11..19)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_and_torn_ones_refused() {
        assert_eq!(unchunked(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n"), Some(b"abcde".to_vec()));
        for torn in [&b"3\r\nab"[..], b"", b"x\r\n", b"ffffffffffffffff\r\nab"] {
            assert_eq!(unchunked(torn), None);
        }
    }

    #[test]
    fn an_address_signs_what_microsoft_documents() {
        let account = Account {
            name: "devstoreaccount1".to_owned(),
            key: STANDARD.encode(b"key"),
            endpoint: "http://127.0.0.1:1/devstoreaccount1".to_owned(),
        };
        let storage = Storage::new(&account).unwrap();
        assert_eq!(storage.authority, "127.0.0.1:1");
        assert_eq!(storage.base, "/devstoreaccount1");
        // By `openssl dgst -sha256 -hmac key`.
        assert_eq!(storage.sign("text"), "avqQRqlXnK0UOjhMG1ZLmiUNJ9b2pj+fIL86dZTJ4sY=");
        assert!(Storage::new(&Account { endpoint: "ftp://x".to_owned(), ..account }).is_err());
    }
}
