//! The page fits its paper, whatever is on it.

use hal_sim::entropy::SimEntropy;

use super::*;

fn head(index: u8, name: Option<&str>) -> KitHead {
    KitHead {
        server: ServerId([index; 16]),
        name: name.map(str::to_owned),
        point: PointId([index; 16]),
        time: 1_767_225_600_000 + u64::from(index) * 60_000,
    }
}

fn page(place: &str, key: Option<&RecoveryKey>, heads: &[KitHead]) -> (String, String) {
    let made = 1_763_827_500_000;
    let kit = Kit { place, vault: VaultId([0xAB; 16]), key, heads, made };
    (kit.text().to_string(), kit.html().to_string())
}

fn assert_fits(text: &str) {
    assert!(text.lines().count() <= PAGE_LINES_MAX, "{} lines:\n{text}", text.lines().count());
    for line in text.lines() {
        assert!(line.chars().count() <= LINE_LETTERS_MAX, "too wide: {line}");
    }
}

#[test]
fn the_fullest_page_fits() {
    let key = RecoveryKey::generate(&SimEntropy::new(1)).expect("randomness");
    let long_name = "n".repeat(128);
    let heads: Vec<KitHead> = (0..40).map(|index| head(index, Some(&long_name))).collect();
    for place in
        ["dir:/srv/vault", "azure://account/container", &format!("azure://{}", "x".repeat(3000))]
    {
        for heads in [&heads[..0], &heads[..1], &heads[..10], &heads] {
            for key in [None, Some(&key)] {
                let (text, html) = page(place, key, heads);
                assert_fits(&text);
                assert_eq!(
                    key.is_some(),
                    key.is_some_and(|key| text.contains(key.to_text().as_str()))
                );
                assert!(html.contains("size: A4") && !html.contains("http"), "nothing is fetched");
            }
        }
    }
}

#[test]
fn the_newest_heads_come_first_and_the_rest_is_counted() {
    let heads: Vec<KitHead> = (0..13).map(|index| head(index, None)).collect();
    let (text, _) = page("dir:/srv/vault", None, &heads);
    assert!(text.contains(&PointId([12; 16]).to_string()) && text.contains("and 3 more"));
    assert!(!text.contains(&PointId([2; 16]).to_string()));
    assert!(text.contains("2026-01-01 00:12 UTC"));
}

#[test]
fn of_a_vault_in_azure_it_says_what_to_do_where_the_site_is_gone() {
    let (text, _) = page("azure://backups01/servers", None, &[head(1, None)]);
    let (_, gone) = text.split_once("\nIF THE SITE IS GONE").expect("its heading");
    assert!(gone.contains("    az vm start --resource-group lifeboat --name lifeboat\n"), "{gone}");
    let failover = "    lifeboat failover --key-file key.txt --server NAME \\\n        --vault 'azure://backups01/servers'\n";
    assert!(gone.contains(failover), "{gone}");
    let (text, _) = page("dir:/srv/vault", None, &[head(1, None)]);
    assert!(!text.contains("IF THE SITE IS GONE"), "a folder is not in Azure");
}

#[test]
fn servers_are_named_only_when_asked() {
    let (text, _) = page("dir:/srv/vault", None, &[head(1, None), head(2, Some("payroll"))]);
    assert!(text.contains("of payroll") && text.contains("of server 01010101"));
}

#[test]
fn nothing_on_the_page_can_be_markup() {
    let place = "dir:/srv/<script>alert('1')</script>&\"\n\u{1b}[31m";
    let (text, html) = page(place, None, &[]);
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()));
}

#[test]
fn dates_are_the_calendars() {
    for (millis, expected) in [
        (0, "1970-01-01 00:00 UTC"),
        (951_782_400_000, "2000-02-29 00:00 UTC"),
        (1_709_251_199_000, "2024-02-29 23:59 UTC"),
        (1_763_827_500_000, "2025-11-22 16:05 UTC"),
        (4_107_542_400_000, "2100-03-01 00:00 UTC"),
    ] {
        assert_eq!(date_and_time(millis), expected);
    }
}
