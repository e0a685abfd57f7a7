//! The second step of a kill that ends no walls: what waits in a door for a slow reader.

use aims_model::KeyPurpose;
use aims_model::Subject;
use aims_model::receipt::{How, PointReceipt};
use aims_store::{Error, Reader};
use aims_types::Revision;

use crate::{ControlPlane, Fault};

/// Whether something under the subject may be under way in walls that a kill of it leaves alone.
pub(crate) async fn outlive(reader: &mut dyn Reader, subject: &Subject) -> Result<bool, Error> {
    Ok(match subject {
        // An instance's own key, and that of the node that vouches for instances, end them.
        Subject::Key(kid) => {
            let key = reader.key(kid).await?;
            key.is_some_and(|key| key.purpose != KeyPurpose::Node)
        }
        // A person may have approved calls of instances that rest on somebody else.
        Subject::Policy(_) | Subject::Person(_) => true,
        Subject::Task(_) | Subject::Instance(_) | Subject::Agent(_) | Subject::Delegation(_) => {
            false
        }
    })
}

impl ControlPlane {
    /// The same as [`ControlPlane::complete`] for cut-offs that may leave walls alone: when every
    /// gateway has shut what goes through it, every node resets the connections of its doors.
    pub(crate) async fn complete_with_doors(
        &self,
        revision: Revision,
    ) -> Result<Vec<PointReceipt>, Fault> {
        let started = self.parts().clock.boot();
        let mut points = self.complete(revision).await;
        // A revision of its own: a node that takes it over, or renews its lease at it, has reset
        // its doors since; of any other the lease ends.
        let mut txn = self.store().begin().await?;
        let next = txn.revision_next().await?;
        self.publisher().points.reset_doors(next);
        txn.commit(Vec::new()).await?;
        for later in self.complete_at_nodes(next, started).await {
            match points.iter_mut().find(|one| one.point == later.point) {
                Some(one) if later.how == How::Acknowledged => one.millis = later.millis,
                Some(one) => *one = later,
                None => points.push(later),
            }
        }
        Ok(points)
    }
}
