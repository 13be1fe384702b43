//! Who answers where Azure should: a captive portal sends whoever comes without TLS to its own page. Reading takes any
//! bytes.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::Write as _;
use std::net::TcpStream;

use super::read_head;
use crate::report::printable;

/// What a portal says for «sign in first» (RFC 6585).
const SIGN_IN: u16 = 511;

/// Asks without TLS; what a portal says of itself, `None` where none answers.
pub(super) fn ask(peer: SocketAddr, host: &str, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&peer, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    betrays(&read_head(&mut stream).ok()?, host)
}

/// The status of an answer of HTTP.
pub(super) fn status_of(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.")?;
    rest.get(2..5).filter(|_| rest.as_bytes().get(1) == Some(&b' '))?.parse().ok()
}

/// What the head of an answer betrays of a portal: that it wants a sign-in, or sends us to somebody else.
fn betrays(head: &str, host: &str) -> Option<String> {
    let status = status_of(head)?;
    let location = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim())
    });
    let elsewhere = location.filter(|url| {
        let rest = url.split_once("://").map(|(_, rest)| rest).filter(|_| !url.starts_with('/'));
        rest.is_some_and(|rest| {
            let end = rest.find(['/', ':', '?', '#']).unwrap_or(rest.len());
            !rest.get(..end).unwrap_or_default().eq_ignore_ascii_case(host)
        })
    });
    match (status, elsewhere) {
        (SIGN_IN, _) => Some("it wants somebody to sign in".to_owned()),
        (300..400, Some(url)) => Some(format!("it sends us to {}", printable(url))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "login.example";

    #[test]
    fn a_redirect_elsewhere_is_a_portal_and_one_to_the_host_itself_is_none() {
        for (head, portal) in [
            ("HTTP/1.1 302 Found\r\nLocation: http://portal.hotel/login\r\n\r\n", true),
            ("HTTP/1.0 307 X\r\nLOCATION:https://10.0.0.1:8080/\r\n\r\n", true),
            ("HTTP/1.1 511 X\r\n\r\n", true),
            ("HTTP/1.1 301 X\r\nLocation: https://login.example/\r\n\r\n", false),
            ("HTTP/1.1 301 X\r\nLocation: https://LOGIN.example:443/x\r\n\r\n", false),
            ("HTTP/1.1 302 X\r\nLocation: /x\r\n\r\n", false),
            ("HTTP/1.1 400 Bad\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nLocation: http://portal.hotel/\r\n\r\n", false),
            ("", false),
            ("SSH-2.0-x", false),
            ("HTTP/1.1", false),
            ("HTTP/1.1 é02 X", false),
        ] {
            assert_eq!(betrays(head, HOST).is_some(), portal, "{head}");
        }
    }

    #[test]
    fn any_text_is_taken() {
        let good = "HTTP/1.1 302 Found\r\nLocation: http://portal.hotel/login\r\n\r\n";
        let mut state = 11_u64;
        for _ in 0..20_000 {
            let mut bytes = good.as_bytes().to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).unwrap() % bytes.len();
                bytes[at] = state.to_le_bytes()[2];
            }
            let text = String::from_utf8_lossy(&bytes);
            let _ = (status_of(&text), betrays(&text, HOST));
        }
    }
}
