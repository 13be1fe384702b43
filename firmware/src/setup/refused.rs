//! Failures for a person in front of a form: beside which field, and what to do.

use firmware_web::api::Refusal;
use pipeline_vault::Error;
use pipeline_vault::error::Blame;

/// What a field holds cannot be used.
#[must_use]
pub fn field(field: &str, title: &str, detail: impl Into<String>) -> Refusal {
    Refusal {
        status: 422,
        title: title.to_owned(),
        detail: detail.into(),
        field: Some(field.to_owned()),
        ..Refusal::default()
    }
}

/// It is not the time for it.
#[must_use]
pub fn conflict(title: &str, detail: impl Into<String>) -> Refusal {
    Refusal { status: 409, title: title.to_owned(), detail: detail.into(), ..Refusal::default() }
}

/// With what to do now.
#[must_use]
pub fn remedy(refusal: Refusal, remedy: impl Into<String>) -> Refusal {
    Refusal { remedy: Some(remedy.into()), ..refusal }
}

/// A failure that came of what stands in this field.
#[must_use]
pub fn of(error: Error, field: &str) -> Refusal {
    Refusal { field: Some(field.to_owned()), ..plain(error) }
}

/// A failure that no field is to blame for.
#[must_use]
pub fn plain(error: Error) -> Refusal {
    let status = match error.blame {
        Blame::Device | Blame::Exhausted => 503,
        _ => 422,
    };
    let remedy = Some(error.remedy).filter(|remedy| !remedy.is_empty());
    Refusal { status, title: error.object, detail: error.what, remedy, ..Refusal::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_object_and_its_remedy() {
        let error = Error::misuse("recovery key", "has a typing mistake in group 3").remedy("look");
        let told = of(error, "/key");
        assert_eq!((told.status, told.field.as_deref()), (422, Some("/key")));
        assert_eq!(told.detail, "has a typing mistake in group 3");
        assert_eq!(told.remedy.as_deref(), Some("look"));
        assert_eq!(plain(Error::device("disk", "is gone")).status, 503);
        assert_eq!(plain(Error::device("disk", "is gone")).remedy, None);
    }
}
