//! A party's program: what it checks before it approves, and what it believes afterwards.

mod answers;
mod desk;
mod release;
mod terms;
