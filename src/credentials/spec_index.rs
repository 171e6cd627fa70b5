//! An index of provider specifications by content.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::{ProviderSpec, SourceMap};

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
        let same = alike.iter().find(|(_, known)| spec.is_same(known, built, built));
        let found = same.map(|(name, _)| *name);
        // A specification that does not equal even itself is never found, so it is not added.
        if found.is_none() && spec.is_same(spec, built, built) {
            alike.push((name, spec));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ProviderSpec, SourceMap, SpecsByContent};
    use crate::credentials::provider_config::ProviderConfig as _;
    use crate::credentials::sts::AssumedRole;
    use crate::credentials::{
        AssumeRoleConfig, AuthorizationFile, ChainConfig, CliFile, ConfiguredSources, CredentialFileConfig,
        CredentialSource, EcsConfig, EnvConfig, ExternalFileConfig, KeyPairFiles, NamedSpec, OidcConfig,
        OssutilFile, ProcessConfig, RequestIdentityConfig, SharedFile, StaticKeyConfig, StsEndpointConfig,
        StsSignature, ToolFileConfig, UriConfig, build_sources, rebuild_sources,
    };
    use crate::secret::Secret;
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
            role: Box::new(AssumeRoleConfig { role, sts_endpoint: StsEndpointConfig::default(), signature }),
        }
    }

    /// Returns specifications of which no two are equal.
    fn different() -> Vec<ProviderSpec> {
        let key = |id: &str, secret: &str, token: Option<&str>| {
            let token = token.map(Secret::from);
            ProviderSpec::new(StaticKeyConfig { id: Secret::from(id), secret: Secret::from(secret), token })
        };
        let file =
            |path: &str, strict: bool| ProviderSpec::new(CredentialFileConfig { path: path.into(), strict });
        let url = |text: &str| Url::parse(text).expect("a URL");
        let uri = |text: &str, file: Option<&str>| {
            let authorization = file.map(|path| AuthorizationFile::Value(path.into()));
            let identity = RequestIdentityConfig { authorization, key_pair: None };
            ProviderSpec::new(UriConfig { url: Some(url(text)), identity })
        };
        let identified =
            |identity| ProviderSpec::new(UriConfig { url: Some(url("https://a.example/x")), identity });
        let bearer = |path: &str| {
            let authorization = Some(AuthorizationFile::BearerToken(path.into()));
            identified(RequestIdentityConfig { authorization, key_pair: None })
        };
        let certificate = |cert_file: &str, key_file: &str, strict: bool| {
            let files = KeyPairFiles { cert_file: cert_file.into(), key_file: key_file.into(), strict };
            identified(RequestIdentityConfig { authorization: None, key_pair: Some(files) })
        };
        let program = |word: &str| {
            ProviderSpec::new(ProcessConfig {
                command: vec!["/bin/get".to_owned(), word.to_owned()],
                environment: Vec::new(),
                cache: Duration::from_secs(1),
            })
        };
        let vpc = StsEndpointConfig { vpc: true, ..StsEndpointConfig::default() };
        let any = ExternalFileConfig::default;
        let tool = ExternalFileConfig { strict: true, ..any() };
        vec![
            key("a", "s", None),
            key("b", "s", None),
            key("a", "t", None),
            key("a", "s", Some("x")),
            key("a", "s", Some("y")),
            ProviderSpec::new(EnvConfig::default()),
            ProviderSpec::new(EnvConfig { sts_endpoint: vpc.clone(), ..EnvConfig::default() }),
            ProviderSpec::new(EnvConfig { from_env: true, ..EnvConfig::default() }),
            file("a", false),
            file("a", true),
            file("b", false),
            role("one", "r", StsSignature::Acs3),
            role("two", "r", StsSignature::Acs3),
            role("one", "q", StsSignature::Acs3),
            role("one", "r", StsSignature::Rpc),
            ProviderSpec::new(OidcConfig::default()),
            ProviderSpec::new(OidcConfig { sts_endpoint: vpc, ..OidcConfig::default() }),
            ProviderSpec::new(EcsConfig::default()),
            ProviderSpec::new(EcsConfig { imds_v1: false, ..EcsConfig::default() }),
            uri("https://a.example/x", None),
            uri("https://a.example/y", None),
            uri("https://a.example/x", Some("f")),
            bearer("f"),
            certificate("f", "g", true),
            certificate("f", "g", false),
            certificate("f", "h", false),
            program("one"),
            program("two"),
            ProviderSpec::new(ToolFileConfig { format: CliFile, file: any() }),
            ProviderSpec::new(ToolFileConfig { format: CliFile, file: tool }),
            ProviderSpec::new(ToolFileConfig { format: SharedFile, file: any() }),
            ProviderSpec::new(ToolFileConfig { format: OssutilFile, file: any() }),
            ProviderSpec::new(ChainConfig::default()),
            ProviderSpec::new(ChainConfig { strict: true, ..ChainConfig::default() }),
        ]
    }

    #[test]
    fn a_description_is_found_by_all_that_it_says_and_only_by_that() {
        let mut built = SourceMap::new();
        for (name, target) in [("one", "one"), ("two", "two"), ("one again", "one")] {
            let source = built.get(target).map(Arc::clone);
            let new = || Arc::new(CredentialSource::new(name, EcsConfig::default().build(&Arc::default())));
            built.insert(name.to_owned(), source.unwrap_or_else(new));
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
    fn many() -> Vec<NamedSpec> {
        let link = |number: usize| {
            let source = format!("role {}", number + 1);
            NamedSpec::new(&format!("role {number}"), role(&source, "acs:ram::1:role/r", StsSignature::Acs3))
        };
        let file = |number: usize| {
            let path = PathBuf::from(format!("/run/secrets/keys/{number}"));
            NamedSpec::new(
                &format!("file {number}"),
                ProviderSpec::new(CredentialFileConfig { path, strict: false }),
            )
        };
        let end = NamedSpec::new(&format!("role {ROLES}"), ProviderSpec::new(EcsConfig::default()));
        (0..ROLES).map(link).chain([end]).chain((0..FILES).map(file)).collect()
    }

    /// The length of the chain. Sources are dropped recursively, so the stack limits it.
    const ROLES: usize = 1_000;
    const FILES: usize = 20_000;

    #[test]
    fn thousands_of_sources_are_built_in_a_moment_and_kept_by_the_next_configuration() {
        let (before, after) = (many(), many());
        let begun = std::time::Instant::now();
        let sources = build_sources(&before, &Arc::default());
        let again = rebuild_sources(
            &after,
            &[ConfiguredSources { specs: &before, sources: &sources }],
            &Arc::default(),
        );
        // A comparison of all pairs took 40 s in a debug build.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(sources.len(), ROLES + 1 + FILES);
        assert!(again.iter().all(|(name, source)| Arc::ptr_eq(source, &sources[name])));
    }
}
