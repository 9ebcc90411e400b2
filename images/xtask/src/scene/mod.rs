//! A scene: a directory and processes that belong to one run, and end with it, however it ends.
//!
//! Beside each scene stands its *keeper*, a process of its own that waits for the run to let go of a
//! pipe: because the scene is over, on a signal, or by `kill -9`. Then it ends the scene's enclaves,
//! which outlive their agent by design, and every other process of the scene, and removes its
//! directory. Should the keeper be killed too, the next run finds the scene by its unlocked directory
//! and ends it.

mod keeper;

use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::commands::describe;
use crate::paths;

use keeper::Keeper;
pub use keeper::keep;

/// How long a server may take to say that it listens, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// One run's directory and processes.
pub struct Scene {
    dir: PathBuf,
    bins: PathBuf,
    _lock: File,
}

static COUNT: AtomicU32 = AtomicU32::new(0);
/// The keepers of the scenes that are on.
static KEEPERS: Mutex<Vec<(PathBuf, Keeper)>> = Mutex::new(Vec::new());

impl Scene {
    /// Makes a scene of a kind ("demo", "test"), with the programs in `bins`, after ending what
    /// earlier scenes left.
    ///
    /// # Errors
    /// The directory cannot be made, or the keeper not started.
    pub fn new(kind: &str, bins: &Path) -> Result<Self> {
        let all = paths::cache()?.join("scenes");
        fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
        keeper::end_stale(&all, bins);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = all.join(format!("{kind}-{}-{number}", std::process::id()));
        let lock = lock_path(&dir);
        let lock =
            File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
        lock.try_lock().context("another run has this scene")?;
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        end_on_signals()?;
        let keeper = Keeper::start(&dir, bins)?;
        if let Ok(mut keepers) = KEEPERS.lock() {
            keepers.push((dir.clone(), keeper));
        }
        Ok(Self {
            dir,
            bins: bins.to_path_buf(),
            _lock: lock,
        })
    }

    /// The scene's directory, or a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where the project's programs are.
    pub fn bins(&self) -> &Path {
        &self.bins
    }

    /// One of the project's programs, told to keep its state in this scene.
    pub fn program(&self, name: &str) -> Command {
        program(&self.bins, &self.dir, name)
    }

    /// Starts a server that ends with this process, and waits for its first line on standard
    /// output. What it says on standard error goes to `NAME.log` in the scene.
    ///
    /// # Errors
    /// It cannot be started, ends, or says nothing in time; its last words are part of the error.
    pub fn serve(&self, name: &str, server: &Command) -> Result<Server> {
        let (mut server, stdout) = self.spawn(name, server)?;
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let _ = tell.send(lines.next());
            // Read on, so that the server never waits for us.
            lines.for_each(drop);
        });
        match told.recv_timeout(PATIENCE) {
            Ok(Some(line)) => server.first_line = line,
            _ => bail!("`{}` did not start:\n{}", server.name, server.last_words()),
        }
        Ok(server)
    }

    /// As [`Self::serve`], for a server that is ready when something holds.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn serve_until(
        &self,
        name: &str,
        server: &Command,
        ready: impl Fn() -> bool,
    ) -> Result<Server> {
        let (mut server, stdout) = self.spawn(name, server)?;
        std::thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .for_each(drop)
        });
        let start = std::time::Instant::now();
        while !ready() {
            let ended = server.child.try_wait()?.is_some();
            if ended || start.elapsed() > PATIENCE {
                bail!("`{}` did not start:\n{}", server.name, server.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The command as one that is asked to end when this process does.
    pub fn bound(&self, command: &Command) -> Command {
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "TERM", "--"]);
        bound.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(key, value),
                None => bound.env_remove(key),
            };
        }
        bound
    }

    fn spawn(&self, name: &str, server: &Command) -> Result<(Server, ChildStdout)> {
        let log = self.path(&format!("{name}.log"));
        let mut command = self.bound(server);
        let stderr =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let said = describe(server);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{said}`"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        Ok((
            Server {
                name: said,
                child,
                log,
                first_line: String::new(),
            },
            stdout,
        ))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let Ok(mut keepers) = KEEPERS.lock() else {
            return;
        };
        if let Some(at) = keepers.iter().position(|(dir, _)| *dir == self.dir) {
            let (_, keeper) = keepers.swap_remove(at);
            keeper.end();
        }
    }
}

/// A server of a scene. Ends when dropped.
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    first_line: String,
}

impl Server {
    /// What it said when it was ready.
    pub fn first_line(&self) -> &str {
        &self.first_line
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it said on standard error.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(20)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(mut self) -> Result<()> {
        self.terminate()
    }

    fn terminate(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let start = std::time::Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                self.child.kill()?;
                self.child.wait()?;
                bail!(
                    "`{}` did not end within {} s",
                    self.name,
                    PATIENCE.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.terminate();
    }
}

fn program(bins: &Path, dir: &Path, name: &str) -> Command {
    let mut command = Command::new(bins.join(name));
    command
        .env("ANCHORHOLD_STATE_DIR", dir.join("state"))
        .env("ANCHORHOLD_PLATFORM_DIR", dir.join("platform"));
    command
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.with_extension("lock")
}

/// On an interrupt, ends every scene before this process ends.
fn end_on_signals() -> Result<()> {
    static ONCE: Mutex<bool> = Mutex::new(false);
    let Ok(mut done) = ONCE.lock() else {
        return Ok(());
    };
    if std::mem::replace(&mut *done, true) {
        return Ok(());
    }
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // A terminal that has hung up takes no more words, which must not end this thread.
            let _ = writeln!(
                std::io::stderr(),
                "interrupted: ending everything that was started"
            );
            if let Ok(mut keepers) = KEEPERS.lock() {
                keepers.drain(..).for_each(|(_, keeper)| keeper.end());
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
