//! JSON: the items of a list one by one, each where it stands in the text.
//!
//! Items are separate values for the decoder, so that one of a wrong type costs only itself: its
//! end is found and reading goes on.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    DumpError,
    assemble::Assembly,
    item::{Identity, Item, known},
    problem::Fault,
};

/// Reads all documents.
pub(super) fn read(bytes: &[u8], assembly: &mut Assembly) -> Result<(), DumpError> {
    let mut cursor = Cursor { bytes, at: 0 };
    while cursor.peek().is_some() {
        document(&mut cursor, assembly)?;
    }
    Ok(())
}

/// A place in the text.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// Goes past `byte`, which has to be next.
    fn expect(&mut self, byte: u8) -> Result<(), DumpError> {
        match self.peek() {
            Some(next) if next == byte => {
                self.at += 1;
                Ok(())
            }
            None => Err(self.truncated()),
            Some(_) => {
                let (line, column) = self.place(self.at);
                Err(DumpError::NotJson {
                    line,
                    column,
                    what: format!("expected `{}`", char::from(byte)),
                })
            }
        }
    }

    /// The next value, decoded as `T`. An error leaves the cursor where the value begins.
    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, serde_json::Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(error)) => Err(error),
            None => Err(serde::de::Error::custom("nothing is there")),
        }
    }

    /// Goes past the next value and returns its text.
    fn skip(&mut self) -> Result<&'a [u8], DumpError> {
        let begin = self.at;
        match self.value::<IgnoredAny>() {
            Ok(IgnoredAny) => Ok(self.bytes.get(begin..self.at).unwrap_or_default()),
            Err(error) => Err(self.error(begin, &error)),
        }
    }

    /// What the decoder says of a value that begins at `begin`.
    fn error(&self, begin: usize, error: &serde_json::Error) -> DumpError {
        if error.is_eof() || self.bytes.len() <= begin {
            return self.truncated();
        }
        let (first_line, first_column) = self.place(begin);
        let line = first_line + error.line().max(1) - 1;
        let column = if error.line() <= 1 {
            first_column + error.column().max(1) - 1
        } else {
            error.column()
        };
        DumpError::NotJson {
            line,
            column,
            what: without_place(error),
        }
    }

    fn truncated(&self) -> DumpError {
        let (line, column) = self.place(self.bytes.len());
        DumpError::Truncated { line, column }
    }

    /// Line and column of a place, from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.bytes.get(..at).unwrap_or(self.bytes);
        let mut lines = before.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        (lines.count() + 1, last.len() + 1)
    }
}

/// The decoder's message without its place, which is relative to the item.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

/// One object or list.
fn document(cursor: &mut Cursor<'_>, assembly: &mut Assembly) -> Result<(), DumpError> {
    let begin = cursor.at;
    if cursor.peek() != Some(b'{') {
        let what = match cursor.peek() {
            Some(b'[') => "an array",
            _ => "something",
        };
        // What is no JSON at all says so first.
        cursor.skip()?;
        return Err(DumpError::NotAnObject { what });
    }
    cursor.expect(b'{')?;
    let mut is_list = false;
    while cursor.peek() != Some(b'}') {
        let at = cursor.at;
        let key: String = cursor.value().map_err(|error| cursor.error(at, &error))?;
        cursor.expect(b':')?;
        if cursor.peek() == Some(b'[') && key == "items" {
            is_list = true;
            items(cursor, begin, assembly)?;
        } else {
            cursor.skip()?;
        }
        if cursor.peek() != Some(b'}') {
            cursor.expect(b',')?;
        }
    }
    cursor.expect(b'}')?;
    if !is_list {
        let mut whole = Cursor {
            bytes: cursor.bytes.get(..cursor.at).unwrap_or_default(),
            at: begin,
        };
        whole.peek();
        item(&mut whole, &mut ListKind::None, assembly)?;
    }
    Ok(())
}

/// What items without a kind are: a list of one kind, as the API server itself answers, names it
/// only once.
enum ListKind<'a> {
    /// Not looked for yet.
    Unread(&'a [u8]),
    /// Version and kind of the items.
    Of(Option<String>, String),
    /// Nothing says so.
    None,
}

impl ListKind<'_> {
    fn get(&mut self) -> Option<(Option<&str>, &str)> {
        if let Self::Unread(text) = self {
            let mut cursor = Cursor { bytes: text, at: 0 };
            let list = cursor.value::<Identity>().unwrap_or_default();
            *self = match list
                .kind
                .as_deref()
                .and_then(|kind| kind.strip_suffix("List"))
            {
                Some(kind) if !kind.is_empty() => Self::Of(list.api_version, kind.to_owned()),
                _ => Self::None,
            };
        }
        match self {
            Self::Of(version, kind) => Some((version.as_deref(), kind)),
            Self::Unread(_) | Self::None => None,
        }
    }
}

/// The items of the list that begins at `begin`.
fn items(cursor: &mut Cursor<'_>, begin: usize, assembly: &mut Assembly) -> Result<(), DumpError> {
    let mut of = ListKind::Unread(cursor.bytes.get(begin..).unwrap_or_default());
    cursor.expect(b'[')?;
    while cursor.peek() != Some(b']') {
        if cursor.peek().is_none() {
            return Err(cursor.truncated());
        }
        item(cursor, &mut of, assembly)?;
        if cursor.peek() != Some(b']') {
            cursor.expect(b',')?;
        }
    }
    cursor.expect(b']')
}

fn item(
    cursor: &mut Cursor<'_>,
    list: &mut ListKind<'_>,
    assembly: &mut Assembly,
) -> Result<(), DumpError> {
    let begin = cursor.at;
    match cursor.value::<Item>() {
        Ok(Item::Unordered) => {
            let text = cursor.bytes.get(begin..cursor.at).unwrap_or_default();
            unordered(text, list, assembly)
        }
        Ok(item) => assembly.add(item),
        Err(_) => {
            // Either it is no JSON, which skipping it finds out, or of a wrong type.
            let text = cursor.skip()?;
            undecodable(text, assembly);
            Ok(())
        }
    }
}

/// An object whose kind does not stand first, or is named by the list only.
fn unordered(
    text: &[u8],
    list: &mut ListKind<'_>,
    assembly: &mut Assembly,
) -> Result<(), DumpError> {
    let identity: Identity = serde_json::from_slice(text).unwrap_or_default();
    let (version, kind) = match (&identity.kind, list.get()) {
        (Some(kind), _) => (identity.api_version.as_deref(), kind.as_str()),
        (None, Some(of)) => of,
        (None, None) => {
            assembly.note(identity, Fault::NoKind);
            return Ok(());
        }
    };
    match known(version, kind) {
        Some(known) => {
            let mut decoder = serde_json::Deserializer::from_slice(text);
            if let Ok(item) = Item::of(known, &mut decoder) {
                return assembly.add(item);
            }
            let identity = Identity {
                kind: Some(kind.to_owned()),
                api_version: version.map(ToOwned::to_owned),
                ..identity
            };
            explain(text, identity, assembly);
            Ok(())
        }
        None => assembly.add(Item::Unknown(kind.to_owned())),
    }
}

fn undecodable(text: &[u8], assembly: &mut Assembly) {
    let identity = serde_json::from_slice(text).unwrap_or_default();
    explain(text, identity, assembly);
}

/// Decodes once more, to name the field that is wrong.
fn explain(text: &[u8], identity: Identity, assembly: &mut Assembly) {
    let kind = match &identity.kind {
        Some(kind) => known(identity.api_version.as_deref(), kind),
        None => None,
    };
    let mut decoder = serde_json::Deserializer::from_slice(text);
    let fault = match kind {
        Some(kind) => {
            let mut track = serde_path_to_error::Track::new();
            let tracked = serde_path_to_error::Deserializer::new(&mut decoder, &mut track);
            let error = Item::of(kind, tracked).err();
            error.map(|error| (track.path().to_string(), error))
        }
        None => Item::deserialize(&mut decoder)
            .err()
            .map(|error| (String::new(), error)),
    };
    let fault = match fault {
        Some((path, error)) => Fault::undecodable(&path, without_place(&error)),
        None => Fault::NoKind,
    };
    assembly.note(identity, fault);
}
