//! Batches: many packets in one call, each a packet of its own.
//!
//! ```text
//!   send_batch   waits ─ packet, waits ─ packet, waits ─ packet ...   ends early at an error, and says how many went
//!   recv_batch   waits ─ packet, packet, packet ...                   ends where the pipe is empty
//! ```
//!
//! # Why a batch that waits in its midst has woken its readers
//! Up to 16 packets that find room at once are published before anybody is woken for them, and then one reader is, which wakes the next
//! one if it leaves something. Everything else, and so everything that waits, is done as for a packet that is sent alone, and behind that
//! wake. A panic of the caller's on the way pays it too. A batch that is killed or stopped before has sent what it has published, and who sleeps
//! finds that at the bound of its sleep.

use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

use shm_ring::{ReaderEnd, WriterEnd};

use crate::blocking::{Limit, Stop, before_writing};
use crate::message::{self, Excess, Message};
use crate::reader::Reader;
use crate::writer::Writer;

impl Writer {
    /// Sends each of `packets` as one packet, in this order, and returns how many; waits for room for all of them, unless nonblocking.
    /// Mirrors `sendmmsg`.
    ///
    /// They are as if sent one by one: never merged, each whole, and other writers' packets may come between. Who has no bytes is no
    /// packet, and counts as sent. After an error, or a signal, there is no more of the batch in the pipe than was returned.
    ///
    /// ```
    /// let (reader, writer) = ppipe::pipe()?;
    /// assert_eq!(writer.send_batch(&["one", "two", "three"])?, 3);
    ///
    /// let mut buffers = [[0; 8]; 16];
    /// let mut messages = [ppipe::Message::default(); 16];
    /// let received = reader.recv_batch(&mut buffers, &mut messages)?;
    /// assert_eq!(received, 3);
    /// assert_eq!(&buffers[2][..messages[2].len], b"three");
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As [`Writer::send`], if the first packet cannot be sent. One that comes later ends the batch; whoever sends the rest learns of it.
    #[inline]
    pub fn send_batch(&self, packets: &[impl AsRef<[u8]>]) -> io::Result<usize> {
        self.send_batch_within(self.limit(), packets)
    }

    /// As [`Writer::send_batch`], but never waits.
    ///
    /// # Errors
    /// As [`Writer::send_batch`]; `WouldBlock` if full.
    #[inline]
    pub fn try_send_batch(&self, packets: &[impl AsRef<[u8]>]) -> io::Result<usize> {
        self.send_batch_within(Limit::Try, packets)
    }

    /// As [`Writer::send_batch`], but waits no longer than `timeout` in all, also if nonblocking.
    ///
    /// # Errors
    /// As [`Writer::send_batch`]; `TimedOut` if nothing was sent by then.
    pub fn send_batch_timeout(&self, packets: &[impl AsRef<[u8]>], timeout: Duration) -> io::Result<usize> {
        self.send_batch_within(Limit::after(timeout), packets)
    }

    #[inline]
    fn send_batch_within(&self, limit: Limit, packets: &[impl AsRef<[u8]>]) -> io::Result<usize> {
        let mut sent = 0;
        let result = self.with_end(|end| send_all(end, limit, packets, &mut sent), |()| true);
        // Also of one that has sent something: whoever asked for the signal gets it at the packet that finds nobody.
        let result = self.told(result);
        if sent > 0 { Ok(sent) } else { result.map(|()| 0) }
    }
}

/// So many packets at most are published before a reader is told, and before others are let go first whose turn it is.
const MOST_UNTOLD: usize = 16;

/// A writer that has published packets for which nobody has been woken yet.
struct Untold<'w> {
    end: &'w mut WriterEnd,
    count: usize,
}

impl Untold<'_> {
    #[inline]
    fn tell(&mut self) {
        if core::mem::take(&mut self.count) > 0 {
            self.end.tell_readers();
        }
    }

    /// Publishes a packet if there is room for it in this moment and in one slot.
    #[inline]
    fn publish(&mut self, packet: &[u8], limit: Limit) -> Result<bool, Stop> {
        if self.count == MOST_UNTOLD {
            self.tell();
        }
        // Who lets others go first may wait for them.
        let limit = if self.count == 0 { limit } else { Limit::Try };
        if !before_writing(self.end, limit) {
            return Err(Stop::BrokenPipe);
        }
        if packet.len() > self.end.slot_size() {
            return Ok(false);
        }
        self.end.fill(0, packet);
        let is_published = self.end.publish_untold(packet.len()).is_ok();
        self.count += usize::from(is_published);
        Ok(is_published)
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

#[inline]
fn send_all(end: &mut WriterEnd, limit: Limit, packets: &[impl AsRef<[u8]>], sent: &mut usize) -> io::Result<()> {
    let mut untold = Untold { end, count: 0 };
    for packet in packets {
        let packet = packet.as_ref();
        if !packet.is_empty() && !untold.publish(packet, limit)? {
            untold.tell();
            message::send(untold.end, limit, &[IoSlice::new(packet)])?;
        }
        *sent += 1;
    }
    Ok(())
}

impl Reader {
    /// Receives packets, each into one of `buffers`, and says in `messages` what each of them was; returns how many. Waits for the
    /// first one, unless nonblocking, and takes of the others what is there, up to the shorter of the two slices. Mirrors `recvmmsg` with
    /// `MSG_WAITFORONE`.
    ///
    /// Each is received as by [`Reader::recv`]: of a packet that is larger than its buffer the rest is dropped, and bytes of a stream are
    /// told from packets. Of several readers each packet goes to one; those of one batch need not have stood side by side.
    ///
    /// # Errors
    /// As [`Reader::recv`], if there is no first one.
    #[inline]
    pub fn recv_batch(&self, buffers: &mut [impl AsMut<[u8]>], messages: &mut [Message]) -> io::Result<usize> {
        self.recv_batch_within(self.limit(), buffers, messages)
    }

    /// As [`Reader::recv_batch`], but never waits.
    ///
    /// # Errors
    /// As [`Reader::recv_batch`]; `WouldBlock` if empty.
    #[inline]
    pub fn try_recv_batch(&self, buffers: &mut [impl AsMut<[u8]>], messages: &mut [Message]) -> io::Result<usize> {
        self.recv_batch_within(Limit::Try, buffers, messages)
    }

    /// As [`Reader::recv_batch`], but waits no longer than `timeout`, also if nonblocking.
    ///
    /// # Errors
    /// As [`Reader::recv_batch`]; `TimedOut`.
    pub fn recv_batch_timeout(
        &self,
        buffers: &mut [impl AsMut<[u8]>],
        messages: &mut [Message],
        timeout: Duration,
    ) -> io::Result<usize> {
        self.recv_batch_within(Limit::after(timeout), buffers, messages)
    }

    #[inline]
    fn recv_batch_within(
        &self,
        limit: Limit,
        buffers: &mut [impl AsMut<[u8]>],
        messages: &mut [Message],
    ) -> io::Result<usize> {
        let most = buffers.len().min(messages.len());
        self.with_end(|end| recv_what_is_there(end, limit, buffers, messages), |&received| received == most)
    }
}

#[inline]
fn recv_what_is_there(
    end: &mut ReaderEnd,
    limit: Limit,
    buffers: &mut [impl AsMut<[u8]>],
    messages: &mut [Message],
) -> io::Result<usize> {
    let mut received = 0;
    for (buffer, message) in buffers.iter_mut().zip(messages) {
        let buffers = &mut [IoSliceMut::new(buffer.as_mut())];
        let next = match received {
            0 => message::recv(end, limit, Excess::Discard, buffers),
            _ => message::recv_if_any(end, Excess::Discard, buffers),
        };
        match next {
            // By field: moving it with its padding stalls behind the store of a single byte.
            Ok(Message { len, packet_len, is_stream }) => {
                (message.len, message.packet_len, message.is_stream) = (len, packet_len, is_stream);
            }
            Err(error) if received == 0 => return Err(error),
            Err(_) => break,
        }
        received += 1;
    }
    Ok(received)
}
