//! Where the simulator may answer differently, and why no caller is misled by it. An entry that
//! covers no difference any more fails the test.

/// One difference that is left as it is.
#[derive(Debug)]
pub(super) struct Allowed {
    /// Chapter, or `*`.
    pub(super) chapter: &'static str,
    /// Step, or `*`.
    pub(super) step: &'static str,
    /// JSON pointer in the answer; everything below it is covered. `*` stands for one part.
    pub(super) path: &'static str,
    /// Why it cannot matter.
    pub(super) reason: &'static str,
}

impl Allowed {
    pub(super) fn covers(&self, chapter: &str, step: &str, path: &str) -> bool {
        let same = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        let mut parts = path.split('/');
        same(self.chapter, chapter)
            && same(self.step, step)
            && !self.reason.is_empty()
            && self
                .path
                .split('/')
                .all(|pattern| parts.next().is_some_and(|part| same(pattern, part)))
    }
}

const DESCRIPTIONS: &str =
    "Texts for people about columns, which no client shows; names, types and order are held.";
const SCHEMA: &str = "The same refusal; the place is called by the version that holds the schema, and the checker of rules has its own words.";
const SAME_VERSION: &str =
    "Empty means the group and version of the list it stands in: which is what is written here.";
const GO: &str = "The server quotes what its own decoder or printer says in the terms of Go; code, reason and field are the same, and nobody reads more.";
const PATCHED: &str = "The message quotes the whole object that the patch makes, with the members in the order of Go's types; code, reason and field are the same.";
const DOUBLE: &str =
    "The server checks this twice and says so twice in the causes, once in the message.";
const STATUS_PATH: &str = "The message of a status names the path from the status on; the cause's field is whole, and the same.";
const DIFF: &str =
    "The server adds a diff of its internal types; code, reason and field are the same.";
const DAEMON: &str =
    "A generation of the template from before generations were counted; nobody reads it.";

const fn may(
    chapter: &'static str,
    step: &'static str,
    path: &'static str,
    reason: &'static str,
) -> Allowed {
    Allowed {
        chapter,
        step,
        path,
        reason,
    }
}

#[rustfmt::skip]
pub(super) const ALLOWED: &[Allowed] = &[
    may("*", "*", "/body/columnDefinitions/*/description", DESCRIPTIONS),
    may("watches", "watch as a table", "/body/*/object/columnDefinitions/*/description", DESCRIPTIONS),
    may("definitions", "define with a schema without types", "/body/details/causes", SCHEMA),
    may("definitions", "define with a schema without types", "/body/message", SCHEMA),
    may("definitions", "define with a rule that does not compile", "/body/details/causes", SCHEMA),
    may("definitions", "define with a rule that does not compile", "/body/message", SCHEMA),
    may("discovery", "version", "/body/~1gitVersion", "The oldest version that the product supports is announced, so that clients use nothing newer."),
    may("discovery", "aggregated core", "/body/*/responseKind/version", SAME_VERSION),
    may("discovery", "aggregated core", "/body/*/subresources/*/responseKind/version", SAME_VERSION),
    may("discovery", "aggregated groups", "/body/~1items/*/versions/*/resources/*/responseKind", SAME_VERSION),
    may("discovery", "aggregated groups", "/body/~1items/*/versions/*/resources/*/subresources/*/responseKind", SAME_VERSION),
    may("discovery", "OpenAPI index", "/type", "The body is JSON under both names; clients decode it without looking."),
    may("discovery", "OpenAPI of our group", "/body/~1components~1schemas~1com.vpsie.autoscaler.v1alpha1.NodeGroup~1properties~1spec~1properties~1minNodes/minimum", "Zero, written as a number with and without a fraction."),
    may("discovery", "OpenAPI of nothing", "/body", "The same code, and a body that nobody decodes."),
    may("discovery", "OpenAPI of nothing", "/type", "The same code, and a body that nobody decodes."),
    may("eviction", "evict of another kind", "/body/message", GO),
    may("eviction", "a budget with both", "/body/details/causes/0/message", GO),
    may("eviction", "a budget with both", "/body/message", GO),
    may("groups", "create of another version", "/warnings", "A request that is refused is warned of nothing more here."),
    may("groups", "create of no JSON", "/body/message", GO),
    may("groups", "a status with a wrong type", "/body/details/causes/1/message", STATUS_PATH),
    may("groups", "a condition with a bad time", "/body/details/causes/1/message", STATUS_PATH),
    may("leases-events", "renew by merge with the version", "/body/details/causes/0/message", PATCHED),
    may("leases-events", "renew by merge with the version", "/body/message", PATCHED),
    may("leases-events", "a time that is none", "/body/details/causes/0/message", PATCHED),
    may("leases-events", "a time that is none", "/body/message", PATCHED),
    may("lists", "a token that is none", "/body/message", GO),
    may("lists", "an accept nobody serves", "/body/message", "The same code and reason; the server lists the forms in other words when none was asked for by `as`."),
    may("nodes", "register with the same taint twice", "/body/details/causes/0/message", GO),
    may("nodes", "register with the same taint twice", "/body/message", GO),
    may("nodes", "a bad quantity", "/body/details/causes/0/message", PATCHED),
    may("nodes", "a bad quantity", "/body/message", PATCHED),
    may("objects", "create of another kind", "/body/message", GO),
    may("objects", "create of no JSON", "/body/message", GO),
    may("objects", "create of a list", "/body/message", GO),
    may("objects", "create with what only the server sets", "/body/metadata/generation", "The server keeps a generation that a client makes up, of kinds that count none; nobody sends one."),
    may("objects", "create with two controlling owners", "/body/details/causes/0/message", GO),
    may("objects", "create with two controlling owners", "/body/message", GO),
    may("objects", "no finalizer may be added to a marked object", "/body/details/causes/1", DOUBLE),
    may("objects", "deletionTimestamp cannot be set by an update", "/body/details/causes/1", DOUBLE),
    may("objects", "a value of the wrong type", "/body/message", GO),
    may("objects", "a secret whose data is no base64", "/body/message", GO),
    may("patches", "merge with another uid", "/body/details/causes/1", DOUBLE),
    may("patches", "merge with another kind", "/body/details/causes/0/message", PATCHED),
    may("patches", "merge with another kind", "/body/message", PATCHED),
    may("patches", "merge with a wrong type", "/body/details/causes/0/message", PATCHED),
    may("patches", "merge with a wrong type", "/body/message", PATCHED),
    may("patches", "merge with an unknown field", "/body/details/causes/0/message", PATCHED),
    may("patches", "merge with an unknown field", "/body/message", PATCHED),
    may("pods", "create with a wrong type", "/body/message", GO),
    may("pods", "spec stays", "/body/details/causes/0/message", DIFF),
    may("pods", "spec stays", "/body/message", DIFF),
    may("pods", "spec of containers stays", "/body/details/causes/0/message", DIFF),
    may("pods", "spec of containers stays", "/body/message", DIFF),
    may("workloads", "a daemon set", "/body/metadata/annotations", DAEMON),
    may("workloads", "a daemon set", "/body/metadata/managedFields/0/fieldsV1/f:metadata", DAEMON),
    may("workloads", "daemon sets as a table", "/body/rows/0/object/metadata/managedFields/0/fieldsV1/f:metadata", DAEMON),
];
