//! A closure holds all that is needed, in an order that can be loaded, and says what a kernel does not have.

use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// name: (depends, before, aliases)
fn kernel(modules: &[(&str, &str, &str, &str)]) -> Kernel {
    let modules = modules.iter().map(|(name, depends, before, aliases)| {
        let info = ModuleInfo {
            depends: words(depends),
            before: words(before),
            aliases: words(aliases),
            ..ModuleInfo::default()
        };
        ((*name).to_owned(), info)
    });
    Kernel { modules: modules.collect(), built_in: BTreeSet::from(["usbcore".to_owned()]) }
}

#[test]
fn everything_needed_comes_first() {
    let kernel = kernel(&[
        ("a_top", "z_mid usbcore", "crypto_crc", "pci:v1* of:N*T* fs-a"),
        ("z_mid", "m_low", "", ""),
        ("m_low", "", "", "pci:v2*"),
        ("crc_fast", "", "", "crypto-crc"),
        ("crc_slow", "", "", "crypto-crc"),
        ("unwanted", "", "", "pci:v3*"),
    ]);
    let order = kernel.closure(["a-top", "usbcore"].into_iter()).unwrap();
    let at = |name: &str| order.iter().position(|has| has == name).unwrap();
    assert_eq!(order.len(), 5);
    assert!(at("m_low") < at("z_mid") && at("z_mid") < at("a_top"));
    assert!(at("crc_fast") < at("a_top") && at("crc_slow") < at("a_top"));

    let index = kernel.index(&order).unwrap();
    assert_eq!(index.patterns(), 2, "only patterns of devices that a server has");
    let loaded = index.with_needs(index.wanted("pci:v1d2")[0]);
    assert_eq!(loaded.len(), 5);
    assert_eq!(Index::parse(index.to_string().as_bytes()).unwrap(), index);
}

#[test]
fn a_circle_of_wishes_is_cut_and_needs_are_kept() {
    let kernel = kernel(&[("a", "", "b", ""), ("b", "c", "a", ""), ("c", "", "", "")]);
    let order = kernel.closure(["a"].into_iter()).unwrap();
    let index = kernel.index(&order).unwrap();
    assert_eq!(index.modules().len(), 3);
    let needs = index.with_needs(index.place("b").unwrap());
    assert!(needs.contains(&index.place("c").unwrap()));
}

#[test]
fn a_module_that_is_not_there_is_named() {
    let kernel = kernel(&[("a", "b", "", "")]);
    for name in ["x-y", "a"] {
        let error = kernel.closure([name].into_iter()).unwrap_err();
        assert_eq!(error.blame(), Blame::Misuse);
        assert!(error.to_string().contains("does not have it"), "{error}");
    }
}
