//! Modes, locks and lost halves.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn made() -> (tempfile::TempDir, PathBuf, DataDir, Lock) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let path = temp.path().join("kms");
    let (dir, lock) = DataDir::create(&path).expect("create");
    (temp, path, dir, lock)
}

fn finish(dir: &DataDir) {
    dir.write_root_key(&[7; 32]).expect("root key");
    dir.begin_database().expect("database");
    dir.finish_database().expect("rename");
}

#[test]
fn init_does_not_overwrite() {
    let (_temp, path, dir, lock) = made();
    finish(&dir);
    drop(lock);
    let refused = DataDir::create(&path).expect_err("exists");
    assert_eq!(refused.rule(), "data-dir.already-initialised");
}

#[test]
fn a_lost_half_is_named() {
    let (_temp, path, dir, lock) = made();
    dir.write_root_key(&[7; 32]).expect("root key");
    drop(lock);
    let refused = DataDir::create(&path).expect_err("half there");
    assert_eq!(refused.rule(), "data-dir.incomplete");
    assert_eq!(
        DataDir::open(&path).expect_err("half").rule(),
        "data-dir.incomplete"
    );
    assert!(dir.write_root_key(&[8; 32]).is_err(), "never overwritten");
}

#[test]
fn a_missing_directory_says_how_to_make_one() {
    let refused = DataDir::open(Path::new("/nonexistent/kms")).expect_err("missing");
    assert_eq!(refused.rule(), "data-dir.missing");
    assert!(refused.to_string().contains("init --data-dir"));
}

#[test]
fn files_that_others_can_read_are_refused() {
    let (_temp, path, dir, _lock) = made();
    finish(&dir);
    for file in [path.clone(), path.join(ROOT_KEY), path.join(DATABASE)] {
        let before = std::fs::metadata(&file).expect("metadata").permissions();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o740)).expect("chmod");
        assert_eq!(
            DataDir::open(&path).expect_err("mode").rule(),
            "data-dir.mode"
        );
        std::fs::set_permissions(&file, before).expect("chmod");
    }
    DataDir::open(&path).expect("private again");
}

#[test]
fn the_second_holder_is_told_about_the_first() {
    let (_temp, _path, dir, lock) = made();
    let refused = dir.lock("serve").expect_err("held");
    assert_eq!(refused.rule(), "data-dir.in-use");
    let expected = format!("process {} (anchorhold-kms init)", std::process::id());
    assert!(refused.to_string().contains(&expected), "{refused}");
    drop(lock);
    dir.lock("serve").expect("free again");
}

/// A child process has all descriptors until it is the new program.
#[test]
fn a_lock_is_free_again_though_another_descriptor_of_it_is_open() {
    let (_temp, _path, dir, lock) = made();
    let inherited = lock.file.try_clone().expect("a descriptor");
    dir.lock("serve").expect_err("held");
    drop(lock);
    dir.lock("serve").expect("free again");
    drop(inherited);
}

#[test]
fn a_root_key_file_of_another_format_is_refused() {
    let (_temp, path, dir, _lock) = made();
    for text in [
        "",
        "anchorhold-root-key-v1:00",
        "anchorhold-root-key-v2:00",
        "\u{fffd}",
    ] {
        std::fs::write(path.join(ROOT_KEY), text).expect("write");
        let refused = dir.read_root_key().expect_err("format");
        assert_eq!(refused.rule(), "data-dir.root-key-format");
    }
}

#[test]
fn the_root_key_comes_back() {
    let (_temp, path, dir, _lock) = made();
    finish(&dir);
    assert_eq!(*dir.read_root_key().expect("read"), [7; 32]);
    for name in [ROOT_KEY, DATABASE, LOCK] {
        let mode = std::fs::metadata(path.join(name)).expect("metadata").mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
