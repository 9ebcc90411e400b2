//! A file larger than the enclave's memory.

use std::fs::File;
use std::io::{BufWriter, Write};

use xtask::demo::pii::cast::{Cast, challenge};
use xtask::demo::{run_enclave, terminate};
use xtask::scene::Scene;
use xtask::stage;

const MEMORY_MIB: usize = 128;
const ROWS: usize = 6_000;
/// The file is half as large again as the memory.
const NOTES: usize = MEMORY_MIB * 1024 * 1024 * 3 / 2 / ROWS;

#[test]
fn microvm_records_need_not_fit_the_memory() {
    let scene = Scene::new("test", &stage::bins()).unwrap();
    let (records, job) = (scene.path("records.csv"), scene.path("draft.json"));
    let mut csv = BufWriter::new(File::create(&records).unwrap());
    writeln!(csv, "email,country,notes").unwrap();
    let notes = "so it goes on ".repeat(NOTES / 14 + 1);
    for row in 0..ROWS {
        writeln!(csv, "person{row}@example.org,DE,{notes}").unwrap();
    }
    csv.flush().unwrap();
    drop(csv);
    assert!(records.metadata().unwrap().len() > MEMORY_MIB as u64 * 1024 * 1024 * 4 / 3);
    let draft = serde_json::json!({
        "format": "anchorhold-pii-job/1", "data_set": "large", "answer_to": "anyone",
        "columns": [{"name": "email", "type": "email"}, {"name": "notes", "type": "withhold"}],
        "pass_through": ["country"],
    });
    std::fs::write(&job, draft.to_string()).unwrap();

    let mut cast = Cast::assemble(&scene).unwrap();
    let ca = format!("{}=/etc/anchorhold/kms-ca.pem", cast.kms.ca().display());
    let eif = scene.path("pii.eif");
    let image = stage::build_image(scene.bins(), "pii", &[ca], &eif).unwrap();
    cast.create_key(&image.pcrs).unwrap();
    cast.seal(Some(&job), &records).unwrap();
    let memory = MEMORY_MIB.to_string();
    let enclave = run_enclave(&scene, &eif, &["--memory", &memory]).unwrap();
    let (answer, challenge) = (scene.path("answer"), challenge().unwrap());
    cast.submit(&enclave, &challenge, &answer).unwrap();
    let opened = cast
        .open(&answer, &challenge, &scene.path("rows.csv"))
        .unwrap();
    assert_eq!(opened.pointer("/report/rows/written").unwrap(), ROWS);
    terminate(&scene, &enclave).unwrap();
}
