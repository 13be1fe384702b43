//! A message as JSON by POST, signed where a secret is set, through the one HTTP client.
//!
//! The signature is of the time and the body: `x-lifeboat-signature: t=SECONDS,v1=HEX`, HEX being HMAC-SHA256 with the
//! secret over `SECONDS.BODY`. A receiver that refuses old times cannot be sent an old message once more.

use core::time::Duration;

use pipeline_azure::address::Origin;
use pipeline_azure::encode::hex;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::transport::Transport;
use ring::hmac;

use super::message::Message;
use super::settings::Hidden;

/// The longest answer that is read, to keep the connection.
const ANSWER_BYTES_MAX: u64 = 4096;

pub(super) fn send(
    transport: &dyn Transport,
    patience: Duration,
    url: &str,
    secret: Option<&Hidden>,
    message: &Message,
    now: u64,
) -> Result<String, String> {
    let (place, query) =
        url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
    let (origin, path) = Origin::parse(place).map_err(|error| error.to_string())?;
    let trailing = if place.ends_with('/') && !path.is_empty() { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let body = message.json();
    let mut request = Request::new(Method::Post, format!("/{path}{trailing}{query}"))
        .with_header("content-type", "application/json")
        .with_header("x-lifeboat-message", &message.id);
    if let Some(secret) = secret {
        let seconds = now / 1000;
        request = request.with_header("x-lifeboat-signature", signature(&secret.0, seconds, &body));
    }
    let sent = transport.send(&origin, &request.with_body(&body[..]), patience);
    let mut reply = sent.map_err(|failure| format!("{}; {}", failure.what, failure.remedy()))?;
    let status = reply.head.status;
    // It is of no use, and a broken end of it changes nothing: what counts has been said.
    let _ = reply.read_all(ANSWER_BYTES_MAX);
    match status {
        200..=299 => Ok(format!("{origin} took it ({status})")),
        300..=399 => Err(format!(
            "{origin} sends it elsewhere ({status}), which is not followed: set the address that it leads to"
        )),
        401 | 403 => {
            Err(format!("{origin} refuses it ({status}): it wants another secret or address"))
        }
        404 | 410 => {
            Err(format!("{origin} has nothing at that address ({status}): set the right one"))
        }
        _ => Err(format!("{origin} did not take it ({status})")),
    }
}

/// What proves who sent it, and when.
pub(super) fn signature(secret: &str, seconds: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    format!("t={seconds},v1={}", hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_others_compute() {
        // By Python: hmac.new(b"key", b"1700000000.{}", "sha256").hexdigest()
        let expected = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature("key", 1_700_000_000, b"{}"), format!("t=1700000000,v1={expected}"));
    }
}
