//! An enclave that has its place among the others: its sockets, its virtual machine, its end.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use crate::boot::{Attempts, in_words};
use crate::console::Console;
use crate::control::{self, Waiting};
use crate::ended::{self, Ending};
use crate::event::{Event, Events};
use crate::image::Image;
use crate::layout::LayoutError;
use crate::ports::status::Status;
use crate::qemu::kvm::KvmVerdicts;
use crate::registry::Claim;
use crate::report::{Description, Flags, State};
use crate::run::{Options, RunError, chain, process};
use crate::sockets::SocketDirectory;
use crate::vm::{Plan, Vm};
use crate::watch::{Course, Over, Step};

/// An enclave that has its place among the others.
pub(crate) struct Enclave<'a> {
    pub(crate) options: &'a Options,
    pub(crate) memory_mib: u64,
    pub(crate) cpus: u32,
    pub(crate) program: PathBuf,
    pub(crate) claim: Claim,
    pub(crate) console: Console,
    pub(crate) description: Arc<Mutex<Description>>,
    pub(crate) progress: &'a dyn Fn(&str),
}

/// The directories whose sockets an enclave uses.
struct Directories {
    /// Its own.
    own: SocketDirectory,
    /// The state directory.
    shared: SocketDirectory,
}

impl Enclave<'_> {
    /// Boots it, follows it to its end, and removes every trace of it.
    pub(crate) fn live(
        self,
        image: Image,
        events: &Events,
        receiver: &Receiver<Event>,
        running: impl FnOnce(&Description),
    ) -> Result<Ending, RunError> {
        let mut waiting = Vec::new();
        // Open until the virtual machine is gone: its switch dials and binds in them all its life.
        let directories = self.directories();
        let result = directories.and_then(|directories| {
            let booted = self.up(&image, &directories, events, receiver, &mut waiting);
            // The guest has its own copy by now.
            drop(image);
            let (vm, course) = booted?;
            self.describe(|description| description.state = State::Running);
            running(&self.description());
            Ok(self.watch(vm, course, receiver, &mut waiting))
        });
        self.console.end();
        let ending = match &result {
            Ok(ending) => ending.clone(),
            Err(error) => Ending::new(error.rule(), chain(error)),
        };
        let state = self.options.state_dir.clone();
        ended::record(&state, self.claim.identity(), &ending);
        // Removes the directory; only then those who wait hear that nothing is left.
        drop(self);
        waiting.into_iter().for_each(Waiting::done);
        result
    }

    fn directories(&self) -> Result<Directories, RunError> {
        Ok(Directories {
            own: sockets(self.claim.directory())?,
            shared: sockets(&self.options.state_dir)?,
        })
    }

    /// Makes the enclave's sockets and boots it.
    fn up(
        &self,
        image: &Image,
        directories: &Directories,
        events: &Events,
        receiver: &Receiver<Event>,
        waiting: &mut Vec<Waiting>,
    ) -> Result<(Vm, Course), RunError> {
        self.describe(|description| self.fill(description, image));
        let directory = &directories.own;
        self.serve_control(directory, events)?;
        self.serve_console(directory)?;
        let plan = Plan {
            image,
            identity: self.claim.identity(),
            program: &self.program,
            memory_mib: self.memory_mib,
            cpus: self.cpus,
            vsock: self.options.vsock,
            directory,
            state: &directories.shared,
            console: &self.console,
        };
        let verdicts = KvmVerdicts::new(&self.options.state_dir, &self.program)
            .map_err(process("the record of KVM"))?;
        let attempts = Attempts {
            choice: self.options.accelerator,
            verdicts: &verdicts,
            deadline: self.options.boot_deadline,
            platform_dir: &self.options.platform_dir,
            debug: self.options.debug,
            progress: self.progress,
        };
        let booted = attempts.boot(&plan, events, receiver, waiting);
        booted.map_err(|source| RunError::Boot {
            source,
            console: self.console.last_lines(),
        })
    }

    /// Follows a running enclave to its end.
    fn watch(
        &self,
        mut vm: Vm,
        mut course: Course,
        receiver: &Receiver<Event>,
        waiting: &mut Vec<Waiting>,
    ) -> Ending {
        loop {
            let Step::Over(over) = course.next(&mut vm, receiver, waiting, None) else {
                continue;
            };
            self.describe(|description| description.state = State::Terminating);
            let messages = vm.kill();
            return ending(over, &course, &messages);
        }
    }

    fn fill(&self, description: &mut Description, image: &Image) {
        description.identify(self.claim.identity());
        description.number_of_cpus = self.cpus;
        description.cpu_ids = (0..self.cpus).collect();
        description.memory_mib = self.memory_mib;
        description.flags = match self.options.debug {
            true => Flags::DebugMode,
            false => Flags::None,
        };
        description.measurements = (&image.measurements).into();
        let metadata = image.metadata.as_ref();
        description.image_name = metadata.map(|metadata| metadata.image_name.clone());
        description.image_version = metadata.map(|metadata| metadata.image_version.clone());
        description.metadata = metadata.cloned();
    }

    fn serve_control(&self, directory: &SocketDirectory, events: &Events) -> Result<(), RunError> {
        let listener = listen(directory, "control.sock")?;
        let events = events.clone();
        let terminate = move |client| {
            // A loop that hears no more has ended, which the client sees by its closed stream.
            let _ = events.send(Event::Terminate(client));
        };
        control::serve(listener, self.description.clone(), terminate)
            .map_err(process("the control socket's thread"))
    }

    /// In debug mode only: no other enclave's console has a socket at all.
    fn serve_console(&self, directory: &SocketDirectory) -> Result<(), RunError> {
        if !self.options.debug {
            return Ok(());
        }
        let listener = listen(directory, "console.sock")?;
        self.console
            .serve(listener)
            .map_err(process("the console socket's thread"))
    }

    fn describe(&self, change: impl FnOnce(&mut Description)) {
        let mut description = self
            .description
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut description);
    }

    fn description(&self) -> Description {
        self.description
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn ending(over: Over, course: &Course, messages: &str) -> Ending {
    match over {
        Over::Signal(signal) => Ending::new(
            "hypervisor.signal",
            format!("its hypervisor was ended by signal {signal}"),
        ),
        Over::Terminate => Ending::new("terminate.requested", "it was terminated".to_owned()),
        Over::Nsm(error) => Ending::new(
            error.as_ref().map_or("vm.nsm-port", |error| error.rule()),
            match error {
                Some(error) => chain(&error),
                None => "its security module's port closed".to_owned(),
            },
        ),
        Over::Switch => Ending::new("vm.switch", "its vsock switch ended".to_owned()),
        Over::Kvm => Ending::new("vm.kvm", format!("KVM gave up on it: {messages}")),
        Over::Qemu(status) => match application(course) {
            Some(ending) => ending,
            None => Ending::new("vm.ended", format!("{} {messages}", in_words(status))),
        },
        Over::PowerOff => application(course).unwrap_or_else(|| {
            let reason = course.gave_up.clone().unwrap_or_default();
            Ending::new("init.gave-up", format!("its init gave up: {reason:?}"))
        }),
    }
}

fn application(course: &Course) -> Option<Ending> {
    match course.application {
        Some(Status::Exited(code)) => {
            let message = format!("its application exited with status {code}");
            let mut ending = Ending::new("application.exited", message);
            ending.exit_code = Some(code);
            Some(ending)
        }
        Some(Status::Signalled(signal)) => {
            let message = format!("its application was ended by signal {signal}");
            let mut ending = Ending::new("application.signalled", message);
            ending.signal = Some(signal);
            Some(ending)
        }
        _ => None,
    }
}

fn sockets(path: &Path) -> Result<SocketDirectory, RunError> {
    Ok(SocketDirectory::new(path).map_err(LayoutError::io(path))?)
}

fn listen(directory: &SocketDirectory, name: &str) -> Result<UnixListener, RunError> {
    let path = directory.join(name);
    Ok(UnixListener::bind(&path).map_err(LayoutError::io(&path))?)
}
