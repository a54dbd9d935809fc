//! Varlink's framing: JSON objects with a NUL byte between them (varlink.org, "Protocol").
//!
//! [`Frames`] is pure: bytes in, whole frames out, never holding more than its limit. Whoever
//! owns the socket feeds it.

use std::collections::VecDeque;

/// Splits a stream of bytes into frames. Holds at most `limit` bytes of an unfinished frame.
#[derive(Debug)]
pub struct Frames {
    limit: usize,
    partial: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
}

/// The peer broke the framing. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame is longer than is taken here.
    #[error("message is longer than {limit} bytes")]
    TooLong {
        /// Most bytes that one frame may have here.
        limit: usize,
    },
}

impl Frames {
    /// Most bytes in one message on the control socket.
    pub const CONTROL_LIMIT: usize = 4 * 1024 * 1024;
    /// Most bytes in one message of an agent. A full report of 256 findings with 512 bytes of
    /// evidence each fits.
    pub const CHANNEL_LIMIT: usize = 256 * 1024;

    /// An empty splitter that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), whole: VecDeque::new() }
    }

    /// Takes bytes as they came from the socket. Frames that were whole before an overlong one
    /// can still be had with [`Frames::next_frame`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            self.extend(&rest[..end])?;
            self.whole.push_back(std::mem::take(&mut self.partial));
            rest = &rest[end + 1..];
        }
        self.extend(rest)
    }

    /// The next whole frame, without its NUL.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }

    /// Whether the stream ended inside a frame, if it ends now.
    pub fn is_mid_frame(&self) -> bool {
        !self.partial.is_empty()
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        if self.partial.len() + bytes.len() > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(frames: &mut Frames) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| frames.next_frame()).collect()
    }

    #[test]
    fn an_overlong_frame_is_refused_and_the_ones_before_it_are_kept() {
        let mut frames = Frames::new(4);
        assert_eq!(frames.push(b"ab\0abcde"), Err(FrameError::TooLong { limit: 4 }));
        assert_eq!(drain(&mut frames), [b"ab".to_vec()]);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            sent in prop::collection::vec(prop::collection::vec(1_u8.., 0..20), 0..10),
            cut in 1_usize..7,
        ) {
            let wire: Vec<u8> =
                sent.iter().flat_map(|f| f.iter().copied().chain([0])).collect();
            let mut frames = Frames::new(20);
            for piece in wire.chunks(cut) {
                frames.push(piece).unwrap();
            }
            prop_assert!(!frames.is_mid_frame());
            prop_assert_eq!(drain(&mut frames), sent);
        }

        #[test]
        fn any_bytes_are_split_or_refused_and_never_held_beyond_the_limit(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..20),
        ) {
            let mut frames = Frames::new(32);
            for piece in pieces {
                if frames.push(&piece).is_err() { break; }
                prop_assert!(frames.partial.len() <= 32);
                for frame in drain(&mut frames) { prop_assert!(frame.len() <= 32); }
            }
        }
    }
}
