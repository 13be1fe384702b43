//! The project's own recipe is sound; mistakes are told with their line; the lock is read back as it was written.

use super::*;

fn own() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipe.toml")
}

fn lock() -> Lock {
    let locked = |name: &str| Locked {
        name: name.into(),
        version: "1:2.3-4+deb13u1~x".into(),
        sha256: "ab".repeat(32),
        path: "pool/x.deb".into(),
    };
    Lock { resolved: 7, kernel: "linux".into(), package: vec![locked("a"), locked("linux")] }
}

#[test]
fn the_projects_recipe_and_lock_are_sound() {
    let recipe = Recipe::read(&own()).unwrap();
    let lock = Lock::read(&lock_path(&own())).unwrap().unwrap();
    for name in recipe.packages() {
        assert!(lock.package(name).is_some(), "{name} is not locked");
    }
    assert!(lock.kernel.starts_with(&recipe.kernel.series));
    for wanted in ["nvme", "megaraid_sas", "hv_netvsc", "vmxnet3", "mlx5_core", "dm-mod", "tpm_tis"]
    {
        assert!(recipe.module_names().any(|name| name == wanted), "{wanted}");
    }
    let options = recipe.kernel.command_line.join(" ");
    assert!(options.contains("panic=30") && options.len() < 2048, "{options}");
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let text = files::read_text(&own()).unwrap();
    let told =
        |text: &str| parse::<Recipe>(Path::new("recipe.toml"), text).unwrap_err().to_string();
    let wrong = told(&text.replace("\npreset = 6", "\npreset = \"high\""));
    let line = text.lines().position(|line| line == "preset = 6").unwrap() + 1;
    assert!(wrong.starts_with(&format!("recipe.toml line {line}: ")), "{wrong}");
    assert!(told(&text.replace("follow =", "folow =")).contains("folow"));
}

#[test]
fn a_lock_is_read_back_and_a_strange_one_refused() {
    let folder = std::env::temp_dir().join(format!("lifeboat-lock-{}", std::process::id()));
    let path = folder.join("recipe.lock");
    assert_eq!(Lock::read(&path).unwrap(), None);
    lock().write(&path).unwrap();
    assert_eq!(Lock::read(&path).unwrap(), Some(lock()));
    for (from, to) in [("abab", "abxy"), ("\"linux\"", "\"../../linux\""), ("1:2.3", "1 -o x")] {
        std::fs::write(&path, lock().text().replace(from, to)).unwrap();
        let error = Lock::read(&path).unwrap_err();
        assert_eq!(error.blame(), Blame::Misuse, "{from}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
