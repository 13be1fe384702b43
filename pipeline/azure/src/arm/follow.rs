//! What an answer begins, and how what it began is followed: azure-resource-manager-rpc v1.0, async-api-reference.

use core::time::Duration;

use serde_json::Value;

use super::{Answer, Call, Follows, Operation, ResultAt};
use crate::address::Origin;
use crate::request::Method;
use crate::response::Head;

/// How long to wait where Azure does not say, in seconds.
const WAIT_S: u32 = 5;
/// The shortest wait between two looks, whatever Azure says.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// The longest wait that is believed, in seconds.
const WAIT_S_MAX: u32 = 300;
/// Longest address that is followed: Azure asks clients to take 4 KiB.
const ADDRESS_BYTES_MAX: usize = 8 * 1024;

/// What came of a look at an operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// It goes on; look again after so long.
    Running(Duration),
    /// It is done; this came of it.
    Done(Value),
    /// It is done; what came of it is to be read there.
    Read(ResultAt),
    /// It failed, and this is what Azure says of it.
    Failed(Value),
}

/// What an answer to a call is that is no refusal. The error says what is odd about it.
pub(super) fn begun(
    call: &Call,
    head: &Head,
    body: Value,
    origin: &Origin,
) -> Result<Answer, String> {
    let named = |name: &str| head.header(name).filter(|text| !text.trim().is_empty());
    let changes = !matches!(call.method, Method::Get | Method::Head);
    let operation = |address: String, follows: Follows, result: Option<ResultAt>| {
        let retry_after_s = wait_of(head).unwrap_or(WAIT_S);
        Ok(Answer::Begun(Operation { address, follows, result, retry_after_s }))
    };
    if let Some(status) = named("azure-asyncoperation").filter(|_| changes) {
        let address = followed(status, origin)?;
        let result = match (call.method, named("location")) {
            (Method::Put, _) => Some(here(call)),
            // What a POST brings is at its location once the status says that it is done.
            (Method::Post, Some(location)) => {
                Some(ResultAt { path: followed(location, origin)?, api_version: String::new() })
            }
            _ => None,
        };
        return operation(address, Follows::Status, result);
    }
    if let (Some(location), 202) = (named("location").filter(|_| changes), head.status) {
        let result = (call.method == Method::Put).then(|| here(call));
        return operation(followed(location, origin)?, Follows::Location, result);
    }
    let goes_on = state(&body).is_some_and(|state| !is_final(state));
    match (call.method, head.status) {
        (Method::Put, _) if goes_on || head.status == 202 => {
            operation(call.path.clone(), Follows::Resource, Some(here(call)))
        }
        // It is gone when nobody finds it any more.
        (Method::Delete, 202) => {
            let address = format!("{}?api-version={}", call.path, call.api_version);
            operation(address, Follows::Resource, None)
        }
        (Method::Post, 202) => {
            Err("it accepts and does not say where to ask how it ends".to_owned())
        }
        _ => Ok(Answer::Done(body)),
    }
}

/// What Azure says at the address of an operation, where that is no refusal. The error says what is odd.
pub(super) fn seen(operation: &Operation, head: &Head, body: Value) -> Result<Seen, String> {
    let wait = || {
        let seconds = wait_of(head).unwrap_or_else(|| operation.retry_after_s.min(WAIT_S_MAX));
        Seen::Running(Duration::from_secs(u64::from(seconds)).max(WAIT_MIN))
    };
    match operation.follows {
        Follows::Status => {
            let status = body.get("status").and_then(Value::as_str);
            let status = status.ok_or("it tells no status of the operation")?;
            if !is_final(status) {
                return Ok(wait());
            }
            if !status.eq_ignore_ascii_case("Succeeded") {
                return Ok(Seen::Failed(body));
            }
            Ok(match (body.pointer("/properties/output"), &operation.result) {
                (Some(output), _) if !output.is_null() => Seen::Done(output.clone()),
                (_, Some(result)) => Seen::Read(result.clone()),
                _ => Seen::Done(Value::Null),
            })
        }
        Follows::Location if head.status == 202 => Ok(wait()),
        Follows::Location => Ok(match &operation.result {
            Some(result) => Seen::Read(result.clone()),
            None => Seen::Done(body),
        }),
        Follows::Resource => Ok(match state(&body) {
            Some(state) if !is_final(state) => wait(),
            // Somebody who waits for the end of a resource waits on while it is there.
            _ if operation.result.is_none() => wait(),
            Some(state) if !state.eq_ignore_ascii_case("Succeeded") => Seen::Failed(body),
            _ => Seen::Done(body),
        }),
    }
}

/// The address, where it is one of this region's. The error says what is wrong with it, without its query.
pub(super) fn followed(address: &str, origin: &Origin) -> Result<String, String> {
    let address = address.trim();
    let (whole, host) = match Origin::parse(address.split('?').next().unwrap_or_default()) {
        Ok((found, _)) => (address.len() <= ADDRESS_BYTES_MAX, found),
        Err(_) => return Err("the address of its operation is no URL".to_owned()),
    };
    let printable = address.bytes().all(|byte| byte.is_ascii_graphic());
    if !whole || !printable {
        return Err("the address of its operation is no URL".to_owned());
    }
    if is_of(&host, origin) {
        return Ok(address.to_owned());
    }
    Err(format!(
        "the address of its operation is at {}, which is not {}",
        host.authority, origin.authority
    ))
}

/// Whether a host is the region's, or one below it: Azure hands operations to `westeurope.management.azure.com`.
fn is_of(host: &Origin, region: &Origin) -> bool {
    if host.https != region.https || host.port() != region.port() {
        return false;
    }
    let (host, region) = (host.host(), region.host());
    let literal = region.parse::<core::net::IpAddr>().is_ok();
    let below = host.strip_suffix(region).is_some_and(|rest| rest.ends_with('.'));
    host == region || (below && !literal)
}

fn here(call: &Call) -> ResultAt {
    ResultAt { path: call.path.clone(), api_version: call.api_version.to_owned() }
}

/// For how many seconds Azure wants to be left alone.
fn wait_of(head: &Head) -> Option<u32> {
    let seconds = head.retry_after()?;
    Some(u32::try_from(seconds).unwrap_or(WAIT_S_MAX).min(WAIT_S_MAX))
}

fn state(body: &Value) -> Option<&str> {
    body.pointer("/properties/provisioningState")?.as_str()
}

fn is_final(state: &str) -> bool {
    ["Succeeded", "Failed", "Canceled"].iter().any(|last| state.eq_ignore_ascii_case(last))
}

#[cfg(test)]
mod tests;
