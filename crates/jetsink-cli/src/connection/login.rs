//! Chooses the source of the login.
//!
//! If several kinds of login are present, the engine uses one by its kind, not by its source. So the first source that
//! names a login decides, and the logins of later sources do not count. A password alone names no login: it completes a
//! user, also one from another source.

/// The flags that name a login.
const NAMES: [&str; 4] = ["creds", "nkey", "token", "user"];

/// The flag that completes a user.
const PASSWORD: &str = "password";

/// The sources of a value, the first one first. Only `jetsink serve` has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Flag,
    Variable,
    File,
}

impl Rank {
    const ALL: [Self; 3] = [Self::Flag, Self::Variable, Self::File];
}

/// The sources of the login's parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login {
    named_by: Option<Rank>,
    password: Option<Rank>,
}

impl Login {
    /// `has` reports whether a source has a value for a flag.
    pub(crate) fn choose(has: impl Fn(Rank, &str) -> bool) -> Self {
        let names = |rank| NAMES.iter().any(|flag| has(rank, flag));
        let named_by = Rank::ALL.into_iter().find(|rank| names(*rank));
        let completes = |rank: Rank| match named_by {
            Some(named_by) if rank > named_by => has(named_by, "user") && !names(rank),
            _ => true,
        };
        let password = Rank::ALL
            .into_iter()
            .find(|rank| has(*rank, PASSWORD) && completes(*rank));
        Self { named_by, password }
    }

    /// Whether the value of a flag counts if it comes from this source.
    pub(crate) fn uses(self, rank: Rank, flag: &str) -> bool {
        match flag {
            PASSWORD => self.password == Some(rank),
            flag if NAMES.contains(&flag) => self.named_by == Some(rank),
            _ => true,
        }
    }

    /// Whether the user is a token: the engine takes it as one if there is no password.
    #[cfg(unix)]
    pub(crate) fn user_is_token(self) -> bool {
        self.password.is_none()
    }
}
