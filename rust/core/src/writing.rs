//! A flush in three steps, so that nothing has to stand still while nodes are encoded, hashed and signed: what the
//! replica knows is taken down ([`crate::replica::Replica::prepare_flush`]), nodes are built of it here, and the replica
//! is told ([`crate::replica::Replica::note_built`]).

use crate::announce::pack;
use crate::belonging::Belongs;
use crate::broadcast::Head;
use crate::chain::{Built, Section, Target, Writer, Written};
use crate::cid::{Cid, HashKind};
use crate::effects::{Changes, Flush};
use crate::element_key::Side;
use crate::error::WireError;
use crate::hashed::Hashed;
use crate::heads::HeadInfo;
use crate::identity::Signer;
use crate::judge::{Verdict, judge};
use crate::peer_id::PeerId;
use crate::replica::Replica;
use crate::state::OriginId;

/// All that building nodes needs of a replica.
pub struct Draft {
    pub(crate) replica: String,
    pub(crate) generation: String,
    pub(crate) dag_name: String,
    pub(crate) topic: String,
    pub(crate) hash: HashKind,
    pub(crate) heads: Vec<HeadInfo>,
    /// A height that the nodes stand above, whatever they link to.
    pub(crate) above: u64,
    pub(crate) section: Section,
    pub(crate) live: bool,
}

impl Draft {
    /// Begin to write nodes of about so many elements.
    #[must_use]
    pub fn writer<'a>(&'a self, signer: &'a dyn Signer, expected: usize) -> FlushWriter<'a> {
        let target = Target {
            dag_name: &self.dag_name,
            topic: &self.topic,
            hash: self.hash,
            above: self.above,
            signer,
        };
        let origin = ["/", &self.replica, "/", &self.generation].concat();
        FlushWriter {
            author: signer.peer_id().clone(),
            live: self.live,
            nodes: Writer::new(target, self.section, &self.heads, origin, expected),
        }
    }

    /// Turn changes into nodes.
    ///
    /// # Errors
    /// As of [`FlushWriter::push`].
    pub fn build(&self, signer: &dyn Signer, changes: &Changes) -> Result<Flush, WireError> {
        let mut writer = self.writer(signer, changes.len());
        for (path, side, value) in changes.iter() {
            writer.push(path, side, value)?;
        }
        writer.finish()
    }

    /// As [`Draft::build`], of whole element keys.
    ///
    /// # Errors
    /// As there.
    pub fn build_written(
        &self,
        signer: &dyn Signer,
        written: &[Written<'_>],
    ) -> Result<Flush, WireError> {
        let mut writer = self.writer(signer, written.len());
        for line in written {
            writer.nodes.push_whole(line)?;
        }
        writer.finish()
    }
}

/// Nodes that are being written. No sequence number is used where it fails, or is given up.
pub struct FlushWriter<'a> {
    author: PeerId,
    live: bool,
    nodes: Writer<'a>,
}

impl FlushWriter<'_> {
    /// Add what one side of a sub-counter is now. Cost: writing and hashing its bytes; a signature for each full node.
    ///
    /// # Errors
    /// The signer refuses, or the height or sequence has reached its end.
    pub fn push(&mut self, path: &str, side: Side, value: u64) -> Result<(), WireError> {
        self.nodes.push(side, path, value)
    }

    /// All nodes.
    ///
    /// # Errors
    /// As of [`FlushWriter::push`].
    pub fn finish(self) -> Result<Flush, WireError> {
        let (blocks, section) = self.nodes.finish()?;
        Ok(Flush {
            author: self.author,
            live: self.live,
            blocks,
            section: section.nonce(),
            sequence: section.written(),
        })
    }
}

impl Replica {
    /// What of these values is above those that blocks hold, sorted.
    #[must_use]
    pub fn above_known(&mut self, author: &PeerId, generation: &str, changes: &Changes) -> Changes {
        let origin = self.state.origin(&author.to_string(), generation);
        let mut above: Vec<_> = changes
            .iter()
            .filter(|&(path, side, value)| value > self.known(path, origin, side))
            .collect();
        above.sort_unstable();
        let mut out = Changes::default();
        for (path, side, value) in above {
            out.push(path, side, value);
        }
        out
    }

    /// Take down what building nodes of one generation of an author needs. Nothing may be prepared for the author
    /// before [`Replica::note_built`] was told, or the draft is given up.
    ///
    /// # Errors
    /// No section is open for the author.
    pub fn prepare_flush(&mut self, author: &PeerId, generation: &str) -> Result<Draft, WireError> {
        let mut draft = self.prepare_nodes(author, generation)?;
        let origin = self.state.origin(&draft.replica, generation);
        draft.live = self.state.own() == Some(origin);
        Ok(draft)
    }

    pub(crate) fn prepare_nodes(
        &self,
        author: &PeerId,
        generation: &str,
    ) -> Result<Draft, WireError> {
        let replica = author.to_string();
        let section = self.sections.get(author).copied();
        let native = self.config.rules.native;
        let dag_name = if native {
            replica.clone()
        } else {
            String::new()
        };
        Ok(Draft {
            generation: generation.to_owned(),
            topic: self.config.rules.topic.clone(),
            hash: self.config.hash,
            heads: self.dag.certain_heads(&dag_name),
            above: 0,
            section: section.ok_or(WireError::limit("section"))?,
            live: false,
            dag_name,
            replica,
        })
    }

    /// Nodes were built of a draft: their sequence numbers belong to their bytes now.
    pub fn note_built(&mut self, flush: &Flush) {
        if let Some(section) = self.sections.get_mut(&flush.author) {
            section.advance(flush.sequence);
        }
    }

    fn known(&self, path: &str, origin: OriginId, side: Side) -> u64 {
        let key = self.state.paths().find(path);
        let (incr, decr) = key.map_or((0, 0), |key| self.state.sub_counter(key, origin));
        match side {
            Side::Incr => incr,
            Side::Decr => decr,
        }
    }

    /// The nodes of a flush are durable: they are ours now, can be served, and are announced.
    ///
    /// # Errors
    /// Our own bytes do not decode: a bug.
    pub fn flush_stored(&mut self, flush: &Flush) -> Result<(), WireError> {
        for built in &flush.blocks {
            if flush.live {
                self.take_own(flush, built);
            } else if let Verdict::Keep(judged) =
                judge(&self.config.rules, &Hashed::new(&built.block))?
            {
                self.take(&built.cid, built.block.len(), &judged, None, true);
            }
        }
        if let Some(last) = flush.blocks.last() {
            let name = self.dag.dag_name_of(&last.cid).unwrap_or("").to_owned();
            let head = Head {
                cid: last.cid.clone(),
                dag_name: &name,
                block: Some(&last.block),
            };
            self.effects.announce.extend(pack(&[head]));
        }
        Ok(())
    }

    /// A node that we have just built, of values that are in the totals: nothing to decode, to judge or to merge.
    fn take_own(&mut self, flush: &Flush, built: &Built) {
        let dag_name = if self.config.rules.native {
            flush.author.to_string()
        } else {
            self.show_own(&built.cid, &built.block, &flush.author);
            String::new()
        };
        let links: Vec<Cid> = built
            .links
            .iter()
            .map(|cid| cid.clone().into_v1())
            .collect();
        self.dag
            .add(&built.cid, &Belongs::to(&dag_name), &links, built.height);
        self.wants.done(&built.cid);
        self.authors.note(
            &flush.author,
            flush.section,
            built.sequence,
            &built.cid,
            built.block.len(),
        );
    }
}
