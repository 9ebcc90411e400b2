//! The security module as software inside an enclave sees it, judged by AWS's own crate.

use serde_json::Value;
use std::time::Duration;

use xtask::commands::output;
use xtask::demo::{eventually, run_enclave, terminate};
use xtask::scene::Scene;
use xtask::stage;

#[test]
fn microvm_aws_nsm_crate_finds_its_device() {
    let scene = Scene::new("test", &stage::bins()).unwrap();
    let image = stage::test_image("conformance").unwrap();
    let enclave = run_enclave(&scene, &image, &["--memory", "256"]).unwrap();
    let line = eventually(Duration::from_secs(60), || {
        let mut connect = scene.program("anchorhold");
        output(connect.args(["connect", "--enclave-id", &enclave.id, "--port", "5006"]))
    })
    .unwrap();
    let result: Value = serde_json::from_str(line.trim()).unwrap();
    println!("{result}");
    assert_eq!(result["failed"], 0, "{result:#}");
    assert!(result["passed"].as_u64().unwrap() >= 20, "{result:#}");
    // It ends by itself; an enclave that is gone already is as good.
    let _ = terminate(&scene, &enclave);
}
