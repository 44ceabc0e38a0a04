//! The heads of DAGs, and what is a head as soon as all below it is here.

use crate::cid::Cid;
use crate::dag::{Dag, Index};

/// A head of one DAG.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadInfo {
    pub cid: Cid,
    pub height: u64,
}

impl Dag {
    /// The heads of one DAG, sorted by CID.
    #[must_use]
    pub fn heads(&self, dag_name: &str) -> Vec<HeadInfo> {
        self.heads_that(dag_name, |_| true)
    }

    /// As [`Dag::heads`], without those that name another DAG themselves: they are not said to be its heads by us, and
    /// nothing of ours is built on them. An honest engine writes none.
    #[must_use]
    pub fn certain_heads(&self, dag_name: &str) -> Vec<HeadInfo> {
        self.heads_that(dag_name, |at| !self.otherwise.contains_key(at))
    }

    fn heads_that(&self, dag_name: &str, is_taken: impl Fn(&Index) -> bool) -> Vec<HeadInfo> {
        let dag = self.names.find(dag_name);
        let Some(heads) = dag.and_then(|id| self.heads.get(&id)) else {
            return Vec::new();
        };
        let taken = heads.iter().filter(|at| is_taken(at));
        let mut out: Vec<_> = taken.filter_map(|&at| self.head_info(at)).collect();
        out.sort_unstable_by(|a, b| a.cid.cmp(&b.cid));
        out
    }

    /// (dagName, heads) of every DAG, sorted.
    #[must_use]
    pub fn all_heads(&self) -> Vec<(String, Vec<HeadInfo>)> {
        self.of_each_name(|name| self.heads(name))
    }

    /// As [`Dag::all_heads`], of [`Dag::certain_heads`].
    #[must_use]
    pub fn all_certain_heads(&self) -> Vec<(String, Vec<HeadInfo>)> {
        self.of_each_name(|name| self.certain_heads(name))
    }

    fn of_each_name(&self, heads: impl Fn(&str) -> Vec<HeadInfo>) -> Vec<(String, Vec<HeadInfo>)> {
        let names = self.heads.keys().filter_map(|&id| self.names.get(id));
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names
            .into_iter()
            .map(|name| (name.to_owned(), heads(name)))
            .filter(|(_, heads)| !heads.is_empty())
            .collect()
    }

    /// (dagName, CID) of every node that is held, still lacks something below it, and has no held node above it.
    #[must_use]
    pub fn tips(&self) -> Vec<(String, Cid)> {
        let named = |&at: &Index| {
            let entry = self.entries.get(at as usize)?;
            Some((self.names.get(entry.dag)?.to_owned(), entry.cid.clone()))
        };
        let mut out: Vec<_> = self.tips.iter().filter_map(named).collect();
        out.sort_unstable();
        out
    }

    fn head_info(&self, at: Index) -> Option<HeadInfo> {
        self.entries.get(at as usize).map(|e| HeadInfo {
            cid: e.cid.clone(),
            height: e.height,
        })
    }
}
