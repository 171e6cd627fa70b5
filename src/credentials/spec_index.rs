//! Equality of provider specifications, and an index of them by content.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher, RandomState};
use std::sync::Arc;

use super::{ProviderSpec, SourceMap};
use crate::secret::Secret;

/// Specifications with their names, indexed by content. The hashes are keyed at random and never
/// leave this process, because the hashed content may be secret.
#[derive(Default)]
pub(super) struct SpecsByContent<'a> {
    keys: RandomState,
    /// Specifications by the hash of their content, without duplicates.
    all: HashMap<u64, Vec<(&'a str, &'a ProviderSpec)>>,
}

impl<'a> SpecsByContent<'a> {
    /// Returns the name of the first specification that equals this one. Adds this one if there is
    /// none. `built` holds the sources that both may need.
    pub(super) fn find_or_add(
        &mut self,
        name: &'a str,
        spec: &'a ProviderSpec,
        built: &SourceMap,
    ) -> Option<&'a str> {
        let mut hasher = self.keys.build_hasher();
        spec.hash_content(built, &mut hasher);
        let alike = self.all.entry(hasher.finish()).or_default();
        let same = alike.iter().find(|(_, known)| spec.is_same(known, (built, built)));
        let found = same.map(|(name, _)| *name);
        // A specification that does not equal even itself is never found, so it is not added.
        if found.is_none() && spec.is_same(spec, (built, built)) {
            alike.push((name, spec));
        }
        found
    }
}

impl ProviderSpec {
    /// Returns whether two specifications are equal, each given the sources that it may need.
    pub(super) fn is_same(&self, other: &Self, (built, theirs): (&SourceMap, &SourceMap)) -> bool {
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

    /// Hashes what [`Self::is_same`] compares, so that equal specifications have equal hashes.
    fn hash_content(&self, built: &SourceMap, state: &mut impl Hasher) {
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
            // Never equal to another.
            Self::Anonymous | Self::Custom(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{
        ChainConfig, CredentialSource, EcsConfig, EnvConfig, ExternalFileConfig, OidcConfig, ProcessConfig,
        StsEndpointConfig, StsSignature,
    };
    use super::{ProviderSpec, Secret, SourceMap, SpecsByContent};
    use crate::credentials::AssumedRole;
    use crate::transport::Url;

    fn role(source: &str, arn: &str, signature: StsSignature) -> ProviderSpec {
        let role = AssumedRole {
            arn: arn.to_owned(),
            session_name: None,
            duration: Duration::from_secs(900),
            policy: None,
            external_id: None,
        };
        ProviderSpec::AssumeRole {
            source: source.to_owned(),
            role,
            place: StsEndpointConfig::default(),
            signature,
        }
    }

    /// Returns specifications of which no two are equal.
    fn different() -> Vec<ProviderSpec> {
        let key = |id: &str, secret: &str, token: Option<&str>| ProviderSpec::Static {
            id: id.to_owned(),
            secret: Secret::from(secret),
            token: token.map(Secret::from),
        };
        let url = |text: &str| Url::parse(text).expect("a URL");
        let uri = |text: &str, file: Option<&str>| ProviderSpec::Uri {
            url: url(text),
            authorization_file: file.map(PathBuf::from),
        };
        let program = |word: &str| ProcessConfig {
            command: vec!["/bin/get".to_owned(), word.to_owned()],
            environment: Vec::new(),
            cache: Duration::from_secs(1),
        };
        let (wanted, vpc) =
            (EnvConfig::default(), StsEndpointConfig { vpc: true, ..StsEndpointConfig::default() });
        let tool = ExternalFileConfig { strict: true, ..ExternalFileConfig::default() };
        vec![
            key("a", "s", None),
            key("b", "s", None),
            key("a", "t", None),
            key("a", "s", Some("x")),
            key("a", "s", Some("y")),
            ProviderSpec::Env(StsEndpointConfig::default(), wanted.clone()),
            ProviderSpec::Env(vpc.clone(), wanted.clone()),
            ProviderSpec::Env(StsEndpointConfig::default(), EnvConfig { from_env: true, ..wanted }),
            ProviderSpec::File { path: "a".into(), strict: false },
            ProviderSpec::File { path: "a".into(), strict: true },
            ProviderSpec::File { path: "b".into(), strict: false },
            role("one", "r", StsSignature::Acs3),
            role("two", "r", StsSignature::Acs3),
            role("one", "q", StsSignature::Acs3),
            role("one", "r", StsSignature::Rpc),
            ProviderSpec::Oidc(OidcConfig::default(), StsEndpointConfig::default()),
            ProviderSpec::Oidc(OidcConfig::default(), vpc),
            ProviderSpec::Ecs(EcsConfig::default()),
            ProviderSpec::Ecs(EcsConfig { imds_v1: false, ..EcsConfig::default() }),
            uri("https://a.example/x", None),
            uri("https://a.example/y", None),
            uri("https://a.example/x", Some("f")),
            ProviderSpec::Process(program("one")),
            ProviderSpec::Process(program("two")),
            ProviderSpec::Profile(ExternalFileConfig::default()),
            ProviderSpec::Profile(tool),
            ProviderSpec::Ini(ExternalFileConfig::default()),
            ProviderSpec::Ossutil(ExternalFileConfig::default()),
            ProviderSpec::Chain(ChainConfig::default()),
            ProviderSpec::Chain(ChainConfig { strict: true, ..ChainConfig::default() }),
        ]
    }

    #[test]
    fn a_description_is_found_by_all_that_it_says_and_only_by_that() {
        let mut built = SourceMap::new();
        for (name, target) in [("one", "one"), ("two", "two"), ("one again", "one")] {
            let source = built.get(target).map(Arc::clone);
            let provider =
                || ProviderSpec::Ecs(EcsConfig::default()).build(&SourceMap::new()).expect("a provider");
            built.insert(
                name.to_owned(),
                source.unwrap_or_else(|| Arc::new(CredentialSource::new(name, provider()))),
            );
        }
        let (first, mut again) = (different(), different());
        for spec in &mut again {
            if let ProviderSpec::AssumeRole { source, .. } = spec
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
            assert_eq!(
                all.find_or_add("nobody", &ProviderSpec::Anonymous, &built),
                None,
                "they sign nothing"
            );
        }
    }

    /// Returns files, and a chain of roles in which each needs the next.
    fn many() -> Vec<(String, ProviderSpec)> {
        let link = |number: usize| {
            let source = format!("role {}", number + 1);
            (format!("role {number}"), role(&source, "acs:ram::1:role/r", StsSignature::Acs3))
        };
        let file = |number: usize| {
            let path = PathBuf::from(format!("/run/secrets/keys/{number}"));
            (format!("file {number}"), ProviderSpec::File { path, strict: false })
        };
        let end = (format!("role {ROLES}"), ProviderSpec::Ecs(EcsConfig::default()));
        (0..ROLES).map(link).chain([end]).chain((0..FILES).map(file)).collect()
    }

    /// The length of the chain. Sources are dropped recursively, so the stack limits it.
    const ROLES: usize = 1_000;
    const FILES: usize = 20_000;

    #[test]
    fn thousands_of_sources_are_built_in_a_moment_and_kept_by_the_next_configuration() {
        let (before, after) = (many(), many());
        let begun = std::time::Instant::now();
        let sources = ProviderSpec::build_all(&before);
        let again = ProviderSpec::build_anew(&after, &[(&before, &sources)]);
        // A comparison of all pairs took 40 s in a debug build.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(sources.len(), ROLES + 1 + FILES);
        assert!(again.iter().all(|(name, source)| Arc::ptr_eq(source, &sources[name])));
    }
}
