//! Plans, updates, retention: what an administrator does now and then, from the first field to what came of it.

use serde_json::json;

use crate::Bed;

const PLAN: &str = "name = \"everything\"\n[[group]]\nname = \"databases\"\nserver = [{ name = \"db1\" }]\n\
    after = [{ manual = \"Look whether the database answers.\" }]\n[[group]]\nname = \"web\"\nserver = [{ name = \"web1\" }]\n";

/// Types the name that a dialog asks for, and does it.
fn confirms(bed: &mut Bed, name: &str) {
    let label = format!("Type {name} to go on");
    bed.browser.run(
        "a",
        &format!(
            "await page.getByLabel({}).fill({}); await page.locator('dialog [type=submit]').click(); \
             await page.locator('dialog').waitFor({{ state: 'detached' }});",
            json!(label),
            json!(name)
        ),
    );
}

#[test]
fn a_plan_is_written_drilled_failed_over_and_kept_with_a_manual_step_on_the_way() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/recovery", "Recovery");
    bed.browser.presses("a", "Write a plan");
    bed.browser.is_accessible_in_both("a", "a plan is written");
    for (text, said) in [
        ("[[group]]\n", "A plan needs a name"),
        (&*PLAN.replace("db1", "nobody"), "nobody"),
        ("name = \"everything\"\n[[group]\n", "TOML parse error"),
    ] {
        bed.browser.types("a", "The plan (TOML)", text);
        bed.browser.presses("a", "Save");
        let beside = "const it = page.getByLabel('The plan (TOML)', { exact: true }); \
             await page.locator('dialog [aria-invalid=true]').waitFor(); \
             return [await page.locator('dialog .wrong:not(:empty)').textContent(), await it.inputValue()];";
        let shown = bed.browser.run("a", beside);
        assert!(shown[0].as_str().is_some_and(|words| words.contains(said)), "{shown}");
        assert_eq!(shown[1], text, "what was typed stays");
    }
    bed.browser.types("a", "The plan (TOML)", PLAN);
    bed.browser.presses("a", "Save");
    bed.browser.sees("a", "The plan is saved.");
    // A new one replaces none that is there; what is edited keeps its name.
    bed.browser.presses("a", "Write a plan");
    bed.browser.types("a", "The plan (TOML)", &PLAN.replace("db1", "web2"));
    bed.browser.presses("a", "Save");
    bed.browser
        .sees("a", "There is a plan everything already: edit that one, or take another name.");
    bed.browser.run("a", "await page.locator('dialog [name=text][aria-invalid=true]').waitFor();");
    bed.browser.presses("a", "Cancel");
    let text = bed.managed.client("vera").get("/plans").json()[0]["text"].clone();
    assert_eq!(text, PLAN);
    bed.browser.presses("a", "Edit");
    bed.browser.types("a", "The plan (TOML)", PLAN);
    bed.browser.presses("a", "Save");
    bed.browser.run("a", "await page.locator('dialog').waitFor({ state: 'detached' });");
    for (drill, state) in [(true, "Drill it"), (false, "Fail over")] {
        bed.browser.presses("a", state);
        if !drill {
            bed.browser.is_accessible_in_both("a", "a failover by a plan");
            confirms(&mut bed, "everything");
        }
        bed.browser.sees("a", "Waits for a person: Look whether the database answers.");
        bed.browser.is_accessible_in_both("a", "a run that waits");
        bed.browser.presses("a", "It is done, go on");
        bed.browser.run("a", "await page.locator('.plan .health', { hasText: 'Done' }).waitFor();");
        let run = bed.managed.client("vera").get("/plans").json()[0]["last_run"].clone();
        assert_eq!((&run["drill"], &run["state"]), (&json!(drill), &json!("done")));
        let report = bed.browser.run(
            "a",
            "const href = await page.getByRole('link', { name: 'Report' }).getAttribute('href'); \
             return page.evaluate(async (href) => (await fetch(href)).status, href);",
        );
        assert_eq!(report, 200);
    }
    bed.browser.presses("a", "Commit");
    confirms(&mut bed, "everything");
    bed.browser.run("a", "await page.getByRole('button', { name: 'Commit', exact: true }).waitFor({ state: 'detached' });");
    let kept = bed.managed.client("vera").get("/plans").json()[0]["last_run"]["orders"].clone();
    assert!(kept.as_array().is_some_and(|orders| orders.len() == 2), "{kept}");
    assert!(kept.as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "committed")));
    bed.browser.complained_of_nothing("a");
}

#[test]
fn an_update_is_sent_from_the_page_however_large_and_what_is_none_is_refused() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/appliance", "Appliance");
    bed.browser.presses("a", "Put it in");
    bed.browser.run("a", "await page.locator('[name=file][aria-invalid=true]').waitFor();");
    bed.browser.is_accessible_in_both("a", "no update is chosen");
    let choose = |text: &str, bytes: usize| {
        format!(
            "await page.getByLabel('A file that ends in .update').setInputFiles({{ name: 'lifeboat.update', \
             mimeType: 'application/octet-stream', buffer: Buffer.concat([Buffer.from({}), Buffer.alloc({bytes})]) }});",
            json!(text)
        )
    };
    bed.browser.run("a", &choose("no update", 3_000_000));
    bed.browser.presses("a", "Put it in");
    bed.browser.sees("a", "is not signed by whom is trusted");
    bed.browser.run("a", &choose("LIFEBOAT UPDATE", 9_000_000));
    bed.browser.presses("a", "Put it in");
    bed.browser.sees("a", "Tried at the next start");
    let jobs = bed.managed.client("vera").get("/jobs").json();
    assert_eq!(jobs[0]["words"], "9000015 bytes came", "all of it");
    bed.browser.types("a", "Or its address", "https://updates.example/lifeboat.update");
    bed.browser.presses("a", "Put it in");
    bed.browser.sees("a", "It is got: see the jobs.");
    bed.browser.presses("a", "Restart into it");
    bed.browser.is_accessible_in_both("a", "a restart");
    confirms(&mut bed, "restart");
    bed.browser.sees("a", "It starts anew.");
    // An operator is told, and offered nothing.
    let oskar = bed.managed.client("oskar");
    assert_eq!(oskar.get("/appliance/update").json()["next"], "0.2.0");
    let kind = "content-type: application/octet-stream\r\n";
    assert_eq!(oskar.ask("PUT", "/appliance/update", kind, b"LIFEBOAT UPDATE").status, 403);
    bed.browser.complained_of_nothing("a");
}

#[test]
fn how_long_points_are_kept_is_changed_for_all_and_a_warm_seed_is_told_beside_its_server() {
    let mut bed = Bed::new();
    bed.administrator("a");
    bed.browser.goes("a", "#/vault", "Vault");
    bed.browser.sees("a", "the vault's default");
    bed.browser.run("a", "await page.getByRole('button', { name: 'Change how long points of all others are kept' }).click();");
    bed.browser.types("a", "Kept", "for a while");
    bed.browser.presses("a", "Save");
    bed.browser.run("a", "await page.locator('dialog [aria-invalid=true]').waitFor();");
    bed.browser.is_accessible_in_both("a", "a retention that cannot be read");
    bed.browser.types("a", "Kept", "7d,daily=60d");
    bed.browser.presses("a", "Save");
    bed.browser.sees("a", "7d,daily=60d");
    let rules = bed.managed.client("vera").get("/vault").json()["retention"].clone();
    assert_eq!(rules[0], json!({ "server": null, "keep": "7d,daily=60d" }));
    bed.browser.goes("a", "#/server/web1", "web1");
    bed.browser.sees("a", "Warm seed: its seed is at the newest point of the vault");
    bed.browser.complained_of_nothing("a");
}
