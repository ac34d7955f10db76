//! Dumps, good and bad.
