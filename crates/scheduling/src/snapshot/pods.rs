//! Pods come and go.

use super::{ClassId, NodeId, PodsOnNode, Snapshot, undo::Undo};

impl Snapshot {
    /// Places one pod. Nothing is asked: what does not fit overcommits the node.
    pub fn place(&mut self, node: NodeId, class: ClassId, terminating: bool) {
        self.place_many(node, class, terminating, 1);
    }

    /// Places equal pods.
    pub fn place_many(&mut self, node: NodeId, class: ClassId, terminating: bool, count: u32) {
        let known = class.index() < self.classes.len() && self.detail(node).is_some();
        if !known || count == 0 {
            return;
        }
        self.put(node, class, terminating, count);
        self.note(Undo::Displace {
            node,
            class,
            terminating,
            count,
        });
    }

    /// Takes one pod off a node; false where there is none such.
    pub fn displace(&mut self, node: NodeId, class: ClassId, terminating: bool) -> bool {
        self.displace_many(node, class, terminating, 1) == 1
    }

    /// Takes equal pods off a node, as many as there are; how many.
    pub fn displace_many(
        &mut self,
        node: NodeId,
        class: ClassId,
        terminating: bool,
        count: u32,
    ) -> u32 {
        let taken = self.take(node, class, terminating, count);
        if taken > 0 {
            self.note(Undo::Place {
                node,
                class,
                terminating,
                count: taken,
            });
        }
        taken
    }

    pub(super) fn put(&mut self, node: NodeId, class: ClassId, terminating: bool, count: u32) {
        let Some(detail) = self.details[node.index()].as_mut() else {
            return;
        };
        let same = |pods: &&mut PodsOnNode| pods.class == class && pods.terminating == terminating;
        match detail.pods.iter_mut().find(same) {
            Some(pods) => pods.count += count,
            None => detail.pods.push(PodsOnNode {
                class,
                terminating,
                count,
            }),
        }
        self.book(node, class, -i64::from(count));
        self.count(
            node.index(),
            PodsOnNode {
                class,
                terminating,
                count,
            },
        );
    }

    pub(super) fn take(
        &mut self,
        node: NodeId,
        class: ClassId,
        terminating: bool,
        count: u32,
    ) -> u32 {
        let Some(detail) = self.details.get_mut(node.index()).and_then(Option::as_mut) else {
            return 0;
        };
        let same = |pods: &PodsOnNode| pods.class == class && pods.terminating == terminating;
        // What came last goes first when a change is taken back.
        let Some(index) = detail.pods.iter().rposition(same) else {
            return 0;
        };
        let taken = count.min(detail.pods[index].count);
        detail.pods[index].count -= taken;
        if detail.pods[index].count == 0 {
            detail.pods.remove(index);
        }
        self.book(node, class, i64::from(taken));
        self.uncount(
            node.index(),
            PodsOnNode {
                class,
                terminating,
                count: taken,
            },
        );
        taken
    }

    /// Changes what is free and mounted by what so many pods take.
    fn book(&mut self, node: NodeId, class: ClassId, times: i64) {
        let class = &self.classes[class.index()];
        self.slots[node.index()]
            .free
            .add(&class.request.takes, times);
        let Some(detail) = self.details[node.index()].as_mut() else {
            return;
        };
        for &(resource, amount) in &class.request.extended {
            let resource = resource as usize;
            if detail.extended.len() <= resource {
                detail.extended.resize(resource + 1, 0);
            }
            let free = &mut detail.extended[resource];
            *free = free.wrapping_add(amount.wrapping_mul(times));
        }
        if let Some(claims) = &class.claims {
            let (volumes, attachments) = (detail.volumes.as_deref(), &self.attachments);
            let count = times.unsigned_abs() as u32;
            if times < 0 {
                detail.mounted.add(claims, count, attachments, volumes);
            } else {
                detail.mounted.sub(claims, count, attachments, volumes);
            }
        }
    }
}
