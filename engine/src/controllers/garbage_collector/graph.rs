//! Who owns whom, and what follows from it. Pure: observations in, next writes out.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

use crate::controllers::inventory::{Kind, Observation, group_of};

/// Finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to stay.
pub(super) const ORPHAN: &str = "orphan";
/// How many uids of objects that are gone are remembered; of others the API server is asked.
const REMEMBERED: usize = 10_000;

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub kind: Arc<Kind>,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub finalizers: Vec<String>,
    owners: Vec<OwnerReference>,
    deleting: bool,
}

impl Item {
    fn new(kind: &Arc<Kind>, object: &ObjectMeta) -> Item {
        Item {
            kind: kind.clone(),
            namespace: object.namespace.clone().unwrap_or_default(),
            name: object.name.clone().unwrap_or_default(),
            uid: object.uid.clone().unwrap_or_default(),
            resource_version: object.resource_version.clone().unwrap_or_default(),
            finalizers: object.finalizers.clone().unwrap_or_default(),
            owners: object.owner_references.clone().unwrap_or_default(),
            deleting: object.deletion_timestamp.is_some(),
        }
    }

    fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|one| one == finalizer)
    }

    /// It is deleted in the foreground, and waits.
    fn waits(&self) -> bool {
        self.deleting && self.has(FOREGROUND)
    }

    fn blocks(&self, owner: &str) -> bool {
        self.owners.iter().any(|one| one.uid == owner && one.block_owner_deletion == Some(true))
    }

    /// Its owners without the one that has this uid.
    pub(super) fn owners_without(&self, uid: &str) -> Vec<OwnerReference> {
        self.owners.iter().filter(|owner| owner.uid != uid).cloned().collect()
    }
}

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is there.
    Solid,
    /// It is deleted in the foreground, and waits for its dependents.
    Waiting,
    /// It is gone.
    Absent,
    /// Nobody can say; it counts as there.
    Undecidable,
}

/// The next write for one object.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// Find out about this owner, and decide again.
    LookUp(OwnerReference),
    Delete(PropagationPolicy),
    /// Give it exactly these owners.
    SetOwners(Vec<OwnerReference>),
    RemoveFinalizer(&'static str),
    /// Take it from the owners of these.
    Orphan(Vec<Arc<Item>>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graph {
    items: HashMap<String, Arc<Item>>,
    /// Uids of the objects that name an owner, by the owner's uid.
    dependents: HashMap<String, BTreeSet<String>>,
    /// Kinds whose first list is still to come: until then nobody knows that an owner has no more dependents.
    pending: HashSet<Arc<Kind>>,
    gone: HashSet<String>,
    gone_in_order: VecDeque<String>,
}

impl Graph {
    /// One object.
    pub(super) fn get(&self, uid: &str) -> Option<Arc<Item>> {
        self.items.get(uid).cloned()
    }

    /// Takes in an observation and gives the uids of the objects to decide about.
    pub(super) fn observe(&mut self, observation: &Observation) -> BTreeSet<String> {
        let mut affected = BTreeSet::new();
        match observation {
            Observation::Served(kind) => {
                self.pending.insert(kind.clone());
            }
            Observation::Seen(kind, object) => self.insert(Item::new(kind, object), &mut affected),
            Observation::Gone(_, object) => {
                self.remove(object.uid.as_deref().unwrap_or_default(), true, &mut affected);
            }
            Observation::Listed(kind, objects) => {
                let listed: HashSet<&str> = objects.iter().filter_map(|one| one.uid.as_deref()).collect();
                for uid in self.uids_of(kind).iter().filter(|uid| !listed.contains(uid.as_str())) {
                    self.remove(uid, true, &mut affected);
                }
                objects.iter().for_each(|object| self.insert(Item::new(kind, object), &mut affected));
                self.listed(kind, &mut affected);
            }
            Observation::Unserved { kind, removed } => {
                for uid in self.uids_of(kind) {
                    self.remove(&uid, *removed, &mut affected);
                }
                self.listed(kind, &mut affected);
            }
        }
        affected
    }

    fn uids_of(&self, kind: &Kind) -> Vec<String> {
        self.items.values().filter(|item| *item.kind == *kind).map(|item| item.uid.clone()).collect()
    }

    /// What waited for the last list may go on.
    fn listed(&mut self, kind: &Arc<Kind>, affected: &mut BTreeSet<String>) {
        if self.pending.remove(kind) && self.pending.is_empty() {
            let deleting = self.items.values().filter(|item| item.deleting);
            affected.extend(deleting.map(|item| item.uid.clone()));
        }
    }

    fn insert(&mut self, item: Item, affected: &mut BTreeSet<String>) {
        let uid = item.uid.clone();
        let before = self.items.get(&uid).cloned();
        let owners_before = before.iter().flat_map(|before| &before.owners);
        for owner in owners_before.filter(|owner| !item.owners.contains(owner)) {
            self.unlink(&owner.uid, &uid);
            self.affect_waiting(&owner.uid, affected);
        }
        for owner in &item.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let begins_to_wait = item.waits() && before.as_ref().is_none_or(|before| !before.waits());
        if begins_to_wait {
            affected.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        }
        if !item.owners.is_empty() || item.deleting {
            affected.insert(uid.clone());
        }
        self.items.insert(uid, Arc::new(item));
    }

    fn remove(&mut self, uid: &str, certain: bool, affected: &mut BTreeSet<String>) {
        let Some(item) = self.items.remove(uid) else { return };
        if certain && self.gone.insert(uid.to_owned()) {
            self.gone_in_order.push_back(uid.to_owned());
            if self.gone_in_order.len() > REMEMBERED
                && let Some(oldest) = self.gone_in_order.pop_front()
            {
                self.gone.remove(&oldest);
            }
        }
        for owner in &item.owners {
            self.unlink(&owner.uid, uid);
            self.affect_waiting(&owner.uid, affected);
        }
        affected.remove(uid);
        affected.extend(self.dependents.get(uid).into_iter().flatten().cloned());
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// An owner with one dependent less may be able to go.
    fn affect_waiting(&self, owner: &str, affected: &mut BTreeSet<String>) {
        if self.items.get(owner).is_some_and(|item| item.deleting) {
            affected.insert(owner.to_owned());
        }
    }

    /// The decision about one object, with what look-ups have told about owners that are not in the graph.
    pub(super) fn decide(&self, uid: &str, known: &HashMap<String, Owner>) -> Step {
        let Some(item) = self.items.get(uid) else { return Step::Nothing };
        if item.deleting {
            return self.decide_deleting(item);
        }
        if item.owners.is_empty() {
            return Step::Nothing;
        }
        let mut states = Vec::new();
        for owner in &item.owners {
            match self.owner(item, owner).or_else(|| known.get(&owner.uid).copied()) {
                Some(state) => states.push(state),
                None => return Step::LookUp(owner.clone()),
            }
        }
        let stays = |state: Owner| matches!(state, Owner::Solid | Owner::Undecidable);
        if states.iter().any(|state| stays(*state)) {
            let with_state = item.owners.iter().zip(&states);
            let left: Vec<OwnerReference> =
                with_state.filter(|(_, state)| stays(**state)).map(|(owner, _)| owner.clone()).collect();
            return if left.len() == item.owners.len() { Step::Nothing } else { Step::SetOwners(left) };
        }
        let dependents = || self.dependents.get(uid).into_iter().flatten();
        if states.contains(&Owner::Waiting) && dependents().next().is_some() {
            // In a circle each would wait for the other.
            let circle = dependents().filter_map(|uid| self.items.get(uid)).any(|one| one.waits());
            if circle && item.owners.iter().any(|owner| owner.block_owner_deletion == Some(true)) {
                let free = |owner: &OwnerReference| OwnerReference {
                    block_owner_deletion: Some(false),
                    ..owner.clone()
                };
                return Step::SetOwners(item.owners.iter().map(free).collect());
            }
            return Step::Delete(PropagationPolicy::Foreground);
        }
        Step::Delete(if item.has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if item.has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        })
    }

    fn decide_deleting(&self, item: &Item) -> Step {
        if !self.pending.is_empty() {
            return Step::Nothing;
        }
        let uids = self.dependents.get(&item.uid).into_iter().flatten();
        let mut dependents = uids.filter_map(|uid| self.items.get(uid));
        if item.has(ORPHAN) {
            let dependents: Vec<Arc<Item>> = dependents.cloned().collect();
            return if dependents.is_empty() {
                Step::RemoveFinalizer(ORPHAN)
            } else {
                Step::Orphan(dependents)
            };
        }
        if item.has(FOREGROUND) && !dependents.any(|dependent| dependent.blocks(&item.uid)) {
            return Step::RemoveFinalizer(FOREGROUND);
        }
        Step::Nothing
    }

    /// What the graph knows of an owner; nothing when somebody has to be asked.
    fn owner(&self, item: &Item, owner: &OwnerReference) -> Option<Owner> {
        if self.gone.contains(&owner.uid) {
            return Some(Owner::Absent);
        }
        let found = self.items.get(&owner.uid)?;
        // A reference that names another place than where its uid lives is no better than one to nothing.
        let same = found.kind.resource.kind == owner.kind
            && found.kind.resource.group == group_of(&owner.api_version)
            && found.name == owner.name
            && (found.namespace.is_empty() || found.namespace == item.namespace);
        same.then_some(if found.waits() { Owner::Waiting } else { Owner::Solid })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
