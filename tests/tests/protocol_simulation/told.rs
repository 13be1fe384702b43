//! What happened, in words that a person can follow.

use pipeline_vault::{Error, names};

use crate::gate::{Reply, Request};
use crate::keys::SERVER;

/// A call and its answer in a few words.
pub(crate) fn told(request: &Request, reply: &Result<Reply, Error>) -> String {
    let asked = match request {
        Request::Create(name, body) => format!("create {} ({} bytes)", short(name), body.len()),
        Request::Read(name, offset, length) => format!("read {} {offset}+{length}", short(name)),
        Request::ReadAll(name, _) => format!("read {}", short(name)),
        Request::Facts(name) => format!("facts {}", short(name)),
        Request::List(prefix, ..) => format!("list {}", prefix.split('/').next().unwrap_or("")),
        Request::Delete(names) => {
            let names: Vec<_> = names.iter().map(|name| short(name)).collect();
            format!("delete {}", names.join(" "))
        }
        Request::Now => "now".to_owned(),
    };
    let answer = match reply {
        Ok(Reply::Created(created)) => format!("{created:?}"),
        Ok(Reply::Listing(listing)) => {
            let names: Vec<_> = listing.objects.iter().map(|facts| short(&facts.name)).collect();
            names.join(" ")
        }
        Ok(_) => String::new(),
        Err(error) => error.what.clone(),
    };
    format!("{asked}: {answer}")
}

/// A name without the server: slots by number, segments by their first digits.
fn short(name: &str) -> String {
    if let Ok(slot) = names::slot_of(&SERVER, name) {
        return format!("slot {slot}");
    }
    match names::segment_of(&SERVER, name) {
        Some(segment) => format!("seg {:.6}", segment.to_string()),
        None => name.rsplit('/').next().unwrap_or(name).chars().take(10).collect(),
    }
}
