//! Which proxy a request goes through: the rules of the page, asked for one host, or as the environment of a job.
//!
//! A proxy's URL may hold a password: it is handed on, never shown.

use hal::net::config::{ProxyRule, ProxyUrl};
use pipeline_azure::address::Origin;
use pipeline_azure::transport::proxy::{Exceptions, Proxy, ProxyChoice, Rule};
use pipeline_vault::Error;

/// The proxies of the page; what the environment says where it names none.
pub fn proxy_choice(rules: &[ProxyRule]) -> Result<ProxyChoice, Error> {
    if rules.is_empty() {
        return Ok(ProxyChoice::FromEnvironment);
    }
    let rules = rules.iter().map(|rule| {
        let proxy = match rule.through.is_none() {
            true => None,
            false => Some(Proxy::parse(&rule.through.0)?),
        };
        Ok(Rule { destinations: destinations(rule), proxy })
    });
    Ok(ProxyChoice::ByDestination(rules.collect::<Result<_, Error>>()?))
}

fn destinations(rule: &ProxyRule) -> Exceptions {
    Exceptions::parse(&rule.destinations.join(","))
}

/// The proxy that a request by HTTPS to this host goes through, as the page writes it; `None` for straight. The host may
/// have a port.
pub fn proxy_for(rules: &[ProxyRule], host: &str) -> Result<Option<ProxyUrl>, Error> {
    let (origin, _) = Origin::parse(&format!("https://{host}"))?;
    for rule in rules {
        // Each rule alone, so that the one way in which requests are matched is this one's, too.
        let all =
            ProxyRule { through: ProxyUrl("http://proxy.invalid:1".to_owned()), ..rule.clone() };
        if proxy_choice(&[all])?.proxy_for(&origin)?.is_some() {
            return Ok((!rule.through.is_none()).then(|| rule.through.clone()));
        }
    }
    Ok(None)
}

/// The environment of a job that talks to these hosts and no others: what the rules say, in the words that every HTTP
/// client takes. An environment has room for one proxy; rules that name two for these hosts are refused.
pub fn environment(rules: &[ProxyRule], hosts: &[&str]) -> Result<Vec<(String, String)>, Error> {
    let mut proxy: Option<ProxyUrl> = None;
    let mut straight = Vec::new();
    for host in hosts {
        match (proxy_for(rules, host)?, &proxy) {
            (None, _) => straight.push(*host),
            (Some(url), None) => proxy = Some(url),
            (Some(url), Some(before)) if url == *before => {}
            (Some(_), Some(_)) => {
                return Err(Error::misuse(
                    format!("proxy for {host}"),
                    format!("is another than that of {}", hosts.join(" or ")),
                )
                .remedy("name one proxy for all hosts of Azure"));
            }
        }
    }
    let Some(proxy) = proxy else { return Ok(Vec::new()) };
    Ok(vec![
        ("HTTPS_PROXY".to_owned(), proxy.0.clone()),
        ("HTTP_PROXY".to_owned(), proxy.0),
        ("NO_PROXY".to_owned(), straight.join(",")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(destinations: &[&str], through: &str) -> ProxyRule {
        let destinations = destinations.iter().map(|&name| name.to_owned()).collect();
        ProxyRule { destinations, through: ProxyUrl(through.to_owned()) }
    }

    const PROXY: &str = "http://name:secret@proxy.corp:3128";

    #[test]
    fn the_first_rule_that_fits_counts_and_what_none_fits_goes_straight() {
        let rules = [
            rule(&["blob.core.windows.net"], "none"),
            rule(&["*.windows.net", "10.0.0.0/8"], PROXY),
        ];
        let through = |host: &str| proxy_for(&rules, host).unwrap().map(|url| url.0);
        assert_eq!(through("vault.blob.core.windows.net"), None);
        assert_eq!(through("login.windows.net").as_deref(), Some(PROXY));
        assert_eq!(through("login.windows.net:8443").as_deref(), Some(PROXY));
        assert_eq!(through("10.1.2.3").as_deref(), Some(PROXY));
        assert_eq!(through("login.microsoftonline.com"), None);
        // The metadata service is reached by nobody else.
        let all = [rule(&["*"], PROXY)];
        assert_eq!(proxy_for(&all, "169.254.169.254").unwrap(), None);
        assert!(proxy_for(&all, "two words").is_err());
    }

    #[test]
    fn a_job_gets_its_proxy_and_what_goes_straight() {
        let rules = [rule(&["login.example"], PROXY)];
        let told = environment(&rules, &["vault.example", "login.example"]).unwrap();
        let value =
            |name: &str| told.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("HTTPS_PROXY"), Some(PROXY));
        assert_eq!(value("NO_PROXY"), Some("vault.example"));
        assert_eq!(environment(&rules, &["vault.example"]).unwrap(), []);
        let two = [rule(&["login.example"], PROXY), rule(&["*"], "http://other:1")];
        let error = environment(&two, &["login.example", "vault.example"]).unwrap_err().to_string();
        assert!(error.contains("vault.example") && !error.contains("secret"), "{error}");
    }
}
