//! Which credentials win, and what is refused before anything is sent.

use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TOKEN: &str = "sv=2024-11-04&sp=r&sig=c2VjcmV0";

fn address(text: &str) -> AzureAddress {
    AzureAddress::parse(text).expect(text)
}

fn found(set: &[(&str, &str)]) -> Result<(Credentials, AzureAddress), Error> {
    let set: Vec<(String, String)> =
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Credentials::from_lookup(&address("azure://harbour/boats"), &|name| {
        set.iter().find(|(has, _)| has == name).map(|(_, value)| value.clone())
    })
}

fn connection(rest: &str) -> String {
    format!("DefaultEndpointsProtocol=https;AccountName=harbour;AccountKey={KEY};{rest}")
}

#[test]
fn the_first_that_is_set_wins() {
    let mut set =
        vec![("AZURE_CLIENT_SECRET", "s"), ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
    let text = connection("");
    assert!(matches!(found(&set), Ok((Credentials::Entra(_), _))));
    set.push(("AZURE_STORAGE_CONNECTION_STRING", &text));
    assert!(matches!(found(&set), Ok((Credentials::SharedKey(_), _))));
    set.push(("AZURE_STORAGE_SAS_TOKEN", TOKEN));
    assert!(matches!(found(&set), Ok((Credentials::Sas(_), _))));
    set.push(("AZURE_STORAGE_KEY", KEY));
    assert!(matches!(found(&set), Ok((Credentials::SharedKey(_), _))));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let set = [("AZURE_STORAGE_KEY", " "), ("AZURE_STORAGE_SAS_TOKEN", TOKEN)];
    assert!(matches!(found(&set), Ok((Credentials::Sas(_), _))));
}

#[test]
fn a_connection_string_brings_its_endpoint() {
    for (rest, origin) in [
        ("EndpointSuffix=core.windows.net", "https://harbour.blob.core.windows.net"),
        ("EndpointSuffix=core.chinacloudapi.cn", "https://harbour.blob.core.chinacloudapi.cn"),
        ("BlobEndpoint=http://127.0.0.1:10000/harbour", "http://127.0.0.1:10000"),
        ("", "https://harbour.blob.core.windows.net"),
    ] {
        let text = connection(rest);
        let (_, address) = found(&[("AZURE_STORAGE_CONNECTION_STRING", &text)]).expect(rest);
        assert_eq!(address.origin().to_string(), origin, "{rest}");
    }
    let sas =
        format!("BlobEndpoint=https://harbour.blob.core.windows.net;SharedAccessSignature={TOKEN}");
    let (credentials, _) = found(&[("AZURE_STORAGE_CONNECTION_STRING", &sas)]).expect("a string");
    assert_eq!(credentials.kind(), CredentialKind::Sas);
}

#[test]
fn a_connection_string_of_another_account_is_refused() {
    let text = connection("").replace("harbour", "airport");
    let error = found(&[("AZURE_STORAGE_CONNECTION_STRING", &text)]).expect_err("another account");
    assert!(error.to_string().contains("is for account «airport», not «harbour»"), "{error}");
    for text in ["nonsense", "AccountName=harbour", "UseDevelopmentStorage=true"] {
        let error = found(&[("AZURE_STORAGE_CONNECTION_STRING", text)]).expect_err(text);
        assert!(error.to_string().contains("copy the connection string whole"), "{error}");
    }
}

#[test]
fn half_an_identity_says_what_is_missing() {
    let error = found(&[("AZURE_CLIENT_SECRET", "s"), ("AZURE_CLIENT_ID", "c")]).expect_err("half");
    assert!(error.to_string().starts_with("AZURE_TENANT_ID: is not set"), "{error}");
    let set = [("AZURE_CLIENT_SECRET", "s"), ("AZURE_TENANT_ID", "t")];
    let error = found(&set).expect_err("half");
    assert!(error.to_string().starts_with("AZURE_CLIENT_ID: is not set"), "{error}");
    let set = [
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere/at/all.pem"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
    ];
    let error = found(&set).expect_err("no file");
    assert!(error.to_string().contains("/nowhere/at/all.pem"), "{error}");
}

#[test]
fn the_authority_must_be_https() {
    let identity = |host: &'static str| {
        found(&[
            ("AZURE_CLIENT_SECRET", "s"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_AUTHORITY_HOST", host),
        ])
    };
    assert!(identity("login.microsoftonline.us").is_ok());
    assert!(identity("https://login.microsoftonline.us/").is_ok());
    assert!(identity("http://127.0.0.1:1").is_ok(), "a test's own");
    let error = identity("http://login.microsoftonline.us").expect_err("plain HTTP");
    assert!(error.to_string().contains("AZURE_AUTHORITY_HOST"), "{error}");
}

#[test]
fn what_could_be_stolen_on_the_way_is_not_sent() {
    let open = address("azure://harbour/boats?endpoint=http://storage.example.com");
    let local = address("azure://harbour/boats?endpoint=http://127.0.0.1:1");
    let tls = address("azure://harbour/boats");
    let (entra, _) = found(&[]).expect("the machine's identity");
    let sas = Credentials::sas(&Secret::new(TOKEN)).expect("a token");
    let strict = Credentials::sas(&Secret::new(format!("spr=https&{TOKEN}"))).expect("a token");
    let key = Credentials::shared_key("harbour", &Secret::new(KEY)).expect("a key");
    for credentials in [&entra, &sas, &strict] {
        assert!(credentials.check_origin(open.origin()).is_err(), "{credentials:?}");
        assert!(credentials.check_origin(tls.origin()).is_ok(), "{credentials:?}");
    }
    assert!(strict.check_origin(local.origin()).is_err(), "the token itself says https only");
    assert!(sas.check_origin(local.origin()).is_ok());
    assert!(key.check_origin(open.origin()).is_ok(), "a signature cannot be used again");
}

#[test]
fn no_secret_is_ever_shown() {
    let text = connection("");
    for set in [
        vec![("AZURE_STORAGE_KEY", KEY)],
        vec![("AZURE_STORAGE_SAS_TOKEN", TOKEN)],
        vec![("AZURE_STORAGE_CONNECTION_STRING", text.as_str())],
        vec![
            ("AZURE_CLIENT_SECRET", "c2VjcmV0"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
        ],
    ] {
        let shown = format!("{:?}", found(&set).expect("credentials"));
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("AAECAwQF"), "{shown}");
    }
}
