//! The subjects and tenants of one credential.

use std::borrow::Cow;
use std::sync::Arc;

use jetsink::{EventTenant, Subject, SubjectPattern};

use super::Caller;
use crate::answer::problem::{Problem, ProblemKind};

/// A credential with its subjects and tenants.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) name: Arc<str>,
    pub(crate) subjects: Vec<SubjectPattern>,
    /// Empty for any tenant.
    pub(crate) tenants: Vec<String>,
}

/// Chooses the tenant of one event, and keeps the reason if the caller may not use it.
pub(crate) struct TenantChoice<'a> {
    pub(crate) caller: &'a Caller,
    /// The tenants that an event without one has on the route; empty if its subjects do not depend on the tenant.
    pub(crate) defaults: &'a [String],
    pub(crate) refusal: Option<Problem>,
}

impl TenantChoice<'_> {
    pub(crate) fn choose<'t>(&mut self, tenant: EventTenant<'t>) -> Option<Cow<'t, str>> {
        let grant = match self.caller {
            Caller::Anonymous { share } => {
                if share.is_some() && tenant == EventTenant::Unreadable {
                    return self.refuse_unreadable();
                }
                return tenant.named();
            }
            Caller::Known(grant) => grant,
        };
        match (tenant, &grant.tenants[..]) {
            (EventTenant::Named(name), allowed) => {
                if !allowed.is_empty() && !allowed.iter().any(|tenant| *tenant == name) {
                    let detail = format!(
                        "credential {:?} may not send events of tenant {:?}",
                        grant.name,
                        name.chars().take(128).collect::<String>()
                    );
                    self.refusal = Some(Problem::new(ProblemKind::Forbidden, detail));
                }
                Some(name)
            }
            (_, [only]) => Some(Cow::Owned(only.clone())),
            (EventTenant::Unreadable, _) => self.refuse_unreadable(),
            (EventTenant::Absent, []) => None,
            (EventTenant::Absent, allowed) => {
                if !self.defaults.iter().all(|tenant| allowed.contains(tenant)) {
                    let detail = format!(
                        "credential {:?} has several tenants and the event names none; set data.tenantId",
                        grant.name
                    );
                    self.refusal = Some(Problem::new(ProblemKind::Forbidden, detail));
                }
                None
            }
        }
    }

    /// Data that cannot be read may belong to any tenant.
    fn refuse_unreadable<'t>(&mut self) -> Option<Cow<'t, str>> {
        if !self.defaults.is_empty() {
            let detail = "the event's tenant cannot be read, since its data is not JSON; use a credential of one tenant";
            self.refusal = Some(Problem::new(ProblemKind::EventRefused, detail));
        }
        None
    }
}

impl Caller {
    /// Checks the resolved subject.
    pub(crate) fn check_subject(&self, subject: &Subject) -> Result<(), Problem> {
        match self {
            Self::Anonymous { .. } => Ok(()),
            Self::Known(grant)
                if grant
                    .subjects
                    .iter()
                    .any(|pattern| pattern.matches(subject.as_str())) =>
            {
                Ok(())
            }
            Self::Known(grant) => {
                let detail = format!(
                    "credential {:?} may not send to subject {subject}",
                    grant.name
                );
                Err(Problem::new(ProblemKind::Forbidden, detail))
            }
        }
    }

    /// The name by which places and bytes are counted; `None` if no sender has a credential.
    pub(crate) fn share(&self) -> Option<&Arc<str>> {
        match self {
            Self::Anonymous { share } => share.as_ref(),
            Self::Known(grant) => Some(&grant.name),
        }
    }

    /// The credential's name.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Anonymous { .. } => None,
            Self::Known(grant) => Some(&grant.name),
        }
    }
}
