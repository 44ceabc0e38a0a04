//! What a foreign node is worth: the rules look at nothing but the block itself, so all replicas decide alike.

use crate::delta::{Delta, Element, Native};
use crate::element_key::{self, ElementKey, Side, is_signed_generation};
use crate::error::WireError;
use crate::hashed::Hashed;
use crate::key;
use crate::limits::LINKS_MAX;
use crate::node::{self, Node};
use crate::peer_id::PeerId;
use crate::signature::{self, Signature};
use std::borrow::Cow;

/// Components of a key that can count. Above it an element is dropped: its cost would grow with the square.
pub const COUNTED_DEPTH_MAX: usize = 1024;

/// Which kind of network, as far as judging goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The gossip topic: part of what is signed.
    pub topic: String,
    /// Native: one DAG for each replica, signed elements only. Else one shared DAG, unsigned elements as Go takes them.
    pub native: bool,
}

/// Why a whole node is refused (native networks only). Its author is at fault, not the peer that sent it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Refusal {
    Unsigned,
    /// Forged, or for another network: nobody can tell these apart.
    BadSignature,
    /// It is not at the very end of the block: others have put the node into another form.
    SignatureOutOfPlace,
    NotOurForm,
    Tombstones,
    ForeignDagName,
}

impl Refusal {
    /// A stable word for counters in `status()`.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Refusal::Unsigned => "node-unsigned",
            Refusal::BadSignature => "node-bad-signature",
            Refusal::SignatureOutOfPlace => "node-signature-out-of-place",
            Refusal::NotOurForm => "node-not-exact-form",
            Refusal::Tombstones => "node-tombstones",
            Refusal::ForeignDagName => "node-foreign-dag-name",
        }
    }
}

/// A node that is kept, served and walked.
pub struct Judged<'a> {
    pub node: Node<'a>,
    /// The author, where the signature holds.
    pub author: Option<PeerId>,
    /// From a newer version: kept and walked, but not merged.
    pub newer: bool,
    /// Why it counts as unsigned though there is a signature in it (shared DAGs, where such a node is kept).
    pub doubt: Option<Refusal>,
}

impl<'a> Judged<'a> {
    /// The same node with other elements, to be merged.
    pub(crate) fn with_elements(&self, elements: Vec<Element<'a>>) -> Self {
        let node = Node {
            links: Vec::new(),
            delta: Delta {
                elements,
                ..self.node.delta.clone()
            },
            ..self.node
        };
        Judged {
            node,
            author: self.author.clone(),
            ..*self
        }
    }
}

/// What one look at a block says.
#[allow(clippy::large_enum_variant)] // lives on the stack of one call, and is nearly always the large one
pub enum Verdict<'a> {
    Keep(Judged<'a>),
    Refuse(Refusal),
}

/// Decode and judge a block that is known to match its CID.
///
/// # Errors
/// The block is no DAG node at all: the peer that sent it is at fault.
pub fn judge<'a>(rules: &Rules, block: &Hashed<'a>) -> Result<Verdict<'a>, WireError> {
    let node = node::decode(block.bytes())?;
    let signature = signature::verify(block, &node, &rules.topic);
    let author = match &signature {
        Signature::Valid(author) => Some(author.clone()),
        _ => None,
    };
    if rules.native
        && let Some(refusal) = refuse_native(block.bytes(), &node, &signature)
    {
        return Ok(Verdict::Refuse(refusal));
    }
    let newer = node
        .delta
        .native
        .as_ref()
        .is_some_and(Native::is_from_newer_version);
    let doubt = match signature {
        Signature::Invalid => Some(Refusal::BadSignature),
        Signature::Unsigned => node
            .signature_out_of_place
            .then_some(Refusal::SignatureOutOfPlace),
        Signature::Valid(_) => None,
    };
    Ok(Verdict::Keep(Judged {
        node,
        author,
        newer,
        doubt,
    }))
}

/// As [`judge`], of a block that was judged before it was stored, and matches its CID: in a native network only what is
/// signed and in our form is stored, so neither is looked at again. (Elsewhere a signature that does not hold is stored
/// too, and has to be told from one that does.)
///
/// # Errors
/// The block is no DAG node at all.
pub fn judge_stored<'a>(rules: &Rules, block: &Hashed<'a>) -> Result<Verdict<'a>, WireError> {
    if !rules.native {
        return judge(rules, block);
    }
    let node = node::decode(block.bytes())?;
    let native = node.delta.native.as_ref();
    let author = native.and_then(|native| PeerId::from_bytes(native.author).ok());
    let newer = native.is_some_and(Native::is_from_newer_version);
    match author
        .filter(|author| node.signature_in_place && author.to_string() == node.delta.dag_name)
    {
        Some(author) => Ok(Verdict::Keep(Judged {
            node,
            author: Some(author),
            newer,
            doubt: None,
        })),
        None => judge(rules, block),
    }
}

fn refuse_native(block: &[u8], node: &Node<'_>, signature: &Signature) -> Option<Refusal> {
    let author = match signature {
        Signature::Valid(author) => author,
        Signature::Unsigned => return Some(Refusal::Unsigned),
        Signature::Invalid => return Some(Refusal::BadSignature),
    };
    if node.links.len() > LINKS_MAX {
        return Some(Refusal::NotOurForm);
    }
    if !node.delta.tombstones.is_empty() {
        return Some(Refusal::Tombstones);
    }
    if node.delta.dag_name != author.to_string() {
        return Some(Refusal::ForeignDagName);
    }
    // A newer version may write fields that we do not know: such a node is kept, but not merged.
    let newer = node
        .delta
        .native
        .as_ref()
        .is_some_and(Native::is_from_newer_version);
    (!newer && !node::is_exact_form(block, node)).then_some(Refusal::NotOurForm)
}

/// What one element says, once its key is clean and the rules let it count.
#[derive(PartialEq, Eq, Debug)]
pub struct Counted<'a> {
    pub side: Side,
    pub path: &'a str,
    /// The element has a key of its own; else it counts at `path` and above only, under its whole element key.
    pub exact: bool,
    pub replica: &'a str,
    pub generation: &'a str,
}

/// Why an element does not count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Dropped {
    /// A signed generation in a node that its owner did not sign.
    NotTheOwner,
    /// A native network takes signed generations alone.
    UnsignedGeneration,
    UncleanKey,
    TooDeep,
    /// Outside `/STATS/{incr,decr}/`: no counter.
    NoCounter,
}

impl Dropped {
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Dropped::NotTheOwner => "element-not-the-owner",
            Dropped::UnsignedGeneration => "element-unsigned-generation",
            Dropped::UncleanKey => "element-unclean-key",
            Dropped::TooDeep => "element-too-deep",
            Dropped::NoCounter => "element-no-counter",
        }
    }
}

/// The clean form of an element's key: clean first, then judge.
///
/// # Errors
/// In a native network a key that is not its own clean form.
pub fn clean_element_key<'a>(rules: &Rules, element_key: &'a str) -> Result<Cow<'a, str>, Dropped> {
    let clean = key::clean(element_key);
    if rules.native && clean != element_key {
        return Err(Dropped::UncleanKey);
    }
    Ok(clean)
}

/// Whether an element with a clean key counts, coming from a node signed by `author` (text) or by nobody.
///
/// # Errors
/// Why it does not.
pub fn judge_element<'a>(
    rules: &Rules,
    author: Option<&str>,
    clean_key: &'a str,
) -> Result<Counted<'a>, Dropped> {
    let ElementKey::Counter {
        side,
        path,
        exact,
        replica,
        generation,
    } = element_key::parse(clean_key)
    else {
        return Err(Dropped::NoCounter);
    };
    if path.len() > COUNTED_DEPTH_MAX
        && path.bytes().filter(|&b| b == b'/').count() >= COUNTED_DEPTH_MAX
    {
        return Err(Dropped::TooDeep);
    }
    if exact && is_signed_generation(generation) {
        if author != Some(replica) {
            return Err(Dropped::NotTheOwner);
        }
    } else if rules.native {
        return Err(Dropped::UnsignedGeneration);
    }
    Ok(Counted {
        side,
        path,
        exact,
        replica,
        generation,
    })
}
