//! Refusals: each of Azure's sentences becomes a kind, and words that name what to change.

use serde_json::json;

use super::*;

fn refused(status: u16, error: &Value) -> Refused {
    let body = serde_json::to_vec(&json!({"error": error})).unwrap();
    let headers = vec![("x-ms-request-id".to_owned(), "r-1".to_owned())];
    Said::new(&Head { status, headers }, &body).refuse("creating disk «a»")
}

/// Status, code, message, kind, and what the words must hold.
type Case = (u16, &'static str, &'static str, Why, &'static [&'static str]);

/// Azure's own sentences, as its documentation and its users quote them.
const CASES: &[Case] = &[
    (
        409,
        "OperationNotAllowed",
        "Operation could not be completed as it results in exceeding approved standardDSv3Family Cores quota. \
         Additional details - Deployment Model: Resource Manager, Location: westeurope, Current Limit: 10, Current \
         Usage: 8, Additional Required: 4, (Minimum) New Limit Required: 12. Submit a request for Quota increase.",
        Why::Quota,
        &[
            "standardDSv3Family Cores",
            "westeurope",
            "4 needed",
            "2 of 10 left",
            "2 missing",
            "at least 12",
        ],
    ),
    (409, "QuotaExceeded", "Something else", Why::Quota, &["Quotas"]),
    (
        409,
        "SkuNotAvailable",
        "The requested size for resource 'x' is currently not available in location 'westeurope' zones '1'.",
        Why::NoRoom,
        &["another size", "zones '1'"],
    ),
    (409, "AllocationFailed", "Allocation failed.", Why::NoRoom, &["no room", "another size"]),
    (409, "ZonalAllocationFailed", "Allocation failed.", Why::NoRoom, &["another zone"]),
    (
        403,
        "AuthorizationFailed",
        "The client 'a' with object id 'b' does not have authorization to perform action \
         'Microsoft.Compute/disks/write' over scope '/subscriptions/s/resourceGroups/rg' or the scope is invalid.",
        Why::Denied,
        &[
            "«Microsoft.Compute/disks/write»",
            "on /subscriptions/s/resourceGroups/rg;",
            "«Lifeboat recovery»",
        ],
    ),
    (
        403,
        "LinkedAuthorizationFailed",
        "The client 'a' with object id 'b' has permission to perform action \
         'Microsoft.Network/networkInterfaces/write' on scope '/s/nic'; however, it does not have permission to perform action(s) \
         'Microsoft.Network/virtualNetworks/subnets/join/action' on the linked scope(s) '/s/subnets/default'.",
        Why::Denied,
        &["«Microsoft.Network/virtualNetworks/subnets/join/action»", "on /s/subnets/default;"],
    ),
    (
        409,
        "PrivateIPAddressInUse",
        "IP configuration /x is using the private IP address 10.0.0.4.",
        Why::Address,
        &["taken", "10.0.0.4"],
    ),
    (400, "SubnetIsFull", "Subnet default is full.", Why::Address, &["no address left"]),
    (
        404,
        "ResourceGroupNotFound",
        "Resource group 'rg' could not be found.",
        Why::Missing,
        &["create it"],
    ),
    (
        409,
        "ScopeLocked",
        "The scope '/s' cannot perform write operation.",
        Why::Conflict,
        &["Locks"],
    ),
    (
        401,
        "InvalidAuthenticationTokenTenant",
        "The access token is from the wrong issuer.",
        Why::Denied,
        &["AZURE_TENANT_ID"],
    ),
    (
        401,
        "ExpiredAuthenticationToken",
        "The access token expiry UTC time…",
        Why::Denied,
        &["expired"],
    ),
    (
        409,
        "OperationNotAllowed",
        "There is an active shared access signature outstanding for disk a. Call EndGetAccess before attaching.",
        Why::Conflict,
        &["end that access"],
    ),
    (
        409,
        "OperationNotAllowed",
        "Disk a is attached to VM /subscriptions/s/vm.",
        Why::Conflict,
        &["belongs to a machine"],
    ),
    (400, "NicInUse", "Nic x is used by machine y.", Why::Conflict, &["something else uses it"]),
    (
        409,
        "PropertyChangeNotAllowed",
        "Changing property 'x' is not allowed.",
        Why::Conflict,
        &["another name"],
    ),
    (
        409,
        "InvalidResourceLocation",
        "The resource 'x' already exists in 'eastus'.",
        Why::Conflict,
        &["another region"],
    ),
    (429, "TooManyRequests", "Slow down.", Why::Later, &["no more requests"]),
    (429, "RetryableErrorDueToAnotherOperation", "Another.", Why::Later, &[]),
    (500, "InternalServerError", "", Why::Later, &["HTTP 500 InternalServerError", "r-1"]),
    (
        400,
        "SomethingNew",
        "A parameter is wrong.\nMore.",
        Why::Invalid,
        &["A parameter is wrong. (HTTP 400 SomethingNew)", "r-1"],
    ),
];

#[test]
fn each_of_azures_sentences_becomes_words_that_say_what_to_change() {
    for (status, code, message, why, wanted) in CASES {
        let refused = refused(*status, &json!({"code": code, "message": message}));
        assert_eq!((refused.why, refused.code.as_str()), (*why, *code), "{refused}");
        assert!(refused.to_string().starts_with("creating disk «a»: "), "{refused}");
        for piece in *wanted {
            assert!(refused.words.contains(piece), "{piece} in {}", refused.words);
        }
        assert!(!refused.words.contains('\n'));
    }
}

#[test]
fn a_policy_is_named_wherever_azure_puts_its_name() {
    let info = json!({"policyDefinitionDisplayName": "Only Europe", "policyAssignmentName": "x1"});
    let typed = json!({"type": "PolicyViolation", "info": info});
    let code = "RequestDisallowedByPolicy";
    let message = "Resource 'a' was disallowed by policy. Policy identifiers: \
                   '[{\"policyAssignment\":{\"name\":\"No big disks\",\"id\":\"/p\"}}]'.";
    for (error, name) in [
        (json!({"code": code, "message": "No.", "additionalInfo": [typed]}), "Only Europe"),
        (json!({"code": code, "message": message}), "No big disks"),
        (
            json!({"code": "InvalidTemplateDeployment", "details": [{"code": code, "message": message}]}),
            "No big disks",
        ),
    ] {
        let refused = refused(403, &error);
        assert_eq!(refused.why, Why::Policy);
        assert!(refused.words.starts_with(&format!("policy «{name}»")), "{refused}");
    }
}

#[test]
fn what_fails_behind_the_answer_is_told_by_its_details() {
    let body = json!({"status": "Failed", "error": {"code": "Conflict", "message": "Several.",
        "details": [{"code": "AllocationFailed", "message": "No room."}]}});
    let refused = Said::of_operation(&body).refuse("creating machine «a»");
    assert_eq!((refused.why, refused.code.as_str()), (Why::NoRoom, "AllocationFailed"));
    let silent = Said::of_operation(&json!({"status": "Canceled"})).refuse("deleting disk «a»");
    assert!(silent.words.contains("no reason"), "{silent}");
}

#[test]
fn a_login_page_is_not_taken_for_azure() {
    let head = Head { status: 403, headers: vec![] };
    for body in [&b"<html>Sign in</html>"[..], b"", b"[]", b"{\"a\":1}", b"\xff\xfe"] {
        let refused = Said::new(&head, body).refuse("looking at disk «a»");
        assert_eq!(refused.why, Why::Way, "{refused}");
        assert!(refused.words.contains("proxy"), "{refused}");
    }
}
