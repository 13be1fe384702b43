//! What browsers, agents, NBD clients and Azure send.

use std::collections::BTreeMap;

use firmware::courier::errand::Came;
use firmware::nbd::codec;
use firmware_web::api::find;
use firmware_web::api::routes::Found;
use firmware_web::api::views::{admin, alerts, events, files, recovery, servers, vault};
use pipeline_azure::response::{batch, listing, pages};
use pipeline_azure::{date, transport::proxy::Proxy};
use pipeline_wire::certificate::{Peer, RequestedKey};
use pipeline_wire::enrol;
use pipeline_wire::frame;
use pipeline_wire::message::{FromAgent, FromAppliance};
use pipeline_wire::runs::checked_blocks;
use pipeline_wire::version;
use serde_json::Value;

use super::{choice, text};

/// Frames between agents and appliances, of either side.
pub(super) fn agent(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<{ frame::HEAD_BYTES }>() else { return };
    let Ok(head) = frame::head(*head) else { return };
    let body = &rest[..head.body.min(rest.len())];
    let _ = version::hello(body);
    if let Ok(message) = frame::message::<FromAgent>(body) {
        if let FromAgent::Blocks(blocks) = &message {
            let _ = checked_blocks(&blocks.runs, 1 << 24);
        }
        assert!(frame::emit(&message, head.payload).is_ok());
    }
    if let Ok(message) = frame::message::<FromAppliance>(body) {
        assert!(frame::emit(&message, head.payload).is_ok());
    }
}

/// Tokens, requests and answers of enrolment.
pub(super) fn enrolment(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 3);
    match which {
        0 => {
            if let Ok(token) = text(rest).parse::<enrol::Token>() {
                assert_eq!(token.to_string().parse::<enrol::Token>().ok(), Some(token));
            }
        }
        1 => {
            let _ = (enrol::version_of(rest), enrol::parse::<enrol::Request>(rest));
        }
        _ => drop(enrol::parse::<enrol::Answer>(rest)),
    }
}

/// Certificates, and requests for them.
pub(super) fn certificate(bytes: &[u8]) {
    let _ = (Peer::of(bytes), RequestedKey::of(bytes));
}

/// Method, path and body of a request to the API: the first line, and what follows it.
pub(super) fn api(bytes: &[u8]) {
    let text = text(bytes);
    let (line, body) = text.split_once('\n').unwrap_or((&text, ""));
    let (method, path) = line.split_once(' ').unwrap_or((line, ""));
    if let Found::Route(route, parts) = find(method, path) {
        assert!(!parts.iter().any(|part| part.len() > 300), "{}: {parts:?}", route.id);
    }
    let Ok(value) = serde_json::from_str::<Value>(body) else { return };

    shapes(&value);
}

/// Every shape that a body can have.
fn shapes(value: &Value) {
    macro_rules! each {
        ($($shape:ty),* $(,)?) => {
            $( let _ = serde_json::from_value::<$shape>(value.clone()); )*
        };
    }
    each!(
        admin::UserAsked,
        admin::PasswordAsked,
        admin::LogIn,
        admin::TokenAsked,
        admin::ApprovalAnswer,
        admin::HostNames,
        alerts::AlertsSet,
        alerts::ChannelTest,
        events::EventFilter,
        files::FilePlace,
        recovery::OrderAsked,
        recovery::PlanView,
        servers::PolicyView,
        servers::SeriesAsked,
        vault::Retention,
        BTreeMap<String, String>,
    );
}

/// Options and requests of NBD clients.
pub(super) fn nbd(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 2);
    if which == 0 {
        let Some((head, content)) = rest.split_first_chunk::<{ codec::OPTION_HEADER_BYTES }>()
        else {
            return;
        };
        if let Ok(head) = codec::parse_option_header(head) {
            let _ = codec::parse_option(head.number, content);
        }
    } else if let Some(head) = rest.first_chunk::<{ codec::REQUEST_BYTES }>() {
        let _ = codec::parse_request(head);
    }
}

/// Listings, batches, ranges and dates of Azure, and what a proxy is called.
pub(super) fn azure(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 4);
    match which {
        0 => drop(listing::parse(rest)),
        1 => drop(batch::parse("multipart/mixed; boundary=batchresponse_1", rest)),
        2 => drop(pages::page_ranges(rest)),
        _ => {
            let text = text(rest);
            let _ = (date::parse_http_date(&text), date::parse_iso_date(&text));
            drop(Proxy::parse(&text));
        }
    }
}

/// All that a courier says on a lane: the head of an answer, and its body; or what came of an errand.
pub(super) fn courier(bytes: &[u8]) {
    const BYTES_MAX: usize = 1 << 16;
    if let Some((status, read)) = firmware::courier::words::understand(bytes, BYTES_MAX) {
        assert!((100..1000).contains(&status) && read <= bytes.len());
    }
    for names in [None, Some(2)] {
        match firmware::courier::words::understand_errand(bytes, names) {
            Some(Came::Said(Ok(words) | Err(words))) => {
                assert!(!words.chars().any(char::is_control) && names.is_none());
            }
            Some(Came::Names(all)) => assert_eq!(Some(all.len()), names),
            None => {}
        }
    }
}
