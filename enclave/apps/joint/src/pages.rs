//! The host's keeping of pages, over the connection of the submission.
//!
//! A page leaves as [`PAGE_PUT`] while files come in; [`PAGE_GET`] asks for one once all files have
//! come, so that its answer [`PAGE`] is all that the host then sends. What is in a page, and that
//! the right one comes back, `anchorhold_joint::pages` looks after.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use anchorhold_enclave::frame::{self, FrameError};
use anchorhold_joint::pages::{MAX_PAGE, PageStore};

use crate::wire::{PAGE, PAGE_GET, PAGE_PUT};

/// What comes from the host: files first, and pages after them.
pub struct Incoming<R>(RefCell<R>);

impl<R: Read> Incoming<R> {
    /// From a stream.
    pub fn new(from: R) -> Self {
        Self(RefCell::new(from))
    }
}

impl<R: Read> Read for &Incoming<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Whoever reads is done before another does: this is one thread.
        let mut from = self.0.try_borrow_mut().map_err(io::Error::other)?;
        from.read(buffer)
    }
}

/// The host as a keeper of pages.
pub struct HostPages<'a, R, W> {
    from: &'a Incoming<R>,
    to: &'a mut W,
    frame: Vec<u8>,
}

impl<'a, R: Read, W: Write> HostPages<'a, R, W> {
    /// Over a connection's two directions.
    pub fn new(from: &'a Incoming<R>, to: &'a mut W) -> Self {
        Self {
            from,
            to,
            frame: Vec::new(),
        }
    }
}

impl<R: Read, W: Write> PageStore for HostPages<'_, R, W> {
    fn put(&mut self, place: u32, page: &[u8]) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend_from_slice(&place.to_be_bytes());
        self.frame.extend_from_slice(page);
        frame::write(self.to, PAGE_PUT, &self.frame)
    }

    fn get(&mut self, place: u32, page: &mut Vec<u8>) -> io::Result<()> {
        frame::write(self.to, PAGE_GET, &place.to_be_bytes())?;
        self.to.flush()?;
        let mut from = self.from;
        match frame::read(&mut from, page, MAX_PAGE).map_err(io::Error::other)? {
            PAGE => Ok(()),
            got => {
                let expected = PAGE;
                Err(io::Error::other(FrameError::Unexpected { expected, got }))
            }
        }
    }
}
