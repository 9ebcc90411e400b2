//! Documents signed by AWS, where a folder of them exists: they are data to try the verifier on
//! and stay out of the tree.
//!
//! The folder is the one that `ANCHORHOLD_AWS_VECTORS` names, else `shared/vectors/aws-attestation`
//! beside the checkout: `*.cose` and `aws-nitro-root-g1.pem`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use anchorhold_document::SignedDocument;
use anchorhold_verifier::{
    AppraisalPolicy, RootSha256, RustCrypto, Timestamp, TrustRoots, UnverifiedDocument,
};
use common::oracle::{Case, judge};

fn folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ANCHORHOLD_AWS_VECTORS") {
        return Some(PathBuf::from(folder));
    }
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/aws-attestation");
    beside.is_dir().then_some(beside)
}

#[test]
fn documents_of_aws_verify_at_their_own_time_and_not_today() {
    let Some(folder) = folder() else {
        eprintln!("no folder of AWS's documents here: nothing to check (ANCHORHOLD_AWS_VECTORS)");
        return;
    };
    let pem = fs::read(folder.join("aws-nitro-root-g1.pem")).unwrap();
    let roots = TrustRoots::from_pem(pem).unwrap();
    assert_eq!(roots, TrustRoots::aws_nitro_g1());

    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cose")
        {
            let bytes = fs::read(&path).unwrap();
            let at = check(&bytes, &roots);
            let name = path.display().to_string();
            cases.push(Case {
                name,
                document: bytes,
                root: RootSha256::AWS_NITRO_G1,
                at,
            });
        }
    }
    assert!(!cases.is_empty(), "no *.cose in {}", folder.display());
    // The oracle that judges our module accepts AWS's as well.
    for answer in judge(&cases) {
        assert_eq!(answer["ok"], true, "{answer}");
    }
}

/// Checks one document; says at which time.
fn check(bytes: &[u8], roots: &TrustRoots) -> Timestamp {
    let parsed = UnverifiedDocument::parse(bytes).unwrap();
    let at = parsed.claimed_time();
    let authentic = parsed.clone().authenticate(roots, at).unwrap();
    assert!(
        parsed
            .clone()
            .authenticate_with(roots, at, &RustCrypto)
            .is_ok()
    );
    assert_eq!(authentic.root_sha256(), RootSha256::AWS_NITRO_G1);
    // Our codec writes AWS's bytes.
    assert_eq!(
        authentic.document().to_payload(),
        authentic.signed().payload()
    );
    assert_eq!(SignedDocument::from_bytes(bytes).unwrap().to_bytes(), bytes);

    let mut policy = AppraisalPolicy::archived(at);
    let debug = authentic.is_debug();
    let result = authentic.clone().appraise(&policy);
    assert_eq!(
        result.map_err(|error| error.rule()).err(),
        debug.then_some("debug.refused")
    );
    policy.allow_debug = true;
    assert_eq!(authentic.appraise(&policy).unwrap().is_debug(), debug);

    let today = parsed
        .clone()
        .authenticate(
            roots,
            Timestamp::try_from(std::time::SystemTime::now()).unwrap(),
        )
        .unwrap_err();
    assert_eq!(today.rule(), "chain.expired");
    let others = TrustRoots::from_iter([RootSha256([7; 32])]);
    assert_eq!(
        parsed.authenticate(&others, at).unwrap_err().rule(),
        "root.untrusted"
    );
    at
}
