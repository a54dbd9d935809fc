//! A DNS question and what of its answer matters here, as bytes (RFC 1035, section 4).
//!
//! Only the header of an answer is read and the question compared; records are counted, never
//! parsed. Every byte of an answer is hostile.

/// Longest name in text form, without the final dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label (the same section).
const MAX_LABEL: usize = 63;
const HEADER: usize = 12;
/// Type A, class IN.
const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];

/// The text is not a name that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a host name: labels of 1 to 63 letters, digits, '-' or '_' with a '.' between \
     them, 253 characters in all"
)]
pub(crate) struct NameError {
    name: String,
}

/// What a server said about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It exists and has an address or leads to one.
    Found,
    /// It exists but has no IPv4 address.
    Empty,
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The server could not find out (SERVFAIL) or refused; its response code (RFC 1035, section
    /// 4.1.1).
    Failed(u8),
}

/// A question about one name, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    message: Vec<u8>,
}

impl Question {
    /// Asks for the IPv4 address of `name`, recursion desired, under the given message `id`.
    pub(crate) fn new(name: &str, id: u16) -> Result<Self, NameError> {
        let trimmed = name.strip_suffix('.').unwrap_or(name);
        let refuse = || NameError { name: name.chars().take(64).collect() };
        if trimmed.is_empty() || trimmed.len() > MAX_NAME {
            return Err(refuse());
        }
        let mut message = Vec::with_capacity(HEADER + trimmed.len() + 2 + TYPE_AND_CLASS.len());
        message.extend_from_slice(&id.to_be_bytes());
        message.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in trimmed.split('.') {
            let fits = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            match u8::try_from(label.len()) {
                Ok(length) if fits && (1..=MAX_LABEL).contains(&label.len()) => {
                    message.push(length);
                }
                Ok(_) | Err(_) => return Err(refuse()),
            }
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&TYPE_AND_CLASS);
        Ok(Self { message })
    }

    /// The bytes to send.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.message
    }

    /// What `reply` says, or `None` when it is not a reply to this question.
    pub(crate) fn answer(&self, reply: &[u8]) -> Option<Answer> {
        let question = &self.message[HEADER..];
        let header = reply.get(..HEADER)?;
        let is_response = header[2] & 0x80 != 0;
        let repeats_question = header[4..6] == [0, 1]
            && reply.get(HEADER..HEADER + question.len())?.eq_ignore_ascii_case(question);
        if header[..2] != self.message[..2] || !is_response || !repeats_question {
            return None;
        }
        let answers = u16::from_be_bytes([header[6], header[7]]);
        Some(match header[3] & 0x0f {
            0 if answers > 0 => Answer::Found,
            0 => Answer::Empty,
            3 => Answer::NoSuchName,
            code => Answer::Failed(code),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What systemd-resolved 257 answered to `localhost A` on its stub.
    const REPLY: &[u8] = &[
        0x12, 0x34, 0x85, 0x80, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x09, b'l', b'o',
        b'c', b'a', b'l', b'h', b'o', b's', b't', 0x00, 0x00, 0x01, 0x00, 0x01, 0xc0, 0x0c, 0x00,
        0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 127, 0, 0, 1,
    ];

    fn with_code(code: u8, answers: u8) -> Vec<u8> {
        let mut reply = REPLY.to_vec();
        reply[3] = 0x80 | code;
        reply[7] = answers;
        reply
    }

    #[test]
    fn a_question_has_the_form_of_rfc_1035() {
        let question = Question::new("localhost", 0x1234).unwrap();
        assert_eq!(question.as_bytes()[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(question.as_bytes()[12..], REPLY[12..27]);
        assert_eq!(Question::new("localhost.", 0x1234), Ok(question));
    }

    #[test]
    fn an_answer_is_told_by_its_code_and_count() {
        let question = Question::new("localhost", 0x1234).unwrap();
        assert_eq!(question.answer(REPLY), Some(Answer::Found));
        assert_eq!(question.answer(&with_code(0, 0)), Some(Answer::Empty));
        assert_eq!(question.answer(&with_code(3, 0)), Some(Answer::NoSuchName));
        assert_eq!(question.answer(&with_code(2, 0)), Some(Answer::Failed(2)));
    }

    #[test]
    fn what_does_not_answer_this_question_is_no_answer() {
        let other_id = Question::new("localhost", 0x4321).unwrap();
        assert_eq!(other_id.answer(REPLY), None);
        let other_name = Question::new("localhosu", 0x1234).unwrap();
        assert_eq!(other_name.answer(REPLY), None);
        let question = Question::new("localhost", 0x1234).unwrap();
        assert_eq!(question.answer(question.as_bytes()), None, "a question is not an answer");
        assert_eq!(question.answer(&REPLY[..20]), None, "cut short");
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for name in
            ["", ".", "a..b", "a b", "\u{e9}.org", "a/b", &"a".repeat(64), &"a.".repeat(128)]
        {
            assert!(Question::new(name, 0).is_err(), "{name:?}");
        }
        assert!(Question::new(&"a".repeat(63), 0).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_not_and_never_a_panic(
            reply in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            Question::new("localhost", 0x1234).unwrap().answer(&reply);
        }

        #[test]
        fn any_text_is_a_name_or_refused(name in ".{0,300}") {
            if let Ok(question) = Question::new(&name, 1) {
                prop_assert!(question.as_bytes().len() <= 512);
            }
        }
    }
}
