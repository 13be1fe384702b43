//! Where warm seeds are: a container for all of a site's, one blob for each disk, and for orders copies beside them.

use pipeline::ids::{DiskId, OrderId, ServerId};
use pipeline_azure::AzureAddress;
use pipeline_azure::arm::id::GroupId;
use pipeline_vault::Error;

use super::vhd::whole;
use crate::profile::Profile;

/// The container in the vault's account, where the profile names no other.
const CONTAINER: &str = "seeds";
/// Largest page blob: 8 TiB.
const BLOB_BYTES_MAX: u64 = 8 << 40;

/// Whether a disk of so many bytes can have a seed.
#[must_use]
pub fn takes(disk_bytes: u64) -> bool {
    whole(disk_bytes) <= BLOB_BYTES_MAX
}

/// The place of a server's seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedPlace {
    /// The container.
    pub container: AzureAddress,
    /// Its account, by the name that the control plane has for it.
    pub account: String,
}

impl SeedPlace {
    /// The place that a profile says; `vault` is where the vault is, if that is in Azure.
    ///
    /// Errors: neither says where.
    pub fn of(profile: &Profile, vault: Option<&AzureAddress>) -> Result<Self, Error> {
        let container = match (&profile.seed_container, vault) {
            (Some(text), _) => AzureAddress::parse(text)?,
            (None, Some(vault)) => vault.beside(CONTAINER)?,
            (None, None) => {
                let what = "is wanted, and the vault is in no storage account";
                return Err(Error::misuse("a warm seed", what)
                    .remedy("name a container in the target profile: seed_container = \"azure://ACCOUNT/CONTAINER\""));
            }
        };
        let group = profile.seed_group.as_deref().unwrap_or(&profile.group);
        let group = GroupId::new(&profile.subscription, group)?;
        let account =
            format!("{group}/providers/Microsoft.Storage/storageAccounts/{}", container.account());
        Ok(Self { container, account })
    }

    /// What the seed of a disk is called.
    #[must_use]
    pub fn seed_name(server: ServerId, disk: DiskId) -> String {
        format!("{server}/{disk}.vhd")
    }

    /// What the copy is called that an order makes a disk of. Each change of point has copies of its own.
    #[must_use]
    pub fn copy_name(order: OrderId, disk: usize, round: u32) -> String {
        format!("orders/{order}/{disk}-{round}.vhd")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world::profile;

    #[test]
    fn a_seed_is_beside_the_vault_unless_the_profile_names_another_place() {
        let vault =
            AzureAddress::parse("azure://boats01/vault/site?endpoint=http://127.0.0.1:1").unwrap();
        let mut profile = profile();
        let place = SeedPlace::of(&profile, Some(&vault)).unwrap();
        assert_eq!(
            place.container.to_string(),
            "azure://boats01/seeds?endpoint=http://127.0.0.1:1"
        );
        assert!(place.account.ends_with(
            "/resourceGroups/recovered/providers/Microsoft.Storage/storageAccounts/boats01"
        ));
        assert!(place.account.starts_with("/subscriptions/"));
        assert!(SeedPlace::of(&profile, None).is_err());
        profile.seed_container = Some("azure://other02/warm".to_owned());
        profile.seed_group = Some("storage".to_owned());
        let place = SeedPlace::of(&profile, None).unwrap();
        assert_eq!(place.container.container(), "warm");
        assert!(
            place.account.contains("/resourceGroups/storage/")
                && place.account.ends_with("/other02")
        );
    }

    #[test]
    fn disks_have_seeds_up_to_what_a_page_blob_holds() {
        assert!(takes((8 << 40) - (1 << 20)) && !takes(8 << 40));
    }
}
