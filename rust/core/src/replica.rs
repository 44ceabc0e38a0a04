//! One replica without I/O: payloads, blocks and changed counters go in, effects come out.
//!
//! Time is an argument in milliseconds of any clock that never goes back. Spurious calls are safe.

use crate::announce::{Announcements, pack};
use crate::authors::Authors;
use crate::belonging::Belongs;
use crate::broadcast::{self, Head};
use crate::chain::Section;
use crate::cid::Cid;
use crate::dag::{Dag, Why};
pub use crate::effects::{Changes, Config, Effects, Flush};
use crate::error::WireError;
use crate::hashed::Hashed;
use crate::judge::{Dropped, Judged, Rules, Verdict, judge, judge_stored};
use crate::merge::{OwnSeen, merge_elements};
use crate::paths::OutsideTexts;
use crate::peer_id::PeerId;
use crate::state::State;
use crate::values::Values;
use crate::wants::{NOBODY, Wants};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;

/// One participant: its counters, its DAGs, what it misses and what it has to say.
pub struct Replica {
    pub(crate) config: Config,
    me: PeerId,
    pub(crate) state: State,
    pub(crate) dag: Dag,
    pub(crate) authors: Authors,
    pub(crate) wants: Wants,
    pub(crate) values: Values,
    announcements: Announcements,
    pub(crate) sections: BTreeMap<PeerId, Section>,
    pub(crate) effects: Effects,
    /// Reason → how often something was dropped.
    dropped: BTreeMap<&'static str, u64>,
    newer: u64,
    clone_seen: bool,
    doubled: bool,
    own_seen: Vec<OwnSeen>,
    /// What the datastore lost of what we held.
    lost: FxHashSet<Cid>,
}

impl Replica {
    /// A replica that knows nothing yet. `seed` drives the jitter of announcements and the order of hash tables, and
    /// nothing else.
    #[must_use]
    pub fn new(config: Config, me: PeerId, now_ms: u64, seed: u64) -> Self {
        let mut dag = Dag::default();
        if !config.rules.native {
            dag.expect_name("");
        }
        let announcements = Announcements::new(config.announce_interval_ms, now_ms, seed);
        Replica {
            config,
            values: Values::new(&me, seed),
            me,
            state: State::new(seed),
            dag,
            authors: Authors::default(),
            wants: Wants::default(),
            announcements,
            sections: BTreeMap::new(),
            effects: Effects::default(),
            dropped: BTreeMap::new(),
            newer: 0,
            clone_seen: false,
            doubled: false,
            own_seen: Vec::new(),
            lost: FxHashSet::default(),
        }
    }

    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    #[must_use]
    pub fn dag(&self) -> &Dag {
        &self.dag
    }

    #[must_use]
    pub fn authors(&self) -> &Authors {
        &self.authors
    }

    #[must_use]
    pub fn me(&self) -> &PeerId {
        &self.me
    }

    /// Reason → how often something was dropped, since the start.
    #[must_use]
    pub fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        &self.dropped
    }

    /// Blocks that stand at the exchange.
    #[must_use]
    pub fn wanted_count(&self) -> usize {
        self.wants.standing_count()
    }

    /// Held nodes of a newer version, which were not merged.
    #[must_use]
    pub fn newer(&self) -> u64 {
        self.newer
    }

    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.config.rules
    }

    /// Whether a node was written in a section opened by this start.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.sections.values().any(|section| section.written() > 0)
    }

    /// A peer showed a node of our own identity that we never wrote: our directory was cloned.
    #[must_use]
    pub fn clone_seen(&self) -> bool {
        self.clone_seen
    }

    /// Our live generation is written by somebody else too.
    #[must_use]
    pub fn doubled(&self) -> bool {
        self.doubled
    }

    /// When [`Replica::poll`] has something to do without any input.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        let others = [self.recount_due_ms(), self.wants.due_ms()];
        let others = others.into_iter().flatten().min();
        self.announcements.due_ms().min(others.unwrap_or(u64::MAX))
    }

    // ---- what comes in

    /// Take a stored block in again, at open. It is not stored or announced for it.
    ///
    /// # Errors
    /// The block does not match its CID, or is no DAG node: it is damaged.
    pub fn load(&mut self, cid: &Cid, block: &[u8]) -> Result<(), WireError> {
        let hashed = Hashed::new(block);
        cid.check_hashed(&hashed)?;
        if let Verdict::Keep(judged) = judge_stored(&self.config.rules, &hashed)? {
            self.take(cid, block.len(), &judged, None, true);
        }
        Ok(())
    }

    /// Note blocks that were here before and cannot be loaded: one of ours that a peer gives back is no sign of a clone.
    pub fn note_lost(&mut self, cids: impl IntoIterator<Item = Cid>) {
        self.lost.extend(cids.into_iter().map(Cid::into_v1));
    }

    /// Note blocks that are known to be refused, at open. Before the blocks there is less to do; after them, or beside a
    /// block that is held after all, it comes to the same.
    pub fn load_refused(&mut self, cids: impl IntoIterator<Item = Cid>) {
        for cid in cids.into_iter().map(Cid::into_v1) {
            if !self.dag.holds(&cid) {
                self.give_up(&cid);
                self.dag.refuse_kept(cid);
            }
        }
    }

    /// Take a payload of the topic.
    ///
    /// # Errors
    /// The payload does not decode, or a block in it does not match its CID: its sender is at fault.
    pub fn handle_payload(&mut self, payload: &[u8], peer: Option<&str>) -> Result<(), WireError> {
        let heads =
            broadcast::decode(payload).inspect_err(|_| self.count("payload-undecodable"))?;
        let mut fault = None;
        for mut head in heads {
            head.cid = head.cid.into_v1();
            if head.cid.check_node().is_err() {
                self.count("head-codec");
                continue;
            }
            if self.dag.holds(&head.cid) {
                if self.dag.agrees(&head.cid, head.dag_name) {
                    self.announcements.heard(&head.cid);
                } else {
                    self.count("head-other-dag");
                }
                continue;
            }
            if self.dag.is_refused(&head.cid) {
                continue;
            }
            let native = self.config.rules.native;
            if !native && !self.dag.takes_name(head.dag_name) {
                self.count("head-dag-name");
                continue;
            }
            if let Some(block) = head.block {
                match self.take_block(&head.cid, block, Some(head.dag_name)) {
                    Ok(()) => continue,
                    Err(error) => fault = Some(error),
                }
                if self.dag.is_refused(&head.cid) {
                    continue;
                }
            }
            if self.want(&head.cid, peer, false) {
                if native {
                    self.dag.announce_any(&head.cid);
                } else {
                    self.dag.announce(&head.cid, head.dag_name);
                }
            } else {
                self.count("want-no-room");
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// Take a block that the exchange fetched.
    ///
    /// # Errors
    /// The block does not match its CID, or is no DAG node: the peer that sent it is at fault.
    pub fn handle_block(&mut self, cid: &Cid, block: &[u8]) -> Result<(), WireError> {
        if self.dag.holds(cid) || self.dag.is_refused(cid) {
            return Ok(());
        }
        if !self.wants.is_wanted(cid) {
            self.count("block-unasked");
            return Ok(());
        }
        self.take_block(cid, block, None)
    }

    /// A peer connected: it may have missed everything.
    pub fn peer_connected(&mut self, now_ms: u64) {
        self.announcements.peer_connected(now_ms);
    }

    /// What has to be done now.
    pub fn poll(&mut self, now_ms: u64) -> Effects {
        if let Some(heard) = self.announcements.take_due(now_ms) {
            let announce = self.announcement(&heard);
            self.effects.announce.extend(announce);
        }
        self.effects.cancel.extend(self.wants.take_turns(now_ms));
        self.effects.want.extend(self.wants.take_asks(now_ms));
        // What was given up and stands again by now: it would be asked for, then cancelled.
        let wants = &self.wants;
        self.effects.cancel.retain(|cid| !wants.is_standing(cid));
        std::mem::take(&mut self.effects)
    }

    // ---- what we write

    /// Open a section for an author whose key is at hand. The nonce is fresh randomness.
    pub fn open_section(&mut self, author: PeerId, nonce: [u8; 16]) {
        self.sections.insert(author, Section::new(nonce));
    }

    /// Name the generation of the live journal, and where its keys are: elements of it never move a total, for its
    /// slots do.
    pub fn set_live_generation(&mut self, generation: &str, keys: Box<dyn OutsideTexts>) {
        let own = self.state.origin(&self.me.to_string(), generation);
        self.state.set_own(own, keys);
    }

    /// What foreign copies of our nodes said of the live generation since the last call.
    pub fn take_own_seen(&mut self) -> Vec<OwnSeen> {
        std::mem::take(&mut self.own_seen)
    }

    /// A value of our live generation was seen that we never reached: say so, once.
    pub fn note_doubled(&mut self) {
        if !std::mem::replace(&mut self.doubled, true) {
            self.effects.warnings.push("another process counts under our generation: this directory's identity is used twice".into());
        }
    }

    /// Announce everything that is held, now: before leaving.
    #[must_use]
    pub fn announcement(&self, heard: &FxHashSet<Cid>) -> Vec<Vec<u8>> {
        let mut known: Vec<(String, Cid)> = Vec::new();
        for (name, heads) in self.dag.all_certain_heads() {
            known.extend(heads.into_iter().map(|h| (name.clone(), h.cid)));
        }
        if self.config.rules.native {
            // A Go peer must be able to fetch all below what is announced; a native one takes what there is.
            known.extend(self.dag.tips());
        }
        let heads: Vec<Head<'_>> = known
            .iter()
            .filter(|(_, cid)| !heard.contains(cid))
            .map(|(name, cid)| Head {
                cid: cid.clone(),
                dag_name: name,
                block: None,
            })
            .collect();
        pack(&heads)
    }

    // ---- inside

    fn count(&mut self, reason: &'static str) {
        self.count_times(reason, 1);
    }

    pub(crate) fn count_times(&mut self, reason: &'static str, times: u64) {
        if times > 0 {
            let count = self.dropped.entry(reason).or_default();
            *count = count.saturating_add(times);
        }
    }

    fn take_block(
        &mut self,
        cid: &Cid,
        block: &[u8],
        dag_name: Option<&str>,
    ) -> Result<(), WireError> {
        let hashed = Hashed::new(block);
        cid.check_hashed(&hashed)
            .inspect_err(|_| self.count("block-not-its-cid"))?;
        let rules = self.config.rules.clone();
        match judge(&rules, &hashed).inspect_err(|_| self.count("block-undecodable")) {
            Ok(Verdict::Keep(judged)) => {
                if judged
                    .author
                    .as_ref()
                    .is_some_and(|author| *author != self.me && self.authors.is_paused(author))
                {
                    self.count("author-paused");
                    self.refuse(cid, Why::Rules);
                    return Ok(());
                }
                self.take(cid, block.len(), &judged, dag_name, false);
                self.effects.store.push((cid.clone(), block.to_vec()));
                Ok(())
            }
            Ok(Verdict::Refuse(refusal)) => {
                self.count(refusal.slug());
                self.refuse(cid, Why::Rules);
                Ok(())
            }
            Err(error) => {
                self.refuse(cid, Why::Bytes);
                Err(error)
            }
        }
    }

    /// Ask for a block; false where there is no room for it. One that makes room is as if it was never announced.
    fn want(&mut self, cid: &Cid, peer: Option<&str>, must: bool) -> bool {
        let is_wanted = self.wants.want(cid, peer, must);
        for evicted in self.wants.take_evicted() {
            self.dag.forget(&evicted.cid);
            self.count("want-evicted");
            if evicted.was_asked {
                self.effects.cancel.push(evicted.cid);
            }
        }
        is_wanted
    }

    /// Bytes that match their CID and are no node of this network: nobody has better ones. Or a node of an author who is
    /// paused, which he is from then on.
    fn refuse(&mut self, cid: &Cid, why: Why) {
        if self.dag.refuse(cid, why) {
            self.effects.refused.push(cid.clone());
        }
        self.give_up(cid);
    }

    fn give_up(&mut self, cid: &Cid) {
        if self.wants.done(cid) {
            self.effects.cancel.push(cid.clone());
        }
    }

    pub(crate) fn take(
        &mut self,
        cid: &Cid,
        bytes: usize,
        judged: &Judged<'_>,
        said: Option<&str>,
        ours: bool,
    ) {
        let node = &judged.node;
        let belongs = Belongs {
            own: node.delta.dag_name,
            // A node in our form belongs to the DAG that it names.
            certain: judged.author.is_some() && node.delta.native.is_some(),
            said,
        };
        // A link that nothing can be checked against is to a block that nobody has: Go refuses such a CID as well, and
        // goes on without it. So nothing is below it, or one such link would hold up for ever all that is built on it.
        let (links, unknown): (Vec<Cid>, Vec<Cid>) = node
            .links
            .iter()
            .map(|link| link.clone().into_v1())
            .partition(|link| link.check_node().is_ok());
        let added = self.dag.add(cid, &belongs, &links, node.delta.priority);
        if !added.new {
            self.wants.done(cid);
            return;
        }
        self.effects.refused.extend(added.refused);
        let was_here = self.lost.remove(cid);
        if let Some(doubt) = judged.doubt {
            self.count(doubt.slug());
        }
        self.count_times("link-unknown-hash", unknown.len() as u64);
        self.count_times("head-other-dag", added.other_heads);
        // Charged to the author: one stranger's node cannot take all the room for wants.
        let author = judged.author.as_ref();
        let charged = author.map_or_else(|| NOBODY.to_owned(), ToString::to_string);
        for link in &links {
            if self.dag.is_missing(link) {
                self.want(link, Some(&charged), true);
            }
        }
        // Only now: its place is for what it links to, before others that wait.
        self.wants.done(cid);
        if let (Some(author), Some(native)) = (&judged.author, &node.delta.native) {
            let known = ours || was_here || *author != self.me;
            if !known && !self.wrote_section(&native.section) {
                self.meet_clone();
            }
            if self
                .authors
                .note(author, native.section, native.sequence, cid, bytes)
            {
                self.count("forked");
            }
        }
        let counting = if self.config.rules.native {
            None
        } else {
            self.take_values(cid, judged)
        };
        if judged.newer {
            self.newer = self.newer.saturating_add(1);
            return;
        }
        let judged = counting.as_ref().unwrap_or(judged);
        let merged = merge_elements(&self.config.rules, &mut self.state, judged);
        for (reason, times) in merged.dropped {
            // In a shared DAG it is kept as an entry.
            if reason != Dropped::NoCounter || self.config.rules.native {
                self.count_times(reason.slug(), times);
            }
        }
        if !ours {
            self.own_seen.extend(merged.own);
        }
    }

    fn wrote_section(&self, section: &[u8; 16]) -> bool {
        self.authors.has_section(&self.me, section)
            || self
                .sections
                .get(&self.me)
                .is_some_and(|s| s.nonce() == *section)
    }

    fn meet_clone(&mut self) {
        if !self.clone_seen {
            self.clone_seen = true;
            self.effects.warnings.push(
                "a peer has nodes of our own identity that this directory never wrote: it was cloned or restored; \
                 the next start takes a new identity"
                    .into(),
            );
        }
    }
}
