//! How the control plane says no.

use serde_json::json;

use super::http::Response;

/// A no, in Azure's words and with its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The code that programs look at.
    pub code: String,
    /// The words.
    pub message: String,
    /// Seconds to leave it alone.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), retry_after_s: None }
    }

    /// The request is wrong in itself.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message)
    }

    /// Not as things are now.
    pub(crate) fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(409, "OperationNotAllowed", message)
    }

    /// A resource that is not there.
    pub(crate) fn missing(kind: &str, name: &str, group: &str) -> Self {
        let message = format!(
            "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please \
             go to https://aka.ms/ARMResourceNotFoundFix"
        );
        Self::new(404, "ResourceNotFound", message)
    }

    /// A group that is not there.
    pub(crate) fn missing_group(group: &str) -> Self {
        Self::new(
            404,
            "ResourceGroupNotFound",
            format!("Resource group '{group}' could not be found."),
        )
    }

    /// Something names a resource that is not there.
    pub(crate) fn dangling(id: &str, by: &str) -> Self {
        let message = format!(
            "Resource {id} referenced by resource {by} was not found. Please make sure that the referenced resource \
             exists, and that both resources are in the same region."
        );
        Self::new(400, "InvalidResourceReference", message)
    }

    /// As an answer.
    pub(crate) fn response(&self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let response =
            Response::json(self.status, &body).with("x-ms-error-code", self.code.as_str());
        match self.retry_after_s {
            Some(seconds) => response.with("Retry-After", seconds.to_string()),
            None => response,
        }
    }
}
