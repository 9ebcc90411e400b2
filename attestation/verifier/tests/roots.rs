//! Which PEM texts name trusted roots.

mod common;

use anchorhold_verifier::{RootSha256, TrustRootError, TrustRoots};
use common::Genuine;
use common::forge::{Link, chain, links};
use rcgen::{IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};

fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()))
}

fn refusal(text: impl AsRef<[u8]>) -> TrustRootError {
    TrustRoots::from_pem(text).unwrap_err()
}

#[test]
fn texts_without_certificates_are_refused() {
    assert_eq!(refusal("").rule(), "roots.count");
    assert_eq!(refusal("not PEM").rule(), "roots.count");
    assert_eq!(refusal([0xFF; 100]).rule(), "roots.count");
    let key = pem::encode(&pem::Pem::new("PRIVATE KEY", vec![1, 2, 3]));
    assert_eq!(refusal(key).rule(), "roots.label");
    let root = Genuine::boot(false).root_pem();
    assert_eq!(
        refusal(root.replace("END CERT", "END KERT")).rule(),
        "roots.pem"
    );
    assert_eq!(
        refusal(root.repeat(TrustRoots::MAX_PEM_CERTIFICATES + 1)).rule(),
        "roots.count"
    );
}

#[test]
fn files_without_roots_are_refused_and_read_within_bounds() {
    let rule = |path: &str| {
        TrustRoots::from_pem_file(path.as_ref())
            .map_err(|error| error.rule())
            .unwrap_err()
    };
    assert_eq!(rule("/nowhere/root.pem"), "roots.file");
    assert_eq!(rule("/"), "roots.file");
    assert_eq!(rule("/dev/zero"), "roots.size");
    assert_eq!(rule("/dev/null"), "roots.count");
    let genuine = Genuine::boot(false);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    std::fs::write(&file, genuine.root_pem()).unwrap();
    let read = TrustRoots::from_pem_file(&file).unwrap();
    assert_eq!(read, genuine.roots());
}

#[test]
fn certificates_that_can_be_no_root_are_refused() {
    let refused = |der: &[u8]| refusal(pem_of(der)).rule();
    let forged = chain(&links());
    for certificate in &forged.certificates[1..] {
        assert_eq!(refused(certificate), "roots.certificate");
    }
    let with = |change: &dyn Fn(&mut Link)| {
        let mut root = Link::issuer("root", None);
        change(&mut root);
        chain(&[root]).certificates.remove(0)
    };
    assert_eq!(
        refused(&with(&|root| root.is_ca = IsCa::ExplicitNoCa)),
        "roots.certificate"
    );
    assert_eq!(
        refused(&with(
            &|root| root.usages = vec![KeyUsagePurpose::DigitalSignature]
        )),
        "roots.certificate"
    );
    assert_eq!(
        refused(&with(&|root| root.algorithm = &PKCS_ECDSA_P256_SHA256)),
        "roots.certificate"
    );
    assert_eq!(refused(&[0x30, 0x00]), "roots.certificate");
    assert!(TrustRoots::from_pem(pem_of(&with(&|_| ()))).is_ok());
}

#[test]
fn roots_are_known_by_their_hash() {
    let (one, other) = (Genuine::boot(false), Genuine::boot(false));
    let both = TrustRoots::from_pem(format!("{}{}", one.root_pem(), other.root_pem())).unwrap();
    assert_eq!(both.len(), 2);
    let mut roots = one.roots();
    assert_eq!(roots, TrustRoots::from_pem(one.root_pem()).unwrap());
    roots.extend(&other.roots());
    assert_eq!(roots, both);
    let first = RootSha256(one.module.platform().root_sha256());
    assert!(roots.contains(&first) && !roots.insert(first));
    assert_eq!(first.to_string().parse(), Ok(first));
    assert!("zz".repeat(32).parse::<RootSha256>().is_err());
    assert!("00".repeat(31).parse::<RootSha256>().is_err());
    let aws = "641A0321A3E244EFE456463195D606317ED7CDCC3C1756E09893F3C68F79BB5B";
    assert_eq!(
        TrustRoots::aws_nitro_g1(),
        TrustRoots::from_iter([aws.parse().unwrap()])
    );
}
