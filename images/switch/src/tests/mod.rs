//! The switch between real Unix sockets and a model of a guest's driver in real guest memory.

mod flow;
mod hostile;
mod lost;
mod model;
