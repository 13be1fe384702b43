//! What opens a storage account, as a form gives it and as requests want it: names and values as of an environment that
//! nobody else sees.

use core::fmt;
use std::io;
use std::path::Path;

use firmware_web::api::Refusal;
use firmware_web::api::setup::CredentialAsked;
use pipeline_azure::credentials::certificate::ClientCertificate;
use pipeline_azure::transport::tls::check_authorities;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::first_run::put;
use super::refused::{field, remedy};
use crate::vault_uri::VaultUri;

/// Longest secret of one line: connection strings are the longest.
const LINE_BYTES_MAX: usize = 4096;
/// Longest certificate with its key.
const PEM_BYTES_MAX: usize = 16 * 1024;
const TITLE: &str = "the credential";
/// Files of PEM while they are needed: where requests look for their names, and what these begin with.
const CERTIFICATE: (&str, &str) = ("AZURE_CLIENT_CERTIFICATE_PATH", "azure");
const AUTHORITY: (&str, &str) = ("LIFEBOAT_CA_FILE", "authority");

/// A credential, checked as far as that goes without asking anybody.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(super) struct Credential {
    /// What kind it is, in words; empty where none is needed.
    pub(super) kind: String,
    table: Vec<(String, String)>,
    /// An application's certificate with its key, PEM.
    certificate: Option<String>,
    /// Authorities to trust beside the usual ones, PEM.
    #[serde(default)]
    authority: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kind)
    }
}

impl Credential {
    /// What was typed for this place; or which field cannot be used.
    pub(super) fn of(asked: &CredentialAsked, uri: &VaultUri) -> Result<Self, Refusal> {
        if let VaultUri::Directory(_) = uri {
            return match asked {
                CredentialAsked::Managed => Ok(Self::default()),
                _ => Err(field("/credential", TITLE, "is not needed for a folder or a disk")),
            };
        }
        let one = |kind: &str, name: &str, value: &str| {
            let value = line("value", value)?;
            Ok(Self::plain(kind, vec![(name.to_owned(), value)]))
        };
        match asked {
            CredentialAsked::Managed => {
                Ok(Self::plain("the machine's managed identity", Vec::new()))
            }
            CredentialAsked::ManagedClient { client } => {
                let table = vec![("AZURE_CLIENT_ID".to_owned(), id("client", client)?)];
                Ok(Self::plain("a managed identity", table))
            }
            CredentialAsked::AccountKey { value } => {
                one("an account key", "AZURE_STORAGE_KEY", value.expose())
            }
            CredentialAsked::Sas { value } => {
                one("a shared access signature", "AZURE_STORAGE_SAS_TOKEN", value.expose())
            }
            CredentialAsked::ConnectionString { value } => {
                one("a connection string", "AZURE_STORAGE_CONNECTION_STRING", value.expose())
            }
            CredentialAsked::ClientSecret { tenant, client, value } => {
                let mut table = application(tenant, client)?;
                table.push(("AZURE_CLIENT_SECRET".to_owned(), line("value", value.expose())?));
                Ok(Self::plain("an application's secret", table))
            }
            CredentialAsked::ClientCertificate { tenant, client, value } => {
                let pem = value.expose();
                if pem.len() > PEM_BYTES_MAX {
                    return Err(field(
                        "/credential/value",
                        TITLE,
                        "is larger than a certificate and its key are",
                    ));
                }
                ClientCertificate::from_pem(pem.as_bytes()).map_err(|what| {
                    remedy(
                        field("/credential/value", TITLE, what),
                        "give PEM with the certificate and its RSA key, unencrypted",
                    )
                })?;
                let mut whole =
                    Self::plain("an application's certificate", application(tenant, client)?);
                whole.certificate = Some(pem.to_owned());
                Ok(whole)
            }
        }
    }

    /// The same, whoever answers for the storage being vouched for by these authorities too.
    pub(super) fn trusting(self, pem: Option<&str>, uri: &VaultUri) -> Result<Self, Refusal> {
        const TITLE: &str = "the authority";
        let Some(pem) = pem.map(str::trim).filter(|pem| !pem.is_empty()) else { return Ok(self) };
        let wrong = |what: String| Err(field("/authority", TITLE, what));
        if let VaultUri::Directory(_) = uri {
            return wrong("is not needed for a folder or a disk".to_owned());
        }
        if pem.len() > PEM_BYTES_MAX {
            return wrong("is larger than a few certificates are".to_owned());
        }
        if let Err(what) = check_authorities(pem.as_bytes()) {
            return wrong(what).map_err(|refusal| {
                remedy(refusal, "give PEM: lines between BEGIN CERTIFICATE and END CERTIFICATE")
            });
        }
        let mut whole = self;
        whole.authority = Some(pem.to_owned());
        Ok(whole)
    }

    fn plain(kind: &str, table: Vec<(String, String)>) -> Self {
        Self { kind: kind.to_owned(), table, certificate: None, authority: None }
    }

    /// What it is, in words; empty where none is needed.
    pub(super) fn words(&self) -> String {
        match &self.authority {
            Some(_) => format!("{}, over an authority of your own", self.kind),
            None => self.kind.clone(),
        }
    }

    /// Names and values, as requests want them, with its files in this folder. Whoever compares it with another's sees that a
    /// file is another one.
    pub(super) fn table(&self, folder: &Path) -> Vec<(String, String)> {
        let files = self.files().map(|(variable, file, _)| {
            (variable.to_owned(), folder.join(file).display().to_string())
        });
        self.table.iter().cloned().chain(files).collect()
    }

    /// Puts its files where requests look for them.
    pub(super) fn lay_out(&self, folder: &Path) -> io::Result<()> {
        self.files().try_for_each(|(_, file, pem)| put(folder, &file, pem.as_bytes()))
    }

    /// Takes files of other credentials away, which nobody uses any more.
    pub(super) fn tidy(&self, folder: &Path) -> io::Result<()> {
        let own: Vec<String> = self.files().map(|(_, file, _)| file).collect();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let ours = [CERTIFICATE, AUTHORITY].iter().any(|(_, stem)| name.starts_with(stem));
            if ours && name.ends_with(".pem") && !own.contains(&name) {
                std::fs::remove_file(folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Where requests look for the names of files, these, named by what is in them, and that.
    fn files(&self) -> impl Iterator<Item = (&'static str, String, &str)> {
        let both = [(CERTIFICATE, &self.certificate), (AUTHORITY, &self.authority)];
        both.into_iter().filter_map(|((variable, stem), pem)| {
            let pem = pem.as_deref()?;
            let content = blake3::hash(pem.as_bytes()).to_hex();
            Some((variable, format!("{stem}-{content:.16}.pem"), pem))
        })
    }

    /// Whether tokens of Entra are asked for.
    pub(super) fn is_application(&self) -> bool {
        self.table.iter().any(|(name, _)| name == "AZURE_TENANT_ID")
    }
}

fn application(tenant: &str, client: &str) -> Result<Vec<(String, String)>, Refusal> {
    Ok(vec![
        ("AZURE_TENANT_ID".to_owned(), id("tenant", tenant)?),
        ("AZURE_CLIENT_ID".to_owned(), id("client", client)?),
    ])
}

/// A GUID, or the name of a domain.
fn id(name: &str, text: &str) -> Result<String, Refusal> {
    let text = line(name, text)?;
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
        return Ok(text);
    }
    let what = "holds characters that none has: copy it again, as it stands";
    Err(field(&format!("/credential/{name}"), TITLE, what))
}

/// One line of text without what no credential has in it.
fn line(name: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let wrong = |what: &str| Err(field(&format!("/credential/{name}"), TITLE, what));
    if text.is_empty() {
        return wrong("is empty");
    }
    if text.len() > LINE_BYTES_MAX {
        return wrong("is longer than any: copy it again, and nothing beside it");
    }
    if text.chars().any(|letter| letter.is_control() || !letter.is_ascii()) {
        return wrong("holds characters that none has: copy it again, as it stands");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use firmware_web::api::setup::Secret;

    use super::*;

    fn azure() -> VaultUri {
        "azure://lifeboat01/site".parse().unwrap()
    }

    #[test]
    fn each_kind_becomes_what_requests_look_for() {
        let names = |asked: CredentialAsked| -> Vec<String> {
            let credential = Credential::of(&asked, &azure()).unwrap();
            assert!(!format!("{credential:?}").contains("HIDDEN"));
            credential.table("/x".as_ref()).into_iter().map(|(name, _)| name).collect()
        };
        let value = || Secret::new(" HIDDEN\n");
        assert_eq!(names(CredentialAsked::AccountKey { value: value() }), ["AZURE_STORAGE_KEY"]);
        assert_eq!(names(CredentialAsked::Sas { value: value() }), ["AZURE_STORAGE_SAS_TOKEN"]);
        assert!(names(CredentialAsked::Managed).is_empty());
        let (tenant, client) = ("t".to_owned(), "c".to_owned());
        let secret = CredentialAsked::ClientSecret { tenant, client, value: value() };
        assert_eq!(names(secret), ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"]);
    }

    #[test]
    fn an_authority_of_ones_own_lies_beside_what_opens_and_is_looked_at_before() {
        let made = rcgen::generate_simple_self_signed(vec!["vault.example".to_owned()]).unwrap();
        let pem = crate::serve::identity::pem("CERTIFICATE", made.cert.der());
        let folder = "dir:/srv/v".parse().unwrap();
        let plain = || Credential::of(&CredentialAsked::Managed, &azure()).unwrap();
        let whole = plain().trusting(Some(&format!("\n{pem}\n")), &azure()).unwrap();
        let table = whole.table("/x".as_ref());
        assert!(table.len() == 1 && table[0].0 == "LIFEBOAT_CA_FILE", "{table:?}");
        assert!(table[0].1.starts_with("/x/authority-"), "{table:?}");
        assert!(whole.words().contains("authority"));
        let none = plain().trusting(Some("  "), &azure()).unwrap();
        assert!(none == plain() && !none.words().contains("authority"));
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        let large = pem.repeat(100);
        for (text, uri) in [
            ("no PEM", &azure()),
            (torn, &azure()),
            (&format!("{pem}{torn}"), &azure()),
            (&large, &azure()),
            (&pem, &folder),
        ] {
            let told = plain().trusting(Some(text), uri).unwrap_err();
            assert_eq!(told.field.as_deref(), Some("/authority"), "{text:.40}");
        }
        // What was kept before there was such a thing is read as it was.
        let old = r#"{"kind":"k","table":[],"certificate":null}"#;
        assert_eq!(serde_json::from_str::<Credential>(old).unwrap().authority, None);
    }

    /// Seen to fail: with names that do not tell contents apart an appliance compared the two, and went on with the old one.
    #[test]
    fn another_file_is_another_credential_and_the_old_one_goes() {
        let scratch = std::env::temp_dir().join(format!("lifeboat-pem-{}", std::process::id()));
        let pem = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            crate::serve::identity::pem("CERTIFICATE", made.cert.der())
        };
        let plain = || Credential::of(&CredentialAsked::Managed, &azure()).unwrap();
        let of = |name: &str| plain().trusting(Some(&pem(name)), &azure()).unwrap();
        let (old, new) = (of("old"), of("new"));
        assert_ne!(old.table(&scratch), new.table(&scratch));
        let read = |credential: &Credential| std::fs::read(&credential.table(&scratch)[0].1);
        old.lay_out(&scratch).unwrap();
        new.lay_out(&scratch).unwrap();
        assert!(
            read(&old).is_ok() && read(&new).is_ok(),
            "who is at work with the old one ends with it"
        );
        std::fs::write(scratch.join("vault.key"), "x").unwrap();
        new.tidy(&scratch).unwrap();
        assert!(read(&old).is_err() && read(&new).is_ok() && scratch.join("vault.key").exists());
        plain().tidy(&scratch).unwrap();
        assert!(read(&new).is_err());
        std::fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn what_cannot_be_one_is_told_by_its_field() {
        let long = "x".repeat(5000);
        for text in ["", "  ", "ÄÖ", "a\u{0}b", "a\nb", &long] {
            let asked = CredentialAsked::Sas { value: Secret::new(text) };
            let told = Credential::of(&asked, &azure()).unwrap_err();
            assert_eq!(told.field.as_deref(), Some("/credential/value"), "{text}");
        }
        let (tenant, client) = (String::new(), "c".to_owned());
        let asked = CredentialAsked::ClientSecret { tenant, client, value: Secret::new("x") };
        let told = Credential::of(&asked, &azure()).unwrap_err();
        assert_eq!(told.field.as_deref(), Some("/credential/tenant"));
        let (tenant, client) = ("contoso.example".to_owned(), "a/../b".to_owned());
        let asked = CredentialAsked::ClientSecret { tenant, client, value: Secret::new("x") };
        let told = Credential::of(&asked, &azure()).unwrap_err();
        assert_eq!(told.field.as_deref(), Some("/credential/client"));
        let (tenant, client) = ("t".to_owned(), "c".to_owned());
        let asked =
            CredentialAsked::ClientCertificate { tenant, client, value: Secret::new("no PEM") };
        assert!(Credential::of(&asked, &azure()).unwrap_err().remedy.unwrap().contains("PEM"));
        let folder: VaultUri = "dir:/srv/v".parse().unwrap();
        let asked = CredentialAsked::AccountKey { value: Secret::new("x") };
        assert_eq!(
            Credential::of(&asked, &folder).unwrap_err().field.as_deref(),
            Some("/credential")
        );
    }
}
