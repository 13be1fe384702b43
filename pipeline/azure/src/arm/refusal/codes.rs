//! Azure's codes: what kind of refusal each is, and what is wrong and what to change where that needs no names.

use super::Why;

/// Codes that mean the same.
pub(super) struct Known {
    codes: &'static [&'static str],
    pub(super) why: Why,
    /// Empty where Azure's own sentence says it, or has to be searched for names and numbers.
    pub(super) words: &'static str,
}

/// What is known of a code.
pub(super) fn known(code: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.codes.contains(&code))
}

const fn row(codes: &'static [&'static str], why: Why, words: &'static str) -> Known {
    Known { codes, why, words }
}

const TABLE: &[Known] = &[
    row(
        &[
            "QuotaExceeded",
            "ResourceQuotaExceeded",
            "PublicIPCountLimitReached",
            "SubscriptionQuotaExceeded",
        ],
        Why::Quota,
        "",
    ),
    row(
        &["SkuNotAvailable", "NotAvailableForSubscription"],
        Why::NoRoom,
        "this size is not offered there to this subscription; choose another size, zone or region",
    ),
    row(
        &["AllocationFailed", "OverconstrainedAllocationRequest"],
        Why::NoRoom,
        "Azure has no room for this size in the region just now; choose another size, or try again later",
    ),
    row(
        &["ZonalAllocationFailed", "OverconstrainedZonalAllocationRequest"],
        Why::NoRoom,
        "Azure has no room for this size in this zone just now; choose another zone or size",
    ),
    row(
        &["InvalidAvailabilityZone", "AvailabilityZoneNotSupported"],
        Why::NoRoom,
        "the region does not have that zone for this; choose another, or none",
    ),
    row(
        &["LocationNotAvailableForResourceType"],
        Why::NoRoom,
        "the region does not offer this; choose another region",
    ),
    row(&["RequestDisallowedByPolicy", "RequestDisallowedByAzure"], Why::Policy, ""),
    row(
        &["ReadOnlyDisabledSubscription"],
        Why::Policy,
        "the subscription is disabled and can only be read; enable it in Azure's portal",
    ),
    row(
        &["PrivateIPAddressInUse", "PrivateIPAddressIsAllocated"],
        Why::Address,
        "the address is taken by something else in the network; free it, map another one, or let Azure choose",
    ),
    row(
        &["SubnetIsFull"],
        Why::Address,
        "the subnet has no address left; enlarge it or choose another",
    ),
    row(
        &["PrivateIPAddressInReservedRange"],
        Why::Address,
        "Azure keeps the first four addresses and the last of each subnet for itself; choose another",
    ),
    row(
        &["PrivateIPAddressNotInSubnet", "PrivateIPAddressNotInAnySubnet"],
        Why::Address,
        "the address is not of this subnet; map it, or choose the subnet that has it",
    ),
    row(&["AuthorizationFailed", "LinkedAuthorizationFailed", "Forbidden"], Why::Denied, ""),
    row(
        &["InvalidAuthenticationTokenTenant"],
        Why::Denied,
        "the identity is of another tenant than the subscription; check AZURE_TENANT_ID",
    ),
    row(
        &["ExpiredAuthenticationToken"],
        Why::Denied,
        "the token has expired; if it was given by hand, get a new one; else check this machine's clock",
    ),
    row(
        &["InvalidAuthenticationToken", "AuthenticationFailed"],
        Why::Denied,
        "Azure does not take the token; check the identity and the cloud",
    ),
    row(
        &["MissingSubscriptionRegistration"],
        Why::Invalid,
        "a provider is not registered in the subscription: az provider register --namespace Microsoft.Compute, and the \
         same for Microsoft.Network",
    ),
    row(
        &["ScopeLocked"],
        Why::Conflict,
        "a lock on the resource or its group forbids it; remove the lock under «Locks» in the portal",
    ),
    row(
        &["ResourceGroupBeingDeleted"],
        Why::Conflict,
        "the resource group is being deleted; wait, or use another",
    ),
    row(
        &[
            "NicInUse",
            "InUseSubnetCannotBeDeleted",
            "InUseNetworkSecurityGroupCannotBeDeleted",
            "PublicIPAddressCannotBeDeleted",
        ],
        Why::Conflict,
        "something else uses it; delete that first, or use another",
    ),
    row(
        &["NicReservedForAnotherVm"],
        Why::Conflict,
        "Azure keeps the interface for some minutes for the machine that had it; wait, then try again",
    ),
    row(
        &["OperationPreempted"],
        Why::Conflict,
        "another change of the same resource took its place; look at it and try again",
    ),
    row(
        &["InvalidResourceLocation"],
        Why::Conflict,
        "the name is taken by something in another region; choose another name or delete that",
    ),
    row(
        &["PropertyChangeNotAllowed"],
        Why::Conflict,
        "something else has this name and cannot become what is asked for; choose another name or delete that",
    ),
    row(
        &["DiskSizeNotSupported", "InvalidDiskSize"],
        Why::Invalid,
        "Azure does not take a disk of this size",
    ),
    row(
        &["NetworkInterfaceCountExceeded"],
        Why::NoRoom,
        "this size takes fewer network interfaces; choose another size",
    ),
    row(
        &["InvalidVhd"],
        Why::Invalid,
        "what was uploaded is no fixed VHD of that length: upload it again",
    ),
    row(
        &["PublicIPAddressInUse"],
        Why::Conflict,
        "something else has that public address; free it or make another",
    ),
    row(
        &["ResourceGroupNotFound"],
        Why::Missing,
        "the resource group does not exist; create it, or correct the target profile",
    ),
    row(
        &["ResourceNotFound", "NotFound", "ParentResourceNotFound"],
        Why::Missing,
        "it does not exist",
    ),
    row(
        &["SubscriptionNotFound"],
        Why::Missing,
        "the subscription does not exist or this identity sees nothing of it; check its id and the tenant",
    ),
    row(
        &[
            "RetryableErrorDueToAnotherOperation",
            "RetryableError",
            "AnotherOperationInProgress",
            "ConflictingConcurrentWriteNotAllowed",
            "ReferencedResourceNotProvisioned",
            "TooManyRequests",
            "SubscriptionRequestsThrottled",
            "InternalServerError",
            "InternalExecutionError",
            "InternalOperationError",
            "InternalNetworkError",
            "NetworkingInternalOperationError",
            "OperationTimedOut",
            "ServerTimeout",
            "GatewayTimeout",
            "VMStartTimedOut",
            "ServiceUnavailable",
        ],
        Why::Later,
        "",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_means_one_thing() {
        let all: Vec<&str> = TABLE.iter().flat_map(|known| known.codes).copied().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
