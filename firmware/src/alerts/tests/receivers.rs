//! Receivers of the standards, over real sockets: HTTP within TLS, and mail.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use pipeline_azure::encode::base64_decode;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(super) type Stream = StreamOwned<ServerConnection, TcpStream>;

pub(super) fn within_tls(stream: TcpStream, config: &Arc<ServerConfig>) -> Stream {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
}

/// Listens, and hands each connection to a thread.
pub(super) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
    port
}

/// Reads one request of HTTP, head and body, and answers it.
pub(super) fn http(mut stream: impl Read + Write, answer: &str) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(&mut stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(answer.as_bytes()).ok()?;
    stream.flush().ok()?;
    Some((head, body))
}

pub(super) const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// A mail server of the standard, as strict as one: answers what was said, line by line, and the mail.
pub(super) fn smtp(
    mut stream: impl Read + Write,
    offers: &str,
    mut note: impl FnMut(String),
) -> Option<()> {
    let say = |stream: &mut dyn Write, text: &str| {
        stream.write_all(format!("{text}\r\n").as_bytes()).and_then(|()| stream.flush())
    };
    let line = |stream: &mut dyn Read| {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        String::from_utf8(line).ok().map(|line| line.trim_end().to_owned())
    };
    let mut receivers = 0;
    loop {
        let said = line(&mut stream)?;
        note(said.clone());
        let word = said.split(' ').next().unwrap_or_default().to_owned();
        match word.as_str() {
            "EHLO" => {
                say(&mut stream, &format!("250-hello\r\n250-SIZE 1000000\r\n250 {offers}")).ok()?
            }
            "STARTTLS" => return say(&mut stream, "220 go").ok(),
            "AUTH" if said == "AUTH LOGIN" => {
                say(&mut stream, "334 VXNlcm5hbWU6").ok()?;
                note(line(&mut stream)?);
                say(&mut stream, "334 UGFzc3dvcmQ6").ok()?;
                note(line(&mut stream)?);
                say(&mut stream, "235 welcome").ok()?;
            }
            "AUTH" => {
                let plain = base64_decode(said.strip_prefix("AUTH PLAIN ")?)?;
                let good = plain == b"\0ops\0correct horse";
                say(&mut stream, if good { "235 welcome" } else { "535 wrong" }).ok()?;
            }
            "MAIL" => say(&mut stream, "250 fine").ok()?,
            "RCPT" if said.contains("nobody") => say(&mut stream, "550 no such user").ok()?,
            "RCPT" => {
                receivers += 1;
                say(&mut stream, "250 fine").ok()?;
            }
            "DATA" if receivers > 0 => {
                say(&mut stream, "354 go on").ok()?;
                let mut mail = String::new();
                loop {
                    let next = line(&mut stream)?;
                    if next == "." {
                        break;
                    }
                    mail += &(next + "\n");
                }
                note(mail);
                say(&mut stream, "250 queued").ok()?;
            }
            "QUIT" => return say(&mut stream, "221 bye").ok(),
            _ => say(&mut stream, "500 what?").ok()?,
        }
    }
}
