//! The vault of first run: keys with typos, vaults of others, places that are none, and what a test leaves behind.

use super::*;

#[test]
fn a_typo_is_told_by_its_group_and_another_key_is_told_from_it() {
    let mut bed = Bed::new("typo");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let key = new_vault(&run, &bed.place("vault")).unwrap().key.clone().unwrap();
    let told = |text: &str| {
        let refused = type_key(&run, text).unwrap_err();
        assert_eq!((refused.status, refused.field.as_deref()), (422, Some("/typed")), "{text}");
        refused.detail
    };
    for group in 0..5 {
        let mut groups = key.groups.clone();
        let letter = if groups[group].starts_with('7') { "8" } else { "7" };
        groups[group].replace_range(..1, letter);
        let detail = told(&groups.join("-"));
        assert!(detail.contains(&format!("typing mistake in group {}", group + 1)), "{detail}");
    }
    assert!(told("").contains("no recovery key"));
    assert!(told(&"A".repeat(70_000)).contains("longer"));
    assert!(told("\u{0}\u{feff}…").contains("group 1"));
    let other = new_vault(&run, &bed.place("other")).unwrap().key.clone().unwrap();
    // The first vault's key is whole, and of another vault than the one that is chosen now.
    assert!(told(&key.groups.join("-")).contains("another vault"), "{other:?}");
    // One group of the other, whose check is right there as well.
    let mut mixed = other.groups.clone();
    mixed[2].clone_from(&key.groups[2]);
    assert!(told(&mixed.join("-")).contains("another one in group 3"));
    assert_eq!(run.stage(), Stage::Key);
    assert_eq!(type_key(&run, &other.file).unwrap(), Stage::Time, "the file does as well");
}

#[test]
fn a_vault_is_taken_over_only_by_who_saw_what_it_is() {
    let mut bed = Bed::new("adopt");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let key = new_vault(&run, &bed.place("vault")).unwrap().key.clone().unwrap();
    let stranger = new_vault(&run, &bed.place("stranger")).unwrap().key.clone().unwrap();
    // As a machine that has never seen them.
    bed.keep = Arc::default();
    bed.administrators = Arc::default();
    let run = {
        drop(run);
        bed.start()
    };
    pair(&run);
    keep_network(&run);
    let place = bed.place("vault");
    let typed = key.groups.join("-");
    let looked = run.set_vault(&who(), adopt(&place, &typed, None)).unwrap();
    let found = looked.found.clone().unwrap();
    assert_eq!((looked.stage, found.points, found.servers.len()), (Stage::Vault, 0, 0));
    assert!(looked.key.is_none());
    let refused = |asked: VaultAsked| at(run.set_vault(&who(), asked).unwrap_err());
    let field = |name: &str| (422, name.to_owned());
    assert_eq!(refused(adopt(&place, &stranger.groups.join("-"), None)), field("/key"));
    assert_eq!(refused(adopt(&place, &typed.replacen('-', "!", 1), None)), field("/key"));
    assert_eq!(refused(adopt(&place, "  ", None)), field("/key"));
    assert_eq!(refused(adopt(&place, &typed, Some("another"))), field("/confirm"));
    assert_eq!(refused(adopt(&bed.place("nothing"), &typed, None)), field("/place"));
    std::fs::create_dir(bed.folder.join("photos")).unwrap();
    std::fs::write(bed.folder.join("photos/one.jpg"), b"x").unwrap();
    assert_eq!(refused(adopt(&bed.place("photos"), &typed, None)), field("/place"));
    let photos = VaultAsked { place: bed.place("photos"), ..VaultAsked::default() };
    assert_eq!(refused(photos), field("/place"));
    let taken = VaultAsked { place: place.clone(), ..VaultAsked::default() };
    assert_eq!(refused(taken), field("/place"), "a vault is there: adopt it");
    assert_eq!(run.stage(), Stage::Vault);
    assert!(!bed.folder.join("nothing").exists(), "nothing is left of what was refused");
    // The file instead of the letters, with its vault's identity in it.
    let adopted = run.set_vault(&who(), adopt(&place, &key.file, Some(&found.vault))).unwrap();
    assert_eq!(adopted.stage, Stage::Time, "its key was typed a moment ago");
    let run = {
        drop(run);
        bed.start()
    };
    run.set_time(&who(), &time()).unwrap();
    assert_eq!(run.stage(), Stage::Done);
    assert_eq!(new_vault(&run, &bed.place("late")).unwrap_err().status, 409);
}

#[test]
fn what_no_place_and_no_credential_is_is_told_by_its_field() {
    let mut bed = Bed::new("fields");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let huge = format!("azure://{}/b", "a".repeat(100_000));
    for place in [
        "",
        "  ",
        "nonsense",
        "dir:",
        "dir:relative",
        "azure://",
        "azure://a",
        "s3://x/y",
        "a\u{0}b",
        &huge,
    ] {
        assert_eq!(
            at(new_vault(&run, place).unwrap_err()),
            (422, "/place".to_owned()),
            "{place:.40}"
        );
        let test = VaultTestAsked { place: place.to_owned(), ..VaultTestAsked::default() };
        assert_eq!(at(run.test_vault(test).unwrap_err()), (422, "/place".to_owned()));
    }
    let credential = CredentialAsked::AccountKey { value: Secret::new("no base64 at all!") };
    let asked = VaultAsked {
        place: "azure://lifeboat01/site".to_owned(),
        credential,
        ..VaultAsked::default()
    };
    assert_eq!(
        at(run.set_vault(&who(), asked).unwrap_err()),
        (422, "/credential/value".to_owned())
    );
    assert_eq!(run.stage(), Stage::Vault);
}

#[test]
fn the_test_of_a_folder_leaves_nothing_behind() {
    let mut bed = Bed::new("probe");
    let run = bed.start();
    pair(&run);
    let test = |name: &str| {
        let asked = VaultTestAsked { place: bed.place(name), ..VaultTestAsked::default() };
        run.test_vault(asked).unwrap()
    };
    let tested = test("vault");
    assert!(tested.good && tested.holds == "nothing", "{tested:?}");
    let steps: Vec<&str> = tested.rows.iter().map(|row| row.step.as_str()).collect();
    assert_eq!(steps, ["container", "create", "speed"]);
    assert!(!bed.folder.join("vault").exists());
    let missing = test("deep/down/vault");
    assert!(!missing.good && missing.rows[0].verdict.contains("the folder above it is missing"));
    assert!(!bed.folder.join("deep").exists());
    std::fs::create_dir(bed.folder.join("empty")).unwrap();
    assert!(test("empty").good);
    assert_eq!(std::fs::read_dir(bed.folder.join("empty")).unwrap().count(), 0);
    std::fs::create_dir(bed.folder.join("full")).unwrap();
    std::fs::write(bed.folder.join("full/one.jpg"), b"x").unwrap();
    let tested = test("full");
    assert!(!tested.good && tested.holds == "other", "{tested:?}");
    assert_eq!(std::fs::read_dir(bed.folder.join("full")).unwrap().count(), 1);
    std::fs::write(bed.folder.join("file"), b"x").unwrap();
    assert!(!test("file").good);
    keep_network(&run);
    new_vault(&run, &bed.place("vault")).unwrap();
    let before = std::fs::read_dir(bed.folder.join("vault")).unwrap().count();
    let tested = test("vault");
    assert!(tested.good && tested.holds == "vault", "{tested:?}");
    assert_eq!(std::fs::read_dir(bed.folder.join("vault")).unwrap().count(), before);
}

#[test]
fn what_opens_the_vault_in_use_is_changed_where_it_is_the_same_vault_and_in_use() {
    let mut bed = Bed::new("renew");
    let run = bed.start();
    pair(&run);
    keep_network(&run);
    let place = bed.place("vault");
    let renew = |run: &FirstRun, place: &str| {
        let asked =
            VaultAsked { place: place.to_owned(), how: How::Renew, ..VaultAsked::default() };
        run.set_vault(&who(), asked).map_err(|refusal| (refusal.status, refusal.field))
    };
    assert_eq!(renew(&run, &place).unwrap_err().0, 409, "none is in use");
    let key = new_vault(&run, &place).unwrap().key.clone().unwrap();
    assert_eq!(renew(&run, &place).unwrap_err().0, 409, "nor before everything is answered");
    type_key(&run, &key.file).unwrap();
    run.set_time(&who(), &time()).unwrap();
    assert_eq!(run.stage(), Stage::Done);
    let of_place = (422, Some("/place".to_owned()));
    assert_eq!(renew(&run, &bed.place("other")).unwrap_err(), of_place);
    assert_eq!(renew(&run, &place).unwrap().stage, Stage::Done);
    assert_eq!(bed.in_use.way().unwrap().place, place);
    // What lies there is another one now: as whoever put the wrong disk back.
    let folder = bed.folder.join("vault");
    std::fs::rename(&folder, bed.folder.join("away")).unwrap();
    assert_eq!(renew(&run, &place).unwrap_err(), of_place);
    let mut other = Bed::new("renew-other");
    let stranger = other.start();
    pair(&stranger);
    keep_network(&stranger);
    new_vault(&stranger, &place).unwrap();
    assert_eq!(renew(&run, &place).unwrap_err(), of_place);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(bed.folder.join("away"), &folder).unwrap();
    assert_eq!(renew(&run, &place).unwrap().stage, Stage::Done);
}
