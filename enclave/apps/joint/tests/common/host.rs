//! A host at the other end of the connection: it sends its frames, hears what the enclave says, and
//! keeps pages.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};

use anchorhold_joint_enclave::wire;

use super::Frame;

/// What a host does to the pages that it keeps, before it gives the first one back.
pub type Change = Box<dyn FnMut(&mut Vec<Vec<u8>>)>;

struct State {
    sends: VecDeque<u8>,
    heard: Vec<u8>,
    frames: Vec<Frame>,
    pages: Vec<Vec<u8>>,
    change: Option<Change>,
}

/// The host.
pub struct Host(RefCell<State>);

impl Host {
    pub fn new(frames: &[Frame], change: Option<Change>) -> Self {
        let mut sends = VecDeque::new();
        for (frame, payload) in frames {
            frame_to(&mut sends, *frame, payload);
        }
        Self(RefCell::new(State {
            sends,
            heard: Vec::new(),
            frames: Vec::new(),
            pages: Vec::new(),
            change,
        }))
    }

    /// What the enclave sent.
    pub fn heard(self) -> Vec<Frame> {
        let state = self.0.into_inner();
        assert!(state.heard.is_empty(), "a frame without its end");
        state.frames
    }
}

fn frame_to(sends: &mut VecDeque<u8>, frame: u8, payload: &[u8]) {
    sends.push_back(frame);
    sends.extend((payload.len() as u32).to_be_bytes());
    sends.extend(payload);
}

impl State {
    fn hear(&mut self) {
        while let Some((head, rest)) = self.heard.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(payload) = rest.get(..length) else {
                return;
            };
            let (frame, payload) = (head[0], payload.to_vec());
            self.heard.drain(..5 + length);
            let place = payload.first_chunk().map_or(0, |p| u32::from_be_bytes(*p)) as usize;
            if frame == wire::PAGE_PUT {
                assert_eq!(place, self.pages.len());
                self.pages.push(payload[4..].to_vec());
            }
            if frame == wire::PAGE_GET {
                assert!(self.sends.is_empty(), "asked before all files came");
                if let Some(mut change) = self.change.take() {
                    change(&mut self.pages);
                }
                if let Some(page) = self.pages.get(place) {
                    frame_to(&mut self.sends, wire::PAGE, page);
                }
            }
            self.frames.push((frame, payload));
        }
    }
}

impl Read for &Host {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().sends.read(buffer)
    }
}

impl Write for &Host {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.heard.extend_from_slice(bytes);
        state.hear();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
