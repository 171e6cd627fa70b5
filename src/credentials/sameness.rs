//! When two descriptions of sources come to the same source, and those of a configuration found by that.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher, RandomState};
use std::sync::Arc;

use super::{Sources, Spec};
use crate::secret::Secret;

/// Descriptions with their names, found by what they say. Their hashes are keyed at random and stay in this process: what is hashed
/// may be a secret.
#[derive(Default)]
pub(super) struct SpecsByContent<'a> {
    keys: RandomState,
    /// By the hash of what they say. There is one of each that come to the same.
    all: HashMap<u64, Vec<(&'a str, &'a Spec)>>,
}

impl<'a> SpecsByContent<'a> {
    /// The name of the first description that comes to the same as this one, which is added if there is none. Both are given the
    /// sources that they may need.
    pub(super) fn find_or_add(&mut self, name: &'a str, spec: &'a Spec, built: &Sources) -> Option<&'a str> {
        let mut hasher = self.keys.build_hasher();
        spec.hash_content(built, &mut hasher);
        let alike = self.all.entry(hasher.finish()).or_default();
        let same = alike.iter().find(|(_, known)| spec.is_same(known, (built, built)));
        let found = same.map(|(name, _)| *name);
        // What is the same as nothing, not even as itself, is not looked for.
        if found.is_none() && spec.is_same(spec, (built, built)) {
            alike.push((name, spec));
        }
        found
    }
}

impl Spec {
    /// Whether two descriptions come to the same, each given the sources that it may need.
    pub(super) fn is_same(&self, other: &Self, (built, theirs): (&Sources, &Sources)) -> bool {
        match (self, other) {
            (Self::Env(a, x), Self::Env(b, y)) => a == b && x == y,
            (Self::File { path: a, strict: x }, Self::File { path: b, strict: y }) => a == b && x == y,
            (
                Self::AssumeRole { source: a, role: r, place: p, signature: s },
                Self::AssumeRole { source: b, role: q, place: o, signature: t },
            ) => {
                let same = built.get(a).zip(theirs.get(b)).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
                same && r == q && p == o && s == t
            }
            (Self::Oidc(a, x), Self::Oidc(b, y)) => a == b && x == y,
            (Self::Ecs(a), Self::Ecs(b)) => a == b,
            (Self::Uri { url: a, authorization_file: x }, Self::Uri { url: b, authorization_file: y }) => {
                a == b && x == y
            }
            (Self::Process(a), Self::Process(b)) => a == b,
            (Self::Profile(a), Self::Profile(b))
            | (Self::Ini(a), Self::Ini(b))
            | (Self::Ossutil(a), Self::Ossutil(b)) => a == b,
            (Self::Chain(a), Self::Chain(b)) => a == b,
            (Self::Static { id: a, secret: s, token: x }, Self::Static { id: b, secret: t, token: y }) => {
                let is_same_token = x.as_ref().map(Secret::expose) == y.as_ref().map(Secret::expose);
                a == b && s.expose() == t.expose() && is_same_token
            }
            (_, _) => false,
        }
    }

    /// Feeds what [`Self::is_same`] compares, so that what is the same hashes to the same.
    fn hash_content(&self, built: &Sources, state: &mut impl Hasher) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Static { id, secret, token } => {
                (id, secret.expose(), token.as_ref().map(Secret::expose)).hash(state);
            }
            Self::Env(place, wanted) => (place, wanted).hash(state),
            Self::File { path, strict } => (path, strict).hash(state),
            Self::AssumeRole { source, role, place, signature } => {
                (built.get(source).map(Arc::as_ptr), role, place, signature).hash(state);
            }
            Self::Oidc(pod, place) => (pod, place).hash(state),
            Self::Ecs(instance) => instance.hash(state),
            Self::Uri { url, authorization_file } => (url, authorization_file).hash(state),
            Self::Process(program) => program.hash(state),
            Self::Profile(tool) | Self::Ini(tool) | Self::Ossutil(tool) => tool.hash(state),
            Self::Chain(links) => links.hash(state),
            // Never the same as another.
            Self::Anonymous | Self::Custom(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{Instance, Links, Place, Pod, Program, Signature, Source, Tool, Wanted};
    use super::{Secret, Sources, Spec, SpecsByContent};
    use crate::credentials::Role;
    use crate::transport::Url;

    fn role(source: &str, arn: &str, signature: Signature) -> Spec {
        let role = Role {
            arn: arn.to_owned(),
            session_name: None,
            duration: Duration::from_secs(900),
            policy: None,
            external_id: None,
        };
        Spec::AssumeRole { source: source.to_owned(), role, place: Place::default(), signature }
    }

    /// Descriptions of which no two come to the same.
    fn different() -> Vec<Spec> {
        let key = |id: &str, secret: &str, token: Option<&str>| Spec::Static {
            id: id.to_owned(),
            secret: Secret::from(secret),
            token: token.map(Secret::from),
        };
        let url = |text: &str| Url::parse(text).expect("a URL");
        let uri = |text: &str, file: Option<&str>| Spec::Uri {
            url: url(text),
            authorization_file: file.map(PathBuf::from),
        };
        let program = |word: &str| Program {
            command: vec!["/bin/get".to_owned(), word.to_owned()],
            environment: Vec::new(),
            cache: Duration::from_secs(1),
        };
        let (wanted, vpc) = (Wanted::default(), Place { vpc: true, ..Place::default() });
        let tool = Tool { strict: true, ..Tool::default() };
        vec![
            key("a", "s", None),
            key("b", "s", None),
            key("a", "t", None),
            key("a", "s", Some("x")),
            key("a", "s", Some("y")),
            Spec::Env(Place::default(), wanted.clone()),
            Spec::Env(vpc.clone(), wanted.clone()),
            Spec::Env(Place::default(), Wanted { from_env: true, ..wanted }),
            Spec::File { path: "a".into(), strict: false },
            Spec::File { path: "a".into(), strict: true },
            Spec::File { path: "b".into(), strict: false },
            role("one", "r", Signature::Acs3),
            role("two", "r", Signature::Acs3),
            role("one", "q", Signature::Acs3),
            role("one", "r", Signature::Rpc),
            Spec::Oidc(Pod::default(), Place::default()),
            Spec::Oidc(Pod::default(), vpc),
            Spec::Ecs(Instance::default()),
            Spec::Ecs(Instance { imds_v1: false, ..Instance::default() }),
            uri("https://a.example/x", None),
            uri("https://a.example/y", None),
            uri("https://a.example/x", Some("f")),
            Spec::Process(program("one")),
            Spec::Process(program("two")),
            Spec::Profile(Tool::default()),
            Spec::Profile(tool),
            Spec::Ini(Tool::default()),
            Spec::Ossutil(Tool::default()),
            Spec::Chain(Links::default()),
            Spec::Chain(Links { strict: true, ..Links::default() }),
        ]
    }

    #[test]
    fn a_description_is_found_by_all_that_it_says_and_only_by_that() {
        let mut built = Sources::new();
        for (name, target) in [("one", "one"), ("two", "two"), ("one again", "one")] {
            let source = built.get(target).map(Arc::clone);
            let provider = || Spec::Ecs(Instance::default()).build(&Sources::new()).expect("a provider");
            built.insert(name.to_owned(), source.unwrap_or_else(|| Arc::new(Source::new(name, provider()))));
        }
        let (first, mut again) = (different(), different());
        for spec in &mut again {
            if let Spec::AssumeRole { source, .. } = spec
                && source == "one"
            {
                "one again".clone_into(source);
            }
        }
        let names: Vec<String> = (0..first.len()).map(|number| number.to_string()).collect();
        let mut all = SpecsByContent::default();
        for (name, spec) in names.iter().zip(&first) {
            assert_eq!(all.find_or_add(name, spec, &built), None, "{spec:?}");
        }
        for (name, spec) in names.iter().zip(&again) {
            assert_eq!(all.find_or_add("another", spec, &built), Some(name.as_str()), "{spec:?}");
        }
        for _ in 0..2 {
            assert_eq!(all.find_or_add("nobody", &Spec::Anonymous, &built), None, "they sign nothing");
        }
    }

    /// Files, and a chain of roles in which each needs the next.
    fn many() -> Vec<(String, Spec)> {
        let link = |number: usize| {
            let source = format!("role {}", number + 1);
            (format!("role {number}"), role(&source, "acs:ram::1:role/r", Signature::Acs3))
        };
        let file = |number: usize| {
            let path = PathBuf::from(format!("/run/secrets/keys/{number}"));
            (format!("file {number}"), Spec::File { path, strict: false })
        };
        let end = (format!("role {ROLES}"), Spec::Ecs(Instance::default()));
        (0..ROLES).map(link).chain([end]).chain((0..FILES).map(file)).collect()
    }

    /// Sources are dropped on the stack, each with the one that it needs.
    const ROLES: usize = 1_000;
    const FILES: usize = 20_000;

    #[test]
    fn thousands_of_sources_are_built_in_a_moment_and_kept_by_the_next_configuration() {
        let (before, after) = (many(), many());
        let begun = std::time::Instant::now();
        let sources = Spec::build_all(&before);
        let again = Spec::build_anew(&after, &[(&before, &sources)]);
        // Compared in pairs, they took 40 s in a debug build.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(sources.len(), ROLES + 1 + FILES);
        assert!(again.iter().all(|(name, source)| Arc::ptr_eq(source, &sources[name])));
    }
}
