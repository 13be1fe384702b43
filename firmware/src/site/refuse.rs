//! Errors as the API tells them.

use firmware_web::api::Refusal;
use pipeline_vault::error::Blame;
use pipeline_vault::{Error, Retry};

/// An error with HTTP's status: by whose fault it is.
pub(super) fn refusal(error: Error) -> Refusal {
    let status = match (error.blame, error.retry) {
        _ if error.is_missing() => 404,
        (Blame::Misuse, _) => 422,
        (Blame::Refused | Blame::Exhausted, Retry::Never) => 409,
        // The vault, Azure or this machine: what was asked may be right.
        _ => 503,
    };
    let remedy = Some(error.remedy).filter(|remedy| !remedy.is_empty());
    Refusal { status, title: error.object, detail: error.what, remedy, ..Refusal::default() }
}

/// What was sent cannot be meant; `field` is a JSON pointer into it, and empty where all of it is meant.
pub(super) fn wrong(field: &str, object: impl Into<String>, detail: impl Into<String>) -> Refusal {
    Refusal::new(422, object, detail).at(field)
}

/// It is not there.
pub(super) fn missing(object: impl Into<String>, detail: impl Into<String>) -> Refusal {
    Refusal { status: 404, title: object.into(), detail: detail.into(), ..Refusal::default() }
}

/// It cannot be done now.
pub(super) fn not_now(
    object: impl Into<String>,
    detail: impl Into<String>,
    remedy: &str,
) -> Refusal {
    let remedy = Some(remedy.to_owned());
    Refusal {
        status: 503,
        title: object.into(),
        detail: detail.into(),
        remedy,
        ..Refusal::default()
    }
}

/// Something is in the way.
pub(super) fn in_the_way(
    object: impl Into<String>,
    detail: impl Into<String>,
    remedy: &str,
) -> Refusal {
    Refusal { status: 409, ..not_now(object, detail, remedy) }
}
