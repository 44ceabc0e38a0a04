//! When a node is complete: held, with everything below it. Only a complete one is a head.
//!
//! A node that was refused is as good as not linked to. Its bytes are known, and they are no node (or its author is
//! paused): nobody will ever have a better one, and if what stands on it waited, one such block in a DAG that all share
//! would keep everything above it from being a head, for ever. Go goes on as well: it merges a node before it follows
//! the links, and makes it a head where one of them is; a link that cannot be fetched marks the store for a walk and
//! undoes nothing. So honest Go nodes do stand above such a block. A Go peer that we announce one of them to fetches the
//! head itself, which we serve; it misses the refused block as it would if the node's own writer had announced it. Our
//! own nodes never link to a refused one: it is never complete, and so no head.
//!
//! That a block was refused for its bytes, and held nodes link to it, is kept in the datastore
//! ([`Effects::refused`](crate::replica::Effects)), or after the next open what stands on it would be no head until
//! somebody gave such bytes once more. There are no more of these notes than links. Refused for anything else, a block is
//! asked for again: rules and pauses are of one run. A node that is held wins over a note that it was refused, whichever
//! is loaded first.

use crate::dag::{Dag, Entry, HEIGHT_FREE_MAX, Index};

impl Dag {
    /// A node and, in turn, all that waited for it are complete now.
    pub(crate) fn complete(&mut self, index: Index) {
        let mut done = vec![index];
        while let Some(at) = done.pop() {
            let height = self.taken_height(at);
            let Some(entry) = self.entries.get_mut(at as usize) else {
                continue;
            };
            entry.complete = true;
            entry.height = height;
            self.height_max = self.height_max.max(height);
            self.tips.remove(&at);
            if !entry.below_complete {
                self.heads.entry(entry.dag).or_default().insert(at);
            }
            for link in entry.links.clone() {
                let Some(below) = self.entries.get_mut(link as usize) else {
                    continue;
                };
                if !below.below_complete {
                    below.below_complete = true;
                    if let Some(heads) = self.heads.get_mut(&below.dag) {
                        heads.remove(&link);
                    }
                }
            }
            done.extend(self.no_longer_waited_for(at));
        }
    }

    /// A node was refused: what waits for nothing else is complete now.
    pub(crate) fn release(&mut self, refused: Index) {
        for above in self.no_longer_waited_for(refused) {
            self.complete(above);
        }
    }

    /// The nodes that waited for this one and for nothing else.
    fn no_longer_waited_for(&mut self, at: Index) -> Vec<Index> {
        let entry = self.entries.get_mut(at as usize);
        let mut waiters = entry.map_or_else(Vec::new, |e| std::mem::take(&mut e.waiters));
        waiters.retain(|&waiter| {
            let Some(above) = self.entries.get_mut(waiter as usize) else {
                return false;
            };
            above.waiting_for -= 1;
            above.waiting_for == 0
        });
        waiters
    }

    fn taken_height(&self, at: Index) -> u64 {
        let Some(Entry {
            height: priority,
            links,
            ..
        }) = self.entries.get(at as usize)
        else {
            return 0;
        };
        let priority = *priority;
        if priority <= HEIGHT_FREE_MAX {
            return priority;
        }
        let one_above = |at: &Index| {
            self.entries
                .get(*at as usize)
                .is_some_and(|e| e.complete && e.height.checked_add(1) == Some(priority))
        };
        if links.iter().any(one_above) {
            priority
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belonging::Belongs;
    use crate::cid::{Cid, HashKind};
    use crate::dag::Why;

    fn cid(n: u8) -> Cid {
        Cid::of(HashKind::Sha2_256, &[n])
    }

    /// (number, priority, links); no links at all: it is refused.
    type Node = (u8, u64, Option<&'static [u8]>);

    fn take(dag: &mut Dag, (n, priority, links): Node) {
        match links {
            Some(links) => {
                let links: Vec<_> = links.iter().map(|&l| cid(l)).collect();
                dag.add(&cid(n), &Belongs::to(""), &links, priority);
            }
            None => drop(dag.refuse(&cid(n), Why::Bytes)),
        }
    }

    fn in_every_order(nodes: &[Node], mut check: impl FnMut(&Dag)) {
        let mut orders: Vec<Vec<Node>> = vec![vec![]];
        for node in nodes {
            let longer = |order: Vec<Node>| {
                (0..=order.len()).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, *node);
                    order
                })
            };
            orders = orders.into_iter().flat_map(longer).collect();
        }
        for order in orders {
            let mut dag = Dag::default();
            order.into_iter().for_each(|node| take(&mut dag, node));
            check(&dag);
        }
    }

    fn heads(dag: &Dag) -> Vec<(Cid, u64)> {
        let heads = dag.heads("").into_iter();
        heads.map(|head| (head.cid, head.height)).collect()
    }

    fn sorted(heads: &[(u8, u64)]) -> Vec<(Cid, u64)> {
        let mut heads: Vec<_> = heads.iter().map(|&(n, h)| (cid(n), h)).collect();
        heads.sort_unstable();
        heads
    }

    #[test]
    fn any_order_of_blocks_gives_the_same_heads() {
        let nodes: [Node; 5] = [
            (1, 1, Some(&[])),
            (2, 2, Some(&[1])),
            (3, 3, Some(&[1])),
            (4, 4, Some(&[2])),
            (5, 5, Some(&[3, 1])),
        ];
        in_every_order(&nodes, |dag| {
            assert_eq!(heads(dag), sorted(&[(4, 4), (5, 5)]));
        });
    }

    #[test]
    fn what_is_refused_holds_nothing_up_in_any_order() {
        let nodes: [Node; 7] = [
            (1, 1, Some(&[])),
            (2, 2, Some(&[1, 8])),
            (3, 2, Some(&[8, 9])),
            (4, 3, Some(&[2, 3])),
            // Nothing that is held stands one below it.
            (5, HEIGHT_FREE_MAX + 1, Some(&[9])),
            (8, 0, None),
            (9, 0, None),
        ];
        in_every_order(&nodes, |dag| {
            assert_eq!(heads(dag), sorted(&[(4, 3), (5, 0)]));
            assert!(dag.is_refused(&cid(8)) && !dag.is_complete(&cid(8)));
            assert_eq!((dag.held_count(), dag.missing_count()), (5, 0));
            assert_eq!((dag.height_max(), dag.tips().len()), (3, 0));
        });
    }

    #[test]
    fn what_is_missing_beside_what_is_refused_still_holds_up() {
        let nodes: [Node; 3] = [(1, 2, Some(&[7, 8])), (2, 1, Some(&[])), (8, 0, None)];
        in_every_order(&nodes, |dag| {
            assert_eq!(heads(dag), sorted(&[(2, 1)]));
            assert_eq!(dag.tips(), [(String::new(), cid(1))]);
        });
    }

    #[test]
    fn a_refused_node_that_is_taken_after_all_is_no_head_and_what_it_links_to_is_none_either() {
        // Our own nodes are, at the next flush or open, whatever their author was refused for.
        let mut dag = Dag::default();
        let nodes: [Node; 4] = [
            (1, 1, Some(&[])),
            (8, 0, None),
            (3, 3, Some(&[8])),
            (8, 2, Some(&[1])),
        ];
        nodes.into_iter().for_each(|node| take(&mut dag, node));
        assert_eq!(heads(&dag), sorted(&[(3, 3)]));
        assert!(dag.is_complete(&cid(8)) && !dag.is_refused(&cid(8)));
        assert!(!dag.refuse(&cid(8), Why::Bytes)); // too late
        assert!(dag.holds(&cid(8)) && !dag.is_refused(&cid(8)));
        assert_eq!((dag.held_count(), dag.missing_count()), (3, 0));
    }
}
