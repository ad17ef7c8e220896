//! Who is calling: the `authenticate` filters, asked one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Closed, Placed, ask};
use crate::filter::{Decision, RequestHead};

/// Asks the `authenticate` filters in order; none if there are none, [`Decision::Skip`] if all skip.
///
/// # Errors
/// [`Closed`] if a filter fails: authentication never fails open.
pub async fn authenticate(
    filters: &[Arc<Placed>],
    head: Arc<RequestHead>,
    budget: Duration,
) -> Result<Option<Decision>, Closed> {
    let end = Instant::now() + budget;
    let mut last = None;
    for placed in filters {
        if head.server.as_deref().is_some_and(|server| !placed.sees_server(server)) {
            continue;
        }
        if let Some(decision) = placed.identities.find(&head) {
            return Ok(Some(decision));
        }
        let hook = async || placed.filter.authenticate(head.clone()).await;
        match ask(placed, "authenticate", end, None, hook).await? {
            Some((Decision::Skip, _)) | None => last = Some(Decision::Skip),
            Some((decision, rule)) => {
                if let Decision::Refuse { status, .. } = &decision {
                    tracing::debug!(filter = %placed.name, hook = "authenticate", status, rule, "the filter refused the caller");
                }
                placed.identities.keep(&head, &decision);
                return Ok(Some(decision));
            }
        }
    }
    Ok(last)
}
