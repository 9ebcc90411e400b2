//! Every way around the measurement, really tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anchorhold_eif::{Eif, EifWriter};
use anyhow::{Context, Result, bail};

use crate::demo::pii::cast::{Cast, Files, challenge, platform_root};
use crate::demo::progress::Progress;
use crate::demo::{Enclave, Refusal, refusal_of, run_enclave, terminate};
use crate::paths;
use crate::stage::Image;

/// A line of the application, in which one byte is changed.
const MARK: &[u8] = b"anchorhold-pii: serving";

/// Tries everything. `enclave` runs the agreed image.
///
/// # Errors
/// Something cannot be tried.
pub fn try_all(
    cast: &mut Cast<'_>,
    progress: &mut Progress,
    image: &Image,
    enclave: &Enclave,
    memory: &str,
) -> Result<Vec<Refusal>> {
    let mut trials = Trials {
        cast,
        refusals: Vec::new(),
        memory,
    };
    progress.step("refusals", "trying every way around it", |progress| {
        trials.other_image(progress, image)?;
        trials.debug_mode(progress, image)?;
        trials.without_document(progress)?;
        trials.stale_document(progress)?;
        trials.other_roots(progress, image)?;
        trials.hostile_parent(progress, enclave)?;
        trials.old_answer(progress)
    })?;
    Ok(trials.refusals)
}

struct Trials<'c, 's> {
    cast: &'c mut Cast<'s>,
    refusals: Vec<Refusal>,
    memory: &'c str,
}

impl Trials<'_, '_> {
    /// Runs a call that must be refused, and notes by which rule.
    fn refused(&mut self, progress: &Progress, case: &str, call: &mut Command) -> Result<()> {
        let refusal = refusal_of(call).with_context(|| case.to_owned())?;
        let refused = refusal.is_some();
        let (rule, message) = refusal.unwrap_or_default();
        let rule = deciding_rule(&message).unwrap_or(rule);
        progress.note(&format!(
            "{} {case}",
            if refused { "✓" } else { "✗ NOT REFUSED:" }
        ));
        progress.note(&format!("    {rule}: {message}"));
        self.refusals.push(Refusal {
            case: case.to_owned(),
            refused,
            rule,
        });
        Ok(())
    }

    fn answer(&self) -> PathBuf {
        self.cast.scene.path("refused-answer")
    }

    /// Boots an image and hands it the records; it must not get the key.
    fn boot_and_submit(
        &mut self,
        progress: &Progress,
        case: &str,
        eif: &Path,
        debug: bool,
    ) -> Result<()> {
        let mut arguments = vec!["--memory", self.memory];
        if debug {
            arguments.push("--debug-mode");
        }
        let enclave = run_enclave(self.cast.scene, eif, &arguments)?;
        self.cast.wait_for(&enclave)?;
        let mut submit = self
            .cast
            .submission(&enclave, &challenge()?, &self.answer());
        self.refused(progress, case, &mut submit)?;
        terminate(self.cast.scene, &enclave)
    }

    fn other_image(&mut self, progress: &Progress, image: &Image) -> Result<()> {
        let other = self.cast.scene.path("other.eif");
        change_one_byte(&image.eif, &other, MARK)?;
        let case = "another image: one byte changed in the application";
        self.boot_and_submit(progress, case, &other, false)
    }

    fn debug_mode(&mut self, progress: &Progress, image: &Image) -> Result<()> {
        self.boot_and_submit(progress, "the same image in debug mode", &image.eif, true)
    }

    /// The parent holds the enclave's credentials and the wrapped key: it asks the KMS itself.
    fn without_document(&mut self, progress: &Progress) -> Result<()> {
        let mut ask = self.parent_asks()?;
        self.refused(
            progress,
            "the parent's own call, without a document",
            &mut ask,
        )
    }

    /// A document of the right image, signed by the right root, is presented after its time.
    fn stale_document(&mut self, progress: &Progress) -> Result<()> {
        let root = self.cast.root();
        self.cast
            .kms
            .serve(&[&root], &["--document-max-age", "1"])?;
        std::thread::sleep(Duration::from_secs(3));
        let mut ask = self.parent_asks()?;
        ask.arg("--document")
            .arg(self.cast.scene.path("answer/document.cose"));
        self.refused(
            progress,
            "a replayed document, older than the limit",
            &mut ask,
        )?;
        self.cast.kms.serve(&[&root], &[])
    }

    /// The same image on another platform: its root is not trusted, then trusted but not agreed on.
    fn other_roots(&mut self, progress: &Progress, image: &Image) -> Result<()> {
        let scene = self.cast.scene;
        let (ours, theirs) = (self.cast.root(), platform_root(scene, "other-platform")?);
        let mut run = scene.program("anchorhold");
        run.env("ANCHORHOLD_PLATFORM_DIR", scene.path("other-platform"));
        run.args(["run-enclave", "--memory", self.memory, "--eif-path"])
            .arg(&image.eif);
        let printed = crate::commands::output(&mut scene.bound(&run))?;
        let enclave: Enclave = serde_json::from_str(&printed)?;
        self.cast.wait_for(&enclave)?;
        let case = "a document from a root that is not trusted";
        let mut submit = self
            .cast
            .submission(&enclave, &challenge()?, &self.answer());
        self.refused(progress, case, &mut submit)?;
        self.cast.kms.serve(&[&ours, &theirs], &[])?;
        let case = "the production PCR0 under another trusted root";
        let mut submit = self
            .cast
            .submission(&enclave, &challenge()?, &self.answer());
        self.refused(progress, case, &mut submit)?;
        self.cast.kms.serve(&[&ours], &[])?;
        terminate(scene, &enclave)
    }

    /// What a parent can do with files that pass through its hands.
    fn hostile_parent(&mut self, progress: &Progress, enclave: &Enclave) -> Result<()> {
        let at = |name: &str| self.cast.scene.path(name);
        let honest = || Files {
            job: at("job.json"),
            records: at("records.esdk"),
            token_key: at("token-key.esdk"),
        };
        let moved = at("moved.esdk");
        change_context(&at("records.esdk"), &moved)?;
        let wider = at("wider-job.json");
        change_job(&at("job.json"), &wider)?;
        let start = at("records-start.esdk");
        fs::write(&start, head(&at("records.esdk"), 60 * 1024)?)?;
        let cases = [
            (
                "an encryption context that does not match",
                Files {
                    records: moved,
                    ..honest()
                },
            ),
            (
                "a changed job",
                Files {
                    job: wider,
                    ..honest()
                },
            ),
            (
                "the token key swapped for the records' key",
                Files {
                    token_key: start,
                    ..honest()
                },
            ),
        ];
        for (case, files) in cases {
            let challenge = challenge()?;
            let answer = self.answer();
            let mut submit = self
                .cast
                .submission_of(&files, enclave, &challenge, &answer);
            self.refused(progress, case, &mut submit)?;
        }
        Ok(())
    }

    /// The first answer, presented as the answer to another challenge.
    fn old_answer(&mut self, progress: &Progress) -> Result<()> {
        let rows = self.cast.scene.path("old-rows.csv");
        let answer = self.cast.scene.path("answer");
        let mut open = self.cast.opening(&answer, &challenge()?, &rows)?;
        self.refused(progress, "an old answer presented again", &mut open)?;
        if rows.exists() {
            bail!("rows of a refused answer were written");
        }
        Ok(())
    }

    /// The parent's own Decrypt call with the enclave's credentials, by boto3.
    fn parent_asks(&self) -> Result<Command> {
        let scene = self.cast.scene;
        let mut ask = Command::new(paths::python()?);
        ask.arg(paths::root().join("images/xtask/src/demo/pii/parent.py"));
        ask.args([
            "--endpoint",
            &format!("https://{}", self.cast.kms.address()),
        ]);
        ask.args(["--region", &self.cast.kms.region()?, "--ca"])
            .arg(self.cast.kms.ca());
        ask.arg("--credentials").arg(scene.path("enclave.json"));
        ask.arg("--records").arg(scene.path("records.esdk"));
        Ok(ask)
    }
}

/// The rule inside a refusal of the KMS, which all go by the name of AccessDeniedException: the check
/// that the document failed, or the key of the first condition that did not hold or that denied.
pub(in crate::demo) fn deciding_rule(message: &str) -> Option<String> {
    if let Some((_, rest)) = message.split_once("The attestation document was refused (") {
        return rest.split_once(')').map(|(rule, _)| rule.to_owned());
    }
    let (_, conditions) = message
        .split_once(" action; ")
        .or_else(|| message.split_once(" policy; "))?;
    let (_, condition) = conditions.split_once(" of ")?;
    condition
        .split_once(": expected ")
        .or_else(|| condition.split_once(": denied "))
        .map(|(key, _)| key.to_owned())
}

/// Changes one byte of the application, in a text that it only prints, and makes a whole image of it
/// again: checksum and sections are right, only the measurement differs.
pub(in crate::demo) fn change_one_byte(from: &Path, to: &Path, mark: &[u8]) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let image = Eif::parse(&bytes).context("the image is none")?;
    let mut ramdisks: Vec<Vec<u8>> = image.ramdisks().iter().map(|disk| disk.to_vec()).collect();
    let application = ramdisks
        .last_mut()
        .context("the image has no application")?;
    let at = application
        .windows(mark.len())
        .position(|window| window == mark);
    let letter = at.and_then(|at| application.get_mut(at));
    letter
        .context("the application's text is not found")?
        .make_ascii_uppercase();
    let mut changed = EifWriter::new(image.kernel(), image.cmdline());
    changed.metadata(image.metadata().cloned().unwrap_or_default());
    for ramdisk in &ramdisks {
        changed.ramdisk(ramdisk);
    }
    let changed = changed.to_bytes().context("the changed image is none")?;
    fs::write(to, changed).with_context(|| format!("cannot write {}", to.display()))
}

/// Another data set in the records' header, of the same length.
fn change_context(from: &Path, to: &Path) -> Result<()> {
    const FIELD: &[u8] = b"anchorhold:data-set";
    let mut bytes = fs::read(from)?;
    let at = bytes.windows(FIELD.len()).position(|w| w == FIELD);
    // The value stands behind its two bytes of length.
    let value = at.and_then(|at| bytes.get_mut(at + FIELD.len() + 2));
    let value = value.context("the records' header names no data set")?;
    *value = if *value == b'x' { b'y' } else { b'x' };
    fs::write(to, bytes)?;
    Ok(())
}

/// The job with a lower floor; one whose floor is the lowest gets a higher one.
fn change_job(from: &Path, to: &Path) -> Result<()> {
    fs::write(to, with_other_floor(&fs::read_to_string(from)?)?)?;
    Ok(())
}

fn with_other_floor(job: &str) -> Result<String> {
    const FIELD: &str = "\"k\":";
    let (before, after) = job.split_once(FIELD).context("the job has no floor")?;
    let digits = after.find(|c: char| !c.is_ascii_digit());
    let (floor, rest) = after.split_at(digits.unwrap_or(after.len()));
    let other = if floor == "2" { "3" } else { "2" };
    Ok(format!("{before}{FIELD}{other}{rest}"))
}

fn head(path: &Path, count: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_job_can_be_changed() {
        for (job, changed) in [
            (r#"{"a":1,"k":5,"z":2}"#, r#"{"a":1,"k":2,"z":2}"#),
            (r#"{"k":12}"#, r#"{"k":2}"#),
            (r#"{"k":2}"#, r#"{"k":3}"#),
        ] {
            assert_eq!(with_other_floor(job).unwrap(), changed);
        }
        assert!(with_other_floor("{}").is_err());
    }

    #[test]
    fn the_deciding_rule_of_a_refusal() {
        for (message, rule) in [
            (
                "x: The attestation document was refused (debug.refused): the document",
                Some("debug.refused"),
            ),
            (
                "no resource-based policy allows the kms:Decrypt action; StringEquals of \
                 kms:RecipientAttestation:PCR0: expected aa, got bb; StringEquals of x: expected",
                Some("kms:RecipientAttestation:PCR0"),
            ),
            (
                "on resource: x with an explicit deny in an identity-based policy; Null of \
                 anchorhold:RecipientAttestation:RootSha256: denied true, got no attestation",
                Some("anchorhold:RecipientAttestation:RootSha256"),
            ),
            ("the encryption context has no key", None),
        ] {
            assert_eq!(deciding_rule(message).as_deref(), rule);
        }
    }
}
