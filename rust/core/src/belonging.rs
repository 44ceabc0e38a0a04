//! To which DAG a node belongs: the one that it names, where it is signed in our form; else, as in Go, the one that
//! heads put it into. Who lies first does not decide.

use crate::cid::Cid;
use crate::dag::{Dag, Held, Index};
use crate::limits::{CLAIMS_MAX, DAG_NAME_BYTES_TAKEN_MAX, DAG_NAMES_MAX};
use rustc_hash::FxHashMap;

/// In the place of a name's number: there was no room for it.
pub(crate) const NAMELESS: u32 = u32::MAX;

/// The names of DAGs, each known by a small number.
#[derive(Default)]
pub(crate) struct DagNames {
    names: Vec<Box<str>>,
    ids: FxHashMap<Box<str>, u32>,
}

impl DagNames {
    pub fn find(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub fn get(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(AsRef::as_ref)
    }

    /// Whether a node can be noted under this name.
    pub fn takes(&self, name: &str) -> bool {
        self.ids.contains_key(name)
            || (self.names.len() < DAG_NAMES_MAX && name.len() <= DAG_NAME_BYTES_TAKEN_MAX)
    }

    /// The number of a name that a stored node of ours or of its signer bears: there is always room for it, as there is
    /// for the node. What others say of DAGs that do not exist takes none of it.
    pub fn certain(&mut self, name: &str) -> u32 {
        self.find(name).unwrap_or_else(|| self.push(name))
    }

    fn push(&mut self, name: &str) -> u32 {
        let id = u32::try_from(self.names.len()).unwrap_or(NAMELESS);
        if id != NAMELESS {
            self.names.push(name.into());
            self.ids.insert(name.into(), id);
        }
        id
    }

    /// The number of a name, given where it is new; [`NAMELESS`] where there is no room.
    pub fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        if self.takes(name) {
            self.push(name)
        } else {
            NAMELESS
        }
    }
}

/// To which DAG a node belongs.
#[derive(Clone, Copy, Debug)]
pub struct Belongs<'a> {
    /// The dagName in its delta.
    pub own: &'a str,
    /// It is signed in our form: nobody else has a say.
    pub certain: bool,
    /// What the head said that it came with.
    pub said: Option<&'a str>,
}

impl<'a> Belongs<'a> {
    /// To the DAG that it names, whatever others say.
    #[must_use]
    pub fn to(own: &'a str) -> Self {
        Belongs {
            own,
            certain: true,
            said: None,
        }
    }
}

impl Dag {
    /// The DAG to which a known node was said to belong.
    #[must_use]
    pub fn dag_name_of(&self, cid: &Cid) -> Option<&str> {
        self.names.get(self.entry_of(cid)?.dag)
    }

    /// Whether there is room to note a node under this dagName.
    #[must_use]
    pub fn takes_name(&self, dag_name: &str) -> bool {
        self.names.takes(dag_name)
    }

    /// Know a name from the beginning, whatever others may say before it is first used.
    pub fn expect_name(&mut self, dag_name: &str) {
        self.names.certain(dag_name);
    }

    /// Make a node known that somebody announced, where only the node itself can say to which DAG it belongs. True where
    /// it has to be fetched.
    pub fn announce_any(&mut self, cid: &Cid) -> bool {
        let to_fetch = self.entry_of(cid).is_none_or(|e| e.held == Held::Missing);
        if to_fetch {
            self.know(cid, NAMELESS);
        }
        to_fetch
    }

    /// Make a node known that somebody announced as a head of this DAG. True where it has to be fetched.
    pub fn announce(&mut self, cid: &Cid, dag_name: &str) -> bool {
        if self.entry_of(cid).is_some_and(|e| e.held != Held::Missing) {
            return false;
        }
        // A missing node has so many names at most: one of them cannot bring all that there is room for.
        let said = self.by_cid.get(cid).and_then(|at| self.claims.get(at));
        if said.is_some_and(|said| said.len() >= CLAIMS_MAX) {
            return true;
        }
        let dag = self.names.id(dag_name);
        let index = self.know(cid, dag);
        let claims = self.claims.entry(index).or_default();
        if !claims.contains(&dag) {
            claims.push(dag);
        }
        true
    }

    /// A held node was announced as a head of this DAG: whether it belongs to it. A node that every head before put
    /// elsewhere comes back to the DAG that it names itself: who lies first does not decide.
    pub fn agrees(&mut self, cid: &Cid, dag_name: &str) -> bool {
        let Some(&at) = self.by_cid.get(cid) else {
            return false;
        };
        let (said, dag) = (
            self.names.find(dag_name),
            self.entries.get(at as usize).map(|e| e.dag),
        );
        if said.is_some() && said == self.otherwise.get(&at).copied() {
            self.otherwise.remove(&at);
            if let (Some(own), Some(entry)) = (said, self.entries.get_mut(at as usize)) {
                let dag = std::mem::replace(&mut entry.dag, own);
                if self
                    .heads
                    .get_mut(&dag)
                    .is_some_and(|heads| heads.remove(&at))
                {
                    self.heads.entry(own).or_default().insert(at);
                }
            }
            return true;
        }
        dag == Some(NAMELESS) || (said.is_some() && said == dag)
    }

    /// The DAG that a node is put into, and that which it names itself. As in Go the head decides, or what links to
    /// it; but where any head says what the node says, that is it, whoever spoke first.
    pub(crate) fn settle_name(
        &mut self,
        index: Index,
        known: bool,
        belongs: &Belongs<'_>,
    ) -> (u32, u32, u64) {
        let own = if belongs.certain {
            self.names.certain(belongs.own)
        } else {
            self.names.id(belongs.own)
        };
        let mut heads = self.claims.remove(&index).unwrap_or_default();
        if let Some(said) = belongs.said.map(|said| self.names.id(said))
            && !heads.contains(&said)
        {
            heads.push(said);
        }
        let above = self
            .entries
            .get(index as usize)
            .map(|e| e.dag)
            .filter(|_| known);
        let dag = if belongs.certain || heads.contains(&own) || above == Some(own) {
            own
        } else {
            heads.first().copied().or(above).unwrap_or(own)
        };
        let others = heads.iter().filter(|&&said| said != dag).count();
        (dag, own, others as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_end() {
        let mut names = DagNames::default();
        for n in 0..DAG_NAMES_MAX {
            assert_eq!(names.id(&n.to_string()) as usize, n);
        }
        assert_eq!((names.id("more"), names.id("7")), (NAMELESS, 7));
        assert_eq!(names.get(NAMELESS), None);
        let certain = names.certain("signed");
        assert_eq!(names.id("signed"), certain);
        assert_eq!(names.get(certain), Some("signed"));
        assert!(!DagNames::default().takes(&"x".repeat(DAG_NAME_BYTES_TAKEN_MAX + 1)));
    }
}
