//! What a job may say.

use super::*;

const DRAFT: &str = r#"{
    "format": "anchorhold-pii-job/1", "data_set": "customers", "answer_to": "anyone",
    "columns": [{"name": "email", "type": "email"}, {"name": "born", "type": "recognise"}],
    "pass_through": ["country"], "group_by": ["country"]
}"#;

const TOKEN_KEY: [u8; 48] = [0x0A; 48];

fn refused(from: &str, to: &str) -> &'static str {
    assert!(DRAFT.contains(from));
    Job::from_draft(DRAFT.replace(from, to).as_bytes(), &TOKEN_KEY)
        .unwrap_err()
        .rule()
}

#[test]
fn what_a_job_may_not_say() {
    assert_eq!(refused("job/1", "job/2"), "job.field");
    assert_eq!(refused("\"customers\"", "\"\""), "job.field");
    assert_eq!(refused("\"customers\"", "\"a b\""), "job.field");
    assert_eq!(refused("[\"country\"]\n", "[\"nowhere\"]\n"), "job.field");
    assert_eq!(refused("\"born\"", "\"email\""), "job.field");
    assert_eq!(refused("[\"country\"],", "[\"email\"],"), "job.field");
    assert_eq!(refused("\"recognise\"", "\"guess\""), "job.json");
    assert_eq!(refused("\"anyone\"", "[]"), "job.field");
    assert_eq!(refused("\"anyone\"", "\"everyone\""), "job.json");
    assert_eq!(
        refused("\"anyone\"", r#"[{"name":"me","public_key":"AAAA"}]"#),
        "job.field"
    );
    assert_eq!(
        refused("\"answer_to\"", "\"k\": 1, \"answer_to\""),
        "job.field"
    );
    assert_eq!(
        refused("\"answer_to\"", "\"more\": 1, \"answer_to\""),
        "job.json"
    );
    assert_eq!(
        Job::from_draft(&vec![b' '; MAX_JOB + 1], &TOKEN_KEY)
            .unwrap_err()
            .rule(),
        "job.size"
    );
}

#[test]
fn a_job_names_its_token_key() {
    let job = Job::from_draft(DRAFT.as_bytes(), &TOKEN_KEY).unwrap();
    assert_eq!(job.token_key_sha384(), TOKEN_KEY);
    let again = Job::from_draft(job.canonical(), &TOKEN_KEY).unwrap();
    assert_eq!(again.canonical(), job.canonical());
    let other = Job::from_draft(job.canonical(), &[8; 48]).unwrap_err();
    assert_eq!(other.rule(), "job.field");
    // Nothing stands for a token key that a canonical job leaves out or writes otherwise.
    let text = String::from_utf8(job.canonical().to_vec()).unwrap();
    let hash = "0a".repeat(48);
    for other in ["", "0a0a", &hash.to_uppercase()] {
        let text = text.replace(&hash, other);
        let refused = Job::parse_canonical(text.as_bytes()).unwrap_err();
        assert_eq!(refused.rule(), "job.field", "{text}");
    }
    let without = text.replace(&format!(",\"token_key_sha384\":\"{hash}\""), "");
    assert_ne!(without, text);
    let refused = Job::parse_canonical(without.as_bytes()).unwrap_err();
    assert_eq!(refused.rule(), "job.field");
}

#[test]
fn only_the_canonical_form_is_a_job_file() {
    let job = Job::from_draft(DRAFT.as_bytes(), &TOKEN_KEY).unwrap();
    assert_eq!(job.k(), DEFAULT_K);
    let canonical = job.canonical().to_vec();
    assert_eq!(
        Job::parse_canonical(&canonical).unwrap().sha384(),
        job.sha384()
    );
    let hash = "0a".repeat(48);
    let named = DRAFT.replacen('{', &format!(r#"{{"token_key_sha384": "{hash}","#), 1);
    assert_eq!(
        Job::parse_canonical(named.as_bytes()).unwrap_err().rule(),
        "job.canonical"
    );
    let mut spaced = canonical.clone();
    spaced.push(b'\n');
    assert_eq!(
        Job::parse_canonical(&spaced).unwrap_err().rule(),
        "job.canonical"
    );
    // A second "k" would be read as an error, never as the looser of the two.
    let text = String::from_utf8(canonical).unwrap();
    let twice = text.replace("\"k\":5", "\"k\":50,\"k\":2");
    assert_eq!(
        Job::parse_canonical(twice.as_bytes()).unwrap_err().rule(),
        "job.json"
    );
}

#[test]
fn declared_types() {
    let job = Job::from_draft(DRAFT.as_bytes(), &TOKEN_KEY).unwrap();
    assert_eq!(job.declared("email"), Some(Some(ColumnType::Email)));
    assert_eq!(job.declared("country"), Some(Some(ColumnType::PassThrough)));
    assert_eq!(job.declared("born"), Some(None));
    assert_eq!(job.declared("else"), None);
}
