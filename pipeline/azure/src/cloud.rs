//! Azure's clouds as data: where blobs are, where tokens come from.

/// One of Azure's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// The name that an address uses in `?cloud=`.
    pub name: &'static str,
    /// What follows the account in the host of its blobs.
    pub blob_suffix: &'static str,
    /// The host that tokens are asked of.
    pub login: &'static str,
    /// The host of the management plane.
    pub management: &'static str,
    /// The scope of a token that storage accepts.
    pub storage_scope: &'static str,
    /// The scope of a token that the management plane accepts.
    pub management_scope: &'static str,
}

/// The commercial cloud, which addresses mean when they name none.
pub const COMMERCIAL: Cloud = Cloud {
    name: "public",
    blob_suffix: "blob.core.windows.net",
    login: "login.microsoftonline.com",
    management: "management.azure.com",
    storage_scope: "https://storage.azure.com/.default",
    management_scope: "https://management.azure.com/.default",
};

/// Azure US Government.
pub const US_GOVERNMENT: Cloud = Cloud {
    name: "usgov",
    blob_suffix: "blob.core.usgovcloudapi.net",
    login: "login.microsoftonline.us",
    management: "management.usgovcloudapi.net",
    storage_scope: "https://storage.azure.com/.default",
    management_scope: "https://management.core.usgovcloudapi.net/.default",
};

/// Azure operated by 21Vianet in China.
pub const CHINA: Cloud = Cloud {
    name: "china",
    blob_suffix: "blob.core.chinacloudapi.cn",
    login: "login.partner.microsoftonline.cn",
    management: "management.chinacloudapi.cn",
    storage_scope: "https://storage.azure.com/.default",
    management_scope: "https://management.chinacloudapi.cn/.default",
};

/// Every cloud that an address can name.
pub const CLOUDS: [Cloud; 3] = [COMMERCIAL, US_GOVERNMENT, CHINA];

impl Cloud {
    /// The cloud of that name.
    pub fn named(name: &str) -> Option<Self> {
        CLOUDS.into_iter().find(|cloud| cloud.name == name)
    }

    /// The cloud whose blobs live under this host: `ACCOUNT.blob.core.windows.net`.
    pub fn of_blob_host(host: &str) -> Option<Self> {
        CLOUDS.into_iter().find(|cloud| {
            host.strip_suffix(cloud.blob_suffix).is_some_and(|account| account.ends_with('.'))
        })
    }
}
