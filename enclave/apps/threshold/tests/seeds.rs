//! The agreements, commands and openings that the fuzz targets start from are what they must be.

use anchorhold_threshold_app::agreement::Agreement;
use anchorhold_threshold_app::opening::Opening;
use anchorhold_threshold_app::wire;

/// Names and bytes of a target's seeds.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        seeds.push((name, std::fs::read(file.path()).unwrap()));
    }
    seeds
}

#[test]
fn every_seed_of_the_agreement_parser_is_an_agreement() {
    let mut registers = 0;
    let seeds = seeds("threshold_agreement");
    for (name, bytes) in &seeds {
        let read = Agreement::parse(bytes);
        let agreement = read.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        for participant in agreement.group().members() {
            registers += agreement.registers(participant).unwrap().len();
        }
    }
    assert!(seeds.len() > 1 && registers > 0, "some ask for registers");
}

#[test]
fn every_seed_of_the_command_parser_is_a_command_or_an_opening() {
    let mut got = Vec::new();
    for (name, bytes) in seeds("threshold_command") {
        if name.starts_with("opening") {
            let read = Opening::parse(&bytes).and_then(|opening| opening.session());
            read.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
            continue;
        }
        let line = [&bytes[..], b"\n"].concat();
        let read = wire::read(&line[..]).map(drop);
        read.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        got.push(name);
    }
    got.sort();
    let all = [
        "configure",
        "dkg",
        "intake",
        "open",
        "refresh",
        "repair",
        "seal",
        "sign",
        "status",
        "sum",
    ];
    assert_eq!(got, all, "every command");
}
