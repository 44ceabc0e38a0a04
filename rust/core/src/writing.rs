//! A flush in three steps, so that nothing has to stand still while nodes are encoded, hashed and signed: what the
//! replica knows is taken down ([`crate::replica::Replica::prepare_flush`]), nodes are built of it here, and the replica
//! is told ([`crate::replica::Replica::note_built`]).

use crate::chain::{Section, Target, Written};
use crate::cid::HashKind;
use crate::dag::HeadInfo;
use crate::effects::{Changes, Flush};
use crate::element_key;
use crate::error::WireError;
use crate::identity::Signer;

/// All that building nodes needs of a replica.
pub struct Draft {
    pub(crate) replica: String,
    pub(crate) generation: String,
    pub(crate) dag_name: String,
    pub(crate) topic: String,
    pub(crate) hash: HashKind,
    pub(crate) heads: Vec<HeadInfo>,
    pub(crate) section: Section,
    pub(crate) live: bool,
}

impl Draft {
    /// Turn changes into nodes. Cost: mostly hashing their bytes, three times.
    ///
    /// # Errors
    /// The signer refuses, or the height or sequence has reached its end.
    pub fn build(mut self, signer: &dyn Signer, changes: &Changes) -> Result<Flush, WireError> {
        let (mut keys, mut ends) = (String::new(), Vec::with_capacity(changes.len()));
        for (path, side, value) in changes.iter() {
            element_key::push(&mut keys, side, path, &self.replica, &self.generation);
            ends.push((keys.len(), value));
        }
        let starts = std::iter::once(0).chain(ends.iter().map(|(end, _)| *end));
        let lines = starts.zip(&ends).map(|(start, &(end, value))| Written {
            key: keys.get(start..end).unwrap_or(""),
            value,
        });
        let written: Vec<Written<'_>> = lines.collect();
        let target = Target {
            dag_name: &self.dag_name,
            topic: &self.topic,
            hash: self.hash,
            signer,
        };
        let blocks = self.section.build(&target, &self.heads, &written)?;
        Ok(Flush {
            author: signer.peer_id().clone(),
            live: self.live,
            blocks,
            section: self.section.nonce(),
            sequence: self.section.written(),
        })
    }
}
