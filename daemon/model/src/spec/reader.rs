//! Reads TOML tables key by key, keeping the place of everything, so that a problem is reported
//! with line and column and reading goes on to find the next.
//!
//! A [`Table`] knows each key that was asked for; [`Table::finish`] reports the others. What a value
//! must be is a rule of `rules`: a function from the value to a result whose error is the text of
//! what is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, SpecError};

/// More problems than anyone reads in one go; the rest is counted.
const PROBLEMS_MAX: usize = 100;
/// What is quoted from a file is cut to this many characters.
const QUOTE_MAX: usize = 64;

/// What a rule says of a value it refuses: what would be allowed there.
pub(super) type Allowed = String;

/// One file being read, and what is wrong with it so far.
pub(super) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    problems: Vec<(usize, String)>,
}

impl<'t> Reader<'t> {
    /// Parses `text` and gives its root table to `read`. Bad syntax is reported alone: what a
    /// parser guesses after it is no ground for more complaints.
    pub(super) fn read<T>(
        file: &'t str,
        text: &'t str,
        read: impl FnOnce(&mut Self, &mut Table<'_, 't>) -> Option<T>,
    ) -> Result<T, SpecError> {
        let mut reader = Self { file, text, problems: vec![] };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            reader.report(at, format!("not TOML: {}", error.message()));
        }
        let value = if errors.is_empty() {
            let entries = Entries::Present(root.get_ref());
            let mut root = Table { path: String::new(), at: 0, entries, known: vec![] };
            let value = read(&mut reader, &mut root);
            root.finish(&mut reader);
            value
        } else {
            None
        };
        match value {
            Some(value) if reader.problems.is_empty() => Ok(value),
            Some(_) | None => Err(reader.into_error()),
        }
    }

    /// Notes a problem at byte `at` of the file.
    pub(super) fn report(&mut self, at: usize, message: String) {
        self.problems.push((at, message));
    }

    fn into_error(mut self) -> SpecError {
        self.problems.sort();
        let left_out = self.problems.len().saturating_sub(PROBLEMS_MAX);
        self.problems.truncate(PROBLEMS_MAX);
        if left_out > 0 {
            self.problems.push((self.text.len(), format!("and {left_out} more problems")));
        }
        let problems = self.problems.iter().map(|(at, message)| {
            let (line, column) = place(self.text, *at);
            Problem { file: self.file.to_owned(), line, column, message: message.clone() }
        });
        SpecError { problems: problems.collect() }
    }
}

/// Line and column, from 1, of byte `at`; columns count characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line_start =
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    // UTF-8 continuation bytes are 10xxxxxx.
    let column = before.iter().skip(line_start).filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
    (line, column)
}

/// A value that was read, with its place in the file for rules about several values.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    /// Byte in the file.
    pub(super) at: usize,
    pub(super) value: T,
}

/// One table being read.
pub(super) struct Table<'r, 't> {
    path: String,
    at: usize,
    entries: Entries<'r, 't>,
    known: Vec<&'static str>,
}

#[derive(Clone, Copy)]
enum Entries<'r, 't> {
    Present(&'r DeTable<'t>),
    Absent,
    /// Something that is no table stands there, and was reported.
    Refused,
}

impl<'r, 't> Entries<'r, 't> {
    fn get(self) -> Option<&'r DeTable<'t>> {
        match self {
            Self::Present(entries) => Some(entries),
            Self::Absent | Self::Refused => None,
        }
    }
}

impl<'r, 't> Table<'r, 't> {
    /// Where the table begins; where its parent does if it is absent.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The whole name of a key: `restart.budget.starts`.
    pub(super) fn path_of(&self, key: &str) -> String {
        let key = show_key(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'r Spanned<DeValue<'t>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.get()?.get(key)
    }

    /// The value of `key` if it is there and `rule` takes it; what the rule refuses is reported.
    pub(super) fn read<T>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        rule: impl FnOnce(&DeValue<'t>) -> Result<T, Allowed>,
    ) -> Option<At<T>> {
        let entry = self.entry(key)?;
        check(reader, &self.path_of(key), entry, rule)
    }

    /// As [`Table::read`], and its absence is reported.
    pub(super) fn require<T>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        rule: impl FnOnce(&DeValue<'t>) -> Result<T, Allowed>,
    ) -> Option<At<T>> {
        let is_missing = match self.entries {
            Entries::Present(entries) => !entries.contains_key(key),
            Entries::Absent => true,
            Entries::Refused => false,
        };
        if is_missing {
            reader.report(self.at, format!("{}: missing", self.path_of(key)));
        }
        self.read(reader, key, rule)
    }

    /// The elements of the array `key`, each checked by `rule`, which is given its index. `None`
    /// if it is absent or anything in it was refused.
    pub(super) fn list<T>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        rule: impl Fn(usize, &DeValue<'t>) -> Result<T, Allowed>,
    ) -> Option<At<Vec<At<T>>>> {
        let path = self.path_of(key);
        let entry = self.entry(key)?;
        let Some(elements) = entry.get_ref().as_array() else {
            reader.report(entry.span().start, refusal(&path, entry.get_ref(), "an array"));
            return None;
        };
        let read: Vec<Option<At<T>>> = elements
            .iter()
            .enumerate()
            .map(|(i, element)| check(reader, &format!("{path}[{i}]"), element, |v| rule(i, v)))
            .collect();
        let value = read.into_iter().collect::<Option<Vec<_>>>()?;
        Some(At { at: entry.span().start, value })
    }

    /// As [`Table::list`], without order, empty if it is absent; an element that stands there
    /// twice is reported.
    pub(super) fn set<T: Ord>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        rule: impl Fn(&DeValue<'t>) -> Result<T, Allowed>,
    ) -> BTreeSet<T> {
        self.places(reader, key, rule).into_keys().collect()
    }

    /// As [`Table::set`], with the place of each element.
    pub(super) fn places<T: Ord>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        rule: impl Fn(&DeValue<'t>) -> Result<T, Allowed>,
    ) -> BTreeMap<T, usize> {
        let mut places = BTreeMap::new();
        let list = self.list(reader, key, |_, value| rule(value));
        for (i, element) in list.into_iter().flat_map(|list| list.value).enumerate() {
            if places.insert(element.value, element.at).is_some() {
                let path = self.path_of(key);
                reader.report(element.at, format!("{path}[{i}]: stands there twice"));
            }
        }
        places
    }

    /// The table `key`; an empty one if it is absent.
    pub(super) fn table(&mut self, reader: &mut Reader<'t>, key: &'static str) -> Table<'r, 't> {
        let path = self.path_of(key);
        let entry = self.entry(key);
        open(reader, path, self.at, entry)
    }

    /// Every entry as a table by its name, for tables whose keys are names.
    pub(super) fn tables(&self, reader: &mut Reader<'t>) -> Vec<(At<&'r str>, Table<'r, 't>)> {
        let open_one = |(key, entry): (&'r Spanned<_>, &'r Spanned<DeValue<'t>>)| {
            let key: At<&'r str> = name_of(key);
            (key, open(reader, self.path_of(key.value), key.at, Some(entry)))
        };
        self.entries.get().into_iter().flatten().map(open_one).collect()
    }

    /// Reports every key that nobody asked for, with the known one it is nearest to.
    pub(super) fn finish(self, reader: &mut Reader<'t>) {
        for (key, _) in self.entries.get().into_iter().flatten() {
            let key = name_of(key);
            if self.known.contains(&key.value) {
                continue;
            }
            let path = self.path_of(key.value);
            let hint = match nearest(key.value, self.known.iter().copied()) {
                Some(known) => format!("the nearest known key is {known}"),
                None => format!("known here are {}", self.known.join(", ")),
            };
            reader.report(key.at, format!("{path}: unknown key; {hint}"));
        }
    }
}

fn name_of<'r>(key: &'r Spanned<toml::de::DeString<'_>>) -> At<&'r str> {
    let Range { start, .. } = key.span();
    At { at: start, value: key.get_ref().as_ref() }
}

fn open<'r, 't>(
    reader: &mut Reader<'t>,
    path: String,
    parent: usize,
    entry: Option<&'r Spanned<DeValue<'t>>>,
) -> Table<'r, 't> {
    let at = entry.map_or(parent, |entry| entry.span().start);
    let entries = match entry.map(Spanned::get_ref) {
        None => Entries::Absent,
        Some(DeValue::Table(entries)) => Entries::Present(entries),
        Some(other) => {
            reader.report(at, refusal(&path, other, "a table"));
            Entries::Refused
        }
    };
    Table { path, at, entries, known: vec![] }
}

fn check<'t, T>(
    reader: &mut Reader<'t>,
    path: &str,
    entry: &Spanned<DeValue<'t>>,
    rule: impl FnOnce(&DeValue<'t>) -> Result<T, Allowed>,
) -> Option<At<T>> {
    let at = entry.span().start;
    match rule(entry.get_ref()) {
        Ok(value) => Some(At { at, value }),
        Err(allowed) => {
            reader.report(at, refusal(path, entry.get_ref(), &allowed));
            None
        }
    }
}

fn refusal(path: &str, found: &DeValue<'_>, allowed: &str) -> String {
    format!("{path}: found {}, expected {allowed}", show(found))
}

/// A value in a message: short, and without control characters.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", cut(text)),
        DeValue::Integer(number) => cut(&number.to_string()),
        DeValue::Float(number) => cut(&number.to_string()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn show_key(key: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !key.is_empty() && key.bytes().all(is_bare) { cut(key) } else { format!("{:?}", cut(key)) }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// The candidate most like `word`, if one is like it at all.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    // Names are short: what is longer resembles none, and comparing costs its length.
    if word.len() > QUOTE_MAX {
        return None;
    }
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
