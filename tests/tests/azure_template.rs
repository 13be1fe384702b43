//! The template for an empty subscription reads as Bicep, and names only properties that Microsoft's specifications know.
//!
//! Bicep's own compiler is in no registry that tests reach; the parser is a third party's, of PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::azurite::{Scratch, install_once, run};
use tests::specifications::tools;

/// The parser, and what the specifications' reader needs.
const PACKAGES: [&str; 2] = ["pycep-parser==0.7.1", "jsonschema==4.26.0"];

/// Parses templates; holds what they make against the specifications where these are given.
const SCRIPT: &str = r#"
import json, sys
from pycep import BicepParser
tools, *files = sys.argv[1:]
parsed = {file: BicepParser().parse(text=open(file).read()) for file in files}
resources = [(file, name, what) for file, all in parsed.items() for name, what in all["resources"].items()]
named = [name for all in parsed.values() for name in all.get("parameters", {})]
print("resources", len(resources))
if tools:
    sys.path.insert(0, tools)
    import validate_arm as arm
    def known(path, schema):
        while "$ref" in schema:
            path, schema = arm.deref(path, schema["$ref"])
        found = {key: (path, value) for key, value in schema.get("properties", {}).items()}
        for part in schema.get("allOf", []):
            found.update(known(path, part)[2])
        return path, schema, found
    def walk(where, value, path, schema):
        path, schema, properties = known(path, schema)
        checked = 0
        if isinstance(value, dict) and (properties or schema.get("type") == "object"):
            for key, inner in value.items():
                checked += 1
                if key in properties:
                    checked += walk(f"{where}/{key}", inner, *properties[key])
                elif not schema.get("additionalProperties"):
                    print("unknown", f"{where}/{key}")
        elif isinstance(value, list) and "items" in schema:
            checked += sum(walk(where, inner, path, schema["items"]) for inner in value)
        elif isinstance(value, str) and value not in schema.get("enum", [value]) + named:
            print("unknown", f"{where} = {value}")
        return checked
    checked = 0
    for file, name, what in resources:
        place = what["type"].lower()
        ends = lambda path: path.lower().rsplit("/providers/", 1)[-1]
        fits = [(p, o) for p, path, method, o, _ in arm.OPS if method == "PUT"
                and ends(path).count("/") == 2 and ends(path).rsplit("/", 1)[0] == place]
        if what["existing"] or not fits:
            continue
        path, operation = fits[0]
        if f"/{what['api_version']}/" not in path:
            print("unknown", f"{name} version {what['api_version']}")
        config = what["config"].get("config", what["config"])
        body = {key: value for key, value in config.items() if key not in ("name", "parent", "scope")}
        checked += walk(name, body, path, arm.bodyschema(path, operation)["schema"])
    print("checked", checked)
"#;

fn python() -> Result<PathBuf, String> {
    let folder = install_once("python-pycep", &|folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        run(&mut pip).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

/// The number behind a word at the beginning of a line.
fn number(printed: &str, word: &str) -> Option<usize> {
    printed.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

#[test]
fn the_template_reads_as_bicep_and_names_only_what_azure_knows() {
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED: the parser cannot be installed here: {error}");
            return;
        }
    };
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline/azure/deploy");
    let (main, site) = (deploy.join("lifeboat.bicep"), deploy.join("site.bicep"));
    // Empty where the specifications are not at hand.
    let tools = tools().unwrap_or_default();
    let check = |main: &Path, site: &Path| {
        run(Command::new(&python).args(["-c", SCRIPT]).arg(&tools).arg(main).arg(site))
    };
    let printed = check(&main, &site).expect("it reads as Bicep");
    println!("{printed}");
    assert!(number(&printed, "resources").is_some_and(|resources| resources >= 21), "{printed}");
    assert!(!printed.contains("unknown"), "{printed}");
    // Whoever writes deletes nothing; who prunes may, so that the words that are looked for are the right ones.
    let roles = std::fs::read_to_string(&main).expect("the template");
    let role = |name: &str| {
        let from = roles.find(&format!("resource {name} ")).expect("a role");
        let (role, _) = roles[from..].split_once("\n}\n").expect("its end");
        role.to_lowercase()
    };
    assert!(role("prunerRole").contains("/blobs/delete'"));
    assert!(role("writerRole").contains("/blobs/add/action'"));
    let actions = role("writerRole");
    let mut actions = actions.lines().map(str::trim).filter(|line| line.starts_with("'microsoft."));
    assert!(actions.all(|action| !action.contains("delete") && !action.contains('*')));

    // What finds nothing wrong with anything proves nothing.
    let scratch = Scratch::new("template").expect("a folder");
    let spoilt = scratch.path().join("spoilt.bicep");
    let text = std::fs::read_to_string(&site).expect("the template");
    std::fs::write(&spoilt, text.replacen(": {", ": {{", 1)).expect("written");
    assert!(check(&main, &spoilt).is_err(), "a broken template was read");
    if tools.as_os_str().is_empty() {
        return;
    }
    assert!(number(&printed, "checked").is_some_and(|checked| checked >= 40), "{printed}");
    std::fs::write(&spoilt, text.replacen("addressPrefixes:", "adressPrefixes:", 1))
        .expect("written");
    let printed = check(&main, &spoilt).expect("it still reads as Bicep");
    assert!(
        printed.contains("unknown network/properties/addressSpace/adressPrefixes"),
        "{printed}"
    );
}
