//! Each refusal is one line that says whose fault it is and what to do.

use pipeline_vault::Blame;

use super::*;

const NOW: u64 = 1_795_351_475_000;

fn refusal(status: u16, code: &str) -> Refusal {
    Refusal {
        status,
        code: code.to_owned(),
        date: Some(NOW),
        from_storage: true,
        request_id: "r-1".to_owned(),
        ..Refusal::default()
    }
}

fn told(refusal: &Refusal, act: Act, kind: CredentialKind) -> Error {
    told_with(refusal, act, kind, (None, None), NOW)
}

fn told_with(
    refusal: &Refusal,
    act: Act,
    kind: CredentialKind,
    term: (Option<u64>, Option<u64>),
    local_ms: u64,
) -> Error {
    let address = AzureAddress::parse("azure://harbour/boats").expect("an address");
    let object = "azure://harbour/boats/seg/1";
    let error = explain(refusal, &Scene { act, object, address: &address, kind, term, local_ms });
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

fn says(error: &Error, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "«{word}» is missing in: {error}");
    }
}

#[test]
fn a_wrong_clock_is_named_with_its_minutes() {
    let refused = refusal(403, "AuthenticationFailed");
    let minute = 60_000;
    for (local, words) in [
        (NOW - 47 * minute, ["47 minutes behind", "NTP"]),
        (NOW + 20 * minute, ["20 minutes ahead of", "NTP"]),
        (NOW + 5 * 60 * minute, ["5 hours ahead of", "NTP"]),
        (NOW - 60 * 24 * 60 * minute, ["60 days behind", "NTP"]),
    ] {
        let error = told_with(&refused, Act::Read, CredentialKind::SharedKey, (None, None), local);
        says(&error, &words);
    }
    let error = told(&refused, Act::Read, CredentialKind::SharedKey);
    says(&error, &["refuses the account key", "AZURE_STORAGE_KEY"]);
}

#[test]
fn a_signature_outside_its_term_says_so() {
    let refused = refusal(403, "AuthenticationFailed");
    let ended = (None, Some(NOW - 1000));
    let error = told_with(&refused, Act::Read, CredentialKind::Sas, ended, NOW);
    says(&error, &["signature ended at 2026-11-22T12:44:34Z", "AZURE_STORAGE_SAS_TOKEN"]);
    let later = (Some(NOW + 1000), None);
    let error = told_with(&refused, Act::Read, CredentialKind::Sas, later, NOW);
    says(&error, &["begins only at 2026-11-22T12:44:36Z"]);
    let holds = (Some(NOW - 1000), Some(NOW + 1000));
    let error = told_with(&refused, Act::Read, CredentialKind::Sas, holds, NOW);
    says(&error, &["refuses the shared access signature", "container «boats»"]);
}

#[test]
fn a_missing_permission_names_the_role_or_letter() {
    let refused = refusal(403, "AuthorizationPermissionMismatch");
    let error = told(&refused, Act::Delete, CredentialKind::Entra);
    says(&error, &["may not delete", "Storage Blob Data Contributor", "prune with the identity"]);
    let error = told(&refused, Act::List, CredentialKind::Entra);
    says(&error, &["may not list", "Storage Blob Data Reader", "container «boats»"]);
    let error = told(&refused, Act::Create, CredentialKind::Sas);
    says(&error, &["may not create", "permission «c»"]);
    assert_eq!((error.blame, error.retry), (Blame::Refused, Retry::Never));
}

#[test]
fn other_refusals_of_identity_say_what_to_change() {
    for (status, code, words) in [
        (403, "KeyBasedAuthenticationNotPermitted", ["does not accept its keys", "Entra"]),
        (403, "AuthorizationSourceIPMismatch", ["this machine's address", "signature"]),
        (403, "AuthorizationProtocolMismatch", ["https only", "https endpoint"]),
        (403, "AuthorizationFailure", ["refuses the account key", "firewall"]),
        (403, "AccountIsDisabled", ["is disabled", "portal"]),
        (401, "InvalidAuthenticationInfo", ["refuses the account key", "AZURE_STORAGE_KEY"]),
        (400, "InvalidAuthenticationInfo", ["refuses the account key", "AZURE_STORAGE_KEY"]),
        (401, "NoAuthenticationInformation", ["wants credentials", "AZURE_STORAGE_KEY"]),
    ] {
        let error = told(&refusal(status, code), Act::Read, CredentialKind::SharedKey);
        assert_eq!(error.blame, Blame::Refused, "{code}");
        says(&error, &words);
    }
}

#[test]
fn conflicts_are_told_apart_by_their_code() {
    for (status, code, word) in [
        (409, "BlobImmutableDueToPolicy", "immutability policy"),
        (409, "LeaseAlreadyPresent", "leased by somebody else"),
        (412, "LeaseIdMissing", "leased by somebody else"),
        (412, "LeaseLost", "not leased any more"),
        (409, "BlobArchived", "archive tier"),
        (409, "BlobBeingRehydrated", "15 hours"),
        (409, "SnapshotsPresent", "snapshots"),
        (409, "ContainerBeingDeleted", "being deleted"),
        (409, "SomethingNew", "409 SomethingNew"),
    ] {
        let error = told(&refusal(status, code), Act::Delete, CredentialKind::SharedKey);
        assert_eq!(error.blame, Blame::Refused, "{code}");
        says(&error, &[word]);
    }
}

#[test]
fn missing_things_are_told_apart() {
    let error = told(&refusal(404, "ContainerNotFound"), Act::Read, CredentialKind::Entra);
    says(&error, &["container «boats»", "vault create"]);
    assert!(!error.is_missing() && error.blame == Blame::Misuse);
    let error = told(&refusal(404, "BlobNotFound"), Act::Read, CredentialKind::Entra);
    assert!(error.is_missing());
}

#[test]
fn what_is_not_azure_is_said_so() {
    let mut refused = refusal(403, "");
    refused.from_storage = false;
    let error = told(&refused, Act::Read, CredentialKind::SharedKey);
    says(&error, &["HTTP 403", "is not Azure's blob service", "harbour.blob.core.windows.net"]);
}

#[test]
fn unknown_refusals_carry_azure_s_words_and_number() {
    let mut refused = refusal(400, "InvalidUri");
    refused.message = "The requested URI does not represent any resource on the server.".to_owned();
    let error = told(&refused, Act::Read, CredentialKind::SharedKey);
    says(&error, &["400 InvalidUri", "does not represent any resource", "request r-1"]);
}
