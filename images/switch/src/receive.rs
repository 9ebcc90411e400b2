//! The receive queue: packets for the guest.

use std::io::ErrorKind;
use std::time::Instant;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use crate::chain::ReceiveBatch;
use crate::hub::Hub;
use crate::protocol::{HEADER_SIZE, StreamId};
use crate::ring::{RingError, Turn};

/// Bytes that one stream sends before it is the next one's turn; the last buffer is filled up.
const QUANTUM: usize = 64 * 1024;

/// Fills at most about `budget` buffers of the guest's: first with packets without payload, then
/// with the host's data, each stream in turn. A read from a socket goes straight into as many
/// buffers as it fills.
///
/// # Errors
/// [`RingError`] when the queue itself is not as the specification says.
pub(crate) fn fill(
    hub: &mut Hub,
    memory: &GuestMemoryMmap,
    queue: &mut Queue,
    budget: usize,
    now: Instant,
) -> Result<Turn, RingError> {
    let mut left = budget;
    while left > 0 {
        let used = if hub.table.has_control() {
            control(hub, memory, queue)?
        } else if let Some((id, credit)) = hub.table.next_sender() {
            data(hub, memory, queue, (id, credit), now)?
        } else {
            return Ok(Turn::Finished);
        };
        match used {
            Some(used) => left = left.saturating_sub(used),
            // No buffers: the guest says when there are some, unless it just added them.
            None if queue.enable_notification(memory)? => left -= 1,
            None => return Ok(Turn::Blocked),
        }
    }
    Ok(Turn::Unfinished)
}

/// Puts one control packet into one buffer. `None` when there is no buffer.
fn control(
    hub: &mut Hub,
    memory: &GuestMemoryMmap,
    queue: &mut Queue,
) -> Result<Option<usize>, RingError> {
    let mut batch = ReceiveBatch::default();
    let used = collect(&mut batch, memory, queue, Want { enough: 0, most: 0 })?;
    let Some(chain) = batch.chains().first() else {
        return Ok((used > 0).then_some(used));
    };
    match hub.table.next_control() {
        Some(header) => {
            batch.write_header(chain, &header);
            queue.add_used(memory, chain.head, HEADER_SIZE as u32)?;
        }
        None => give_back(queue, 1),
    }
    Ok(Some(used + 1))
}

/// Reads from a stream's socket into buffers. `None` when there is no buffer.
fn data(
    hub: &mut Hub,
    memory: &GuestMemoryMmap,
    queue: &mut Queue,
    (id, credit): (StreamId, u32),
    now: Instant,
) -> Result<Option<usize>, RingError> {
    let Some(endpoint) = hub.table.host_mut(id) else {
        return Ok(Some(1));
    };
    let want = Want {
        enough: endpoint.read_hint.saturating_mul(2).clamp(1, QUANTUM),
        most: credit as usize,
    };
    let mut batch = ReceiveBatch::default();
    let spent = collect(&mut batch, memory, queue, want)?;
    if batch.chains().is_empty() {
        return Ok((spent > 0).then_some(spent));
    }
    let read = match endpoint.pull(batch.data()) {
        Ok(read) if read > 0 => read,
        outcome => {
            give_back(queue, batch.chains().len());
            match outcome {
                Ok(_) => hub.read_ended(id, false, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    hub.table.set_readable(id, false);
                }
                Err(_) => hub.read_ended(id, true, now),
            }
            return Ok(Some(spent + 1));
        }
    };
    endpoint.read_hint = read;
    let used = deliver(hub, memory, queue, &batch, (id, read))?;
    // A read that gives less than was asked for does not prove that nothing is left: Linux also
    // stops behind bytes with descriptors and before urgent ones. Only `WouldBlock` does.
    hub.table.rotate();
    Ok(Some(spent + used))
}

/// Gives the guest the buffers with `read` bytes, and takes back the ones that were not filled.
fn deliver(
    hub: &mut Hub,
    memory: &GuestMemoryMmap,
    queue: &mut Queue,
    batch: &ReceiveBatch<'_>,
    (id, read): (StreamId, usize),
) -> Result<usize, RingError> {
    let mut left = read;
    let mut used = 0;
    for chain in batch.chains() {
        let len = chain.capacity.min(left);
        let header = u32::try_from(len)
            .ok()
            .and_then(|len| hub.table.send(id, len));
        let Some(header) = header else {
            break;
        };
        batch.write_header(chain, &header);
        queue.add_used(memory, chain.head, HEADER_SIZE as u32 + header.len)?;
        used += 1;
        left -= len;
    }
    give_back(queue, batch.chains().len() - used);
    Ok(used)
}

/// How much payload buffers are wanted for: once they hold `enough` no further one is taken, and
/// they never hold more than `most`.
#[derive(Clone, Copy)]
struct Want {
    enough: usize,
    most: usize,
}

/// Takes buffers (at least one, if there is one). Those that cannot hold what they are for go back
/// to the guest empty; their number comes back.
fn collect<'m>(
    batch: &mut ReceiveBatch<'m>,
    memory: &'m GuestMemoryMmap,
    queue: &mut Queue,
    want: Want,
) -> Result<usize, RingError> {
    let mut unusable = 0;
    let enough = want.enough.min(want.most);
    while (batch.chains().is_empty() || batch.capacity() < enough) && !batch.is_full() {
        let Some(chain) = queue.iter(memory)?.next() else {
            break;
        };
        let head = chain.head_index();
        let most = want.most.saturating_sub(batch.capacity());
        if batch.add(memory, chain, most).is_err() {
            if !batch.chains().is_empty() {
                // Its turn comes when it is the first: chains are taken back from the end only.
                give_back(queue, 1);
                break;
            }
            queue.add_used(memory, head, 0)?;
            unusable += 1;
        }
    }
    Ok(unusable)
}

/// Makes the last `count` chains available again.
fn give_back(queue: &mut Queue, count: usize) {
    for _ in 0..count {
        queue.go_to_previous_position();
    }
}
