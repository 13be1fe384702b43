//! Refusals in words for a person: what was refused, whose fault it is, what to do now.

use pipeline_vault::Error;
use pipeline_vault::error::Retry;

use crate::address::AzureAddress;
use crate::credentials::CredentialKind;
use crate::date::iso_date;
use crate::response::Refusal;

/// Azure refuses requests whose clock is off by more than this.
const SKEW_MS_MAX: u64 = 15 * 60 * 1000;

/// What was being done: it decides which permission is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Read,
    List,
    Delete,
    MakeContainer,
    Lease,
    SetTier,
}

/// Everything that an explanation may need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) act: Act,
    pub(crate) object: &'a str,
    pub(crate) address: &'a AzureAddress,
    pub(crate) kind: CredentialKind,
    /// When a shared access signature begins and ends.
    pub(crate) term: (Option<u64>, Option<u64>),
    pub(crate) local_ms: u64,
}

/// The refusal as an error.
pub(crate) fn explain(refusal: &Refusal, scene: &Scene<'_>) -> Error {
    if !refusal.from_storage {
        return foreign(refusal, scene);
    }
    match refusal.status {
        401 | 403 => forbidden(refusal, scene),
        400 if refusal.code == "InvalidAuthenticationInfo" => forbidden(refusal, scene),
        404 => missing(refusal, scene),
        409 | 412 => conflict(refusal, scene),
        _ => other(refusal, scene),
    }
}

/// Something between us and Azure answered.
fn foreign(refusal: &Refusal, scene: &Scene<'_>) -> Error {
    let what = format!(
        "{} answers HTTP {} but is not Azure's blob service: a proxy, a firewall or a login page",
        scene.address.origin().authority,
        refusal.status
    );
    Error::refused(scene.object, what)
        .remedy("check the endpoint and what stands between this machine and it")
        .retry(Retry::Later)
}

fn forbidden(refusal: &Refusal, scene: &Scene<'_>) -> Error {
    if let Some(error) = clock(refusal, scene) {
        return error;
    }
    if let Some(error) = term(refusal, scene) {
        return error;
    }
    let refused = |what: String, remedy: String| Error::refused(scene.object, what).remedy(remedy);
    let account = scene.address.account();
    match refusal.code.as_str() {
        "AuthorizationPermissionMismatch" | "AuthorizationResourceTypeMismatch"
        | "AuthorizationServiceMismatch" | "InsufficientAccountPermissions"
        | "UnauthorizedBlobOverwrite" => permission(scene),
        "AuthorizationSourceIPMismatch" => refused(
            "Azure refuses this machine's address".to_owned(),
            "use a shared access signature that allows it".to_owned(),
        ),
        "AuthorizationProtocolMismatch" => refused(
            "the shared access signature allows https only".to_owned(),
            "use an https endpoint".to_owned(),
        ),
        "KeyBasedAuthenticationNotPermitted" => refused(
            format!("account «{account}» does not accept its keys"),
            "use an Entra identity (AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret or certificate), \
             or allow shared key access on the account"
                .to_owned(),
        ),
        "AccountIsDisabled" => refused(
            format!("account «{account}» is disabled"),
            "check the subscription in Azure's portal".to_owned(),
        ),
        "PublicAccessNotPermitted" | "NoAuthenticationInformation" | "ResourceNotFound" => refused(
            "Azure wants credentials and got none that it reads".to_owned(),
            credential_remedy(scene),
        ),
        "AuthorizationFailure" => refused(
            format!("account «{account}» refuses {}", credential_name(scene.kind)),
            format!(
                "{}; or the account's firewall does not let this machine in",
                credential_remedy(scene)
            ),
        ),
        _ => refused(
            format!("Azure refuses {} ({})", credential_name(scene.kind), named(refusal)),
            credential_remedy(scene),
        ),
    }
}

/// A clock that is too wrong explains every refused signature or token.
fn clock(refusal: &Refusal, scene: &Scene<'_>) -> Option<Error> {
    let azure = refusal.date?;
    let skew = azure.abs_diff(scene.local_ms);
    if skew <= SKEW_MS_MAX {
        return None;
    }
    let side = if azure > scene.local_ms { "behind" } else { "ahead of" };
    let what = format!(
        "Azure refuses the request because this machine's clock is {} {side} Azure's",
        span(skew)
    );
    Some(Error::refused(scene.object, what).remedy("set the clock (NTP), then run it again"))
}

/// Minutes up to two hours, hours up to two days, then days.
fn span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..=120 => format!("{minutes} minutes"),
        121..=2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

/// A shared access signature that says itself why it is refused.
fn term(refusal: &Refusal, scene: &Scene<'_>) -> Option<Error> {
    let now = refusal.date.unwrap_or(scene.local_ms);
    let (starts, ends) = scene.term;
    let what = match (starts, ends) {
        (_, Some(ends)) if ends <= now => {
            format!("the shared access signature ended at {}", iso_date(ends))
        }
        (Some(starts), _) if starts > now => {
            format!("the shared access signature begins only at {}", iso_date(starts))
        }
        _ => return None,
    };
    let remedy = "make a new one and put it into AZURE_STORAGE_SAS_TOKEN";
    Some(Error::refused(scene.object, what).remedy(remedy))
}

/// The credentials are good, but not for this.
fn permission(scene: &Scene<'_>) -> Error {
    let (doing, letter, role) = match scene.act {
        Act::Create => ("create objects", "c", "Storage Blob Data Contributor"),
        Act::Read => ("read objects", "r", "Storage Blob Data Reader"),
        Act::List => ("list objects", "l", "Storage Blob Data Reader"),
        Act::Delete => ("delete objects", "d", "Storage Blob Data Contributor"),
        Act::MakeContainer => ("make containers", "c", "Storage Blob Data Contributor"),
        Act::Lease => ("take leases", "w", "Storage Blob Data Contributor"),
        Act::SetTier => ("change tiers", "w", "Storage Blob Data Contributor"),
    };
    let mut remedy = match scene.kind {
        CredentialKind::Sas => format!("use a signature with the permission «{letter}»"),
        _ => format!(
            "give it the role «{role}» on {}; new roles take some minutes",
            scene.address.container_object()
        ),
    };
    if scene.act == Act::Delete {
        remedy.push_str(", or prune with the identity that is kept for it");
    }
    let what = format!("{} may not {doing}", credential_name(scene.kind));
    Error::refused(scene.object, what).remedy(remedy)
}

fn missing(refusal: &Refusal, scene: &Scene<'_>) -> Error {
    if refusal.code == "ContainerNotFound" {
        return Error::misuse(scene.address.container_object(), "does not exist")
            .remedy("check the address, or make it with: lifeboat vault create");
    }
    Error::missing(scene.object)
}

fn conflict(refusal: &Refusal, scene: &Scene<'_>) -> Error {
    let refused = |what: &str, remedy: &str| {
        Error::refused(scene.object, what).remedy(remedy).retry(Retry::Later)
    };
    match refusal.code.as_str() {
        "BlobImmutableDueToPolicy" | "ImmutableBlobPolicy" => refused(
            "is protected by an immutability policy or a legal hold",
            "it can be deleted when its term has ended",
        ),
        "LeaseIdMissing"
        | "LeaseAlreadyPresent"
        | "LeaseIdMismatchWithBlobOperation"
        | "LeaseIdMismatchWithLeaseOperation"
        | "LeaseIsBreakingAndCannotBeAcquired" => refused(
            "is leased by somebody else",
            "wait until that lease ends, or break it if nobody works with this vault",
        ),
        "LeaseNotPresentWithLeaseOperation"
        | "LeaseIsBrokenAndCannotBeRenewed"
        | "LeaseLost"
        | "LeaseNotPresentWithBlobOperation" => {
            refused("is not leased any more", "take the lease again").retry(Retry::Now)
        }
        "BlobArchived" | "BlobBeingRehydrated" => refused(
            "is in the archive tier and cannot be read now",
            "set its tier to Hot and come back when Azure has brought it, which takes up to 15 hours",
        ),
        "SnapshotsPresent" => refused(
            "has snapshots and cannot be deleted",
            "delete its snapshots: this vault never makes any",
        ),
        "ContainerBeingDeleted" => {
            Error::refused(scene.address.container_object(), "is being deleted by somebody")
                .remedy("wait some minutes, or use another name")
                .retry(Retry::Later)
        }
        "ContainerDisabled" | "AccountBeingCreated" => {
            refused("cannot be reached while Azure sets things up", "wait and run it again")
        }
        _ => Error::refused(scene.object, format!("Azure refuses ({})", named(refusal)))
            .remedy(refusal_remedy(refusal)),
    }
}

fn other(refusal: &Refusal, scene: &Scene<'_>) -> Error {
    let what = match refusal.code.as_str() {
        "RequestBodyTooLarge" => "is too large for one request".to_owned(),
        "FeatureNotSupported" | "APINotImplemented" | "UnsupportedHeader" => {
            format!("the endpoint does not know this request ({})", named(refusal))
        }
        _ => format!("Azure answers {}", named(refusal)),
    };
    let error = Error::refused(scene.object, what).remedy(refusal_remedy(refusal));
    if refusal.status >= 500 { error.retry(Retry::Later) } else { error }
}

/// `503 ServerBusy`.
pub(crate) fn named(refusal: &Refusal) -> String {
    format!("{} {}", refusal.status, refusal.code).trim_end().to_owned()
}

fn refusal_remedy(refusal: &Refusal) -> String {
    let mut remedy = refusal.message.trim_end_matches('.').to_owned();
    if !refusal.request_id.is_empty() {
        let separator = if remedy.is_empty() { "" } else { "; " };
        remedy
            .push_str(&format!("{separator}Microsoft finds it as request {}", refusal.request_id));
    }
    remedy
}

fn credential_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::SharedKey => "the account key",
        CredentialKind::Sas => "the shared access signature",
        CredentialKind::Entra => "the identity",
    }
}

fn credential_remedy(scene: &Scene<'_>) -> String {
    let account = scene.address.account();
    match scene.kind {
        CredentialKind::SharedKey => format!(
            "check AZURE_STORAGE_KEY: it must be key1 or key2 of account «{account}», and keys may have been rotated"
        ),
        CredentialKind::Sas => format!(
            "check AZURE_STORAGE_SAS_TOKEN: it must be for account «{account}» and container «{}», and still hold",
            scene.address.container()
        ),
        CredentialKind::Entra => {
            "check AZURE_TENANT_ID and AZURE_CLIENT_ID: the identity must be of the account's own tenant"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
